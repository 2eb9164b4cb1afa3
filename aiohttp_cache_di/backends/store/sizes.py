"""The size of items, and default limits of the size of records and of stores on disk.

The size of a record is limited for reads, too, since others may write to the store.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

from aiohttp_cache_di.backends.loops import keys_in
from aiohttp_cache_di.entries.items import Item, Opaque, Unreadable
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["DEFAULT_MAX_BYTES", "VALUE_BYTES", "Bounds", "RecordLimit", "item_bytes"]

DEFAULT_MAX_BYTES: Final = 1024 * 1024 * 1024  # of a SQLite database, or of a directory of files
VALUE_BYTES: Final = 64 * 1024 * 1024  # of a body that a user writes directly, whatever the limit of responses
BESIDE_BODY_BYTES: Final = 4 * 1024 * 1024  # for headers, names of variants and a signature
SERIALIZED_GROWTH: Final = 4  # factor by which a user's serializer may enlarge a body
LOW_WATER: Final = 0.97  # evict down to this share of a bound, so that not every write evicts
EXACT_BELOW: Final = 100  # entries; a smaller bound is kept exactly


class Bounds(NamedTuple):
    """Limits of a store on disk; None for no limit."""

    max_bytes: int | None
    max_entries: int | None

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Bounds:
        """The limits in the *options* of a backend or a storage."""
        return cls(options.get("max_bytes", DEFAULT_MAX_BYTES), options.get("max_entries"))

    @property
    def low_bytes(self) -> float:
        """The size down to which is evicted, once ``max_bytes`` is exceeded."""
        return math.inf if self.max_bytes is None else self.max_bytes * LOW_WATER

    @property
    def low_entries(self) -> float:
        """The number of entries down to which is evicted, once ``max_entries`` is exceeded."""
        bound = self.max_entries
        if bound is None:
            return math.inf
        return bound if bound < EXACT_BELOW else int(bound * LOW_WATER)


def item_bytes(item: Item | Unreadable | None) -> int:
    """Approximate size of *item*, in bytes."""
    if isinstance(item, StoredResponse):
        return item.size_bytes
    if isinstance(item, str):
        return len(item)
    return len(item.payload) if isinstance(item, Opaque) else 0


class RecordLimit:
    """The size of the largest record that is written or read; call it, since a backend's settings may change.

    Args:
        serializer: the user's serializer, or None.
        by_users: whether users may write items directly, which may be larger than responses.
    """

    def __init__(self, serializer: Any = None, *, by_users: bool = True) -> None:
        self._body_bytes: int = VALUE_BYTES
        self._allowed: WeakKeyDictionary[object, int] = WeakKeyDictionary()  # by user of the store
        self._growth = 1 if serializer is None else SERIALIZED_GROWTH
        self._by_users = by_users

    def allow(self, user: object, body_bytes: int) -> None:
        """From now on, *user* stores responses with bodies of up to *body_bytes*; the user with the most counts.

        The users are the backends that share the store, such as a backend and its copy.
        """
        self._allowed[user] = body_bytes
        self._body_bytes = max(body_bytes, *(self._allowed.get(one, 0) for one in keys_in(self._allowed)))

    def __call__(self) -> int:
        body_bytes = max(self._body_bytes, VALUE_BYTES) if self._by_users else self._body_bytes
        return body_bytes * self._growth + BESIDE_BODY_BYTES
