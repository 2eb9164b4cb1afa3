"""Items as stores keep them, and as their users see them: with a user's own serializer, if there is one."""

from __future__ import annotations

import contextlib
from typing import Any, TypeAlias

from aiohttp_cache_di.backends.store import Item, StoreEvents, Unreadable
from aiohttp_cache_di.entries.codec import Opaque, item_leads_on
from aiohttp_cache_di.response import CachedResponse
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["Packing"]

Loaded: TypeAlias = Any
"""An item as its users see it: a stored response, the key of another item, or what a user's serializer has made."""


class Packing:
    """Makes items of what users see, and back; in the loop's thread, which is the one that a serializer knows.

    Args:
        serializer: an object with ``dumps`` and ``loads``, or None.
        events: told of what cannot be read.
    """

    def __init__(self, serializer: Any, events: StoreEvents) -> None:
        self.serializer = serializer
        self._events = events

    def packed(self, entry: StoredResponse) -> Item:
        """What is stored of *entry*."""
        if self.serializer is None:
            return entry
        return self.opaque(CachedResponse.from_stored(entry), entry.key, leads_on=item_leads_on(entry))

    def opaque(self, item: object, key: str, *, leads_on: bool) -> Opaque:
        """What the user's serializer makes of *item*."""
        payload: str | bytes = self.serializer.dumps(item)
        return Opaque(key, payload.encode() if isinstance(payload, str) else payload, leads_on)

    def loaded(self, item: Item | None) -> Loaded:
        """*item* as its users see it; None where it cannot be read, which is counted."""
        if not isinstance(item, Opaque):
            return item
        with contextlib.suppress(Exception):  # whatever it raises: the entry is of no more use
            return self.serializer.loads(item.payload)
        self._events.unreadable()
        return None

    def entry_of(self, item: Item | Unreadable | None, key: str) -> StoredResponse | None:
        """The response that *item* is; None for anything else."""
        if isinstance(item, StoredResponse):
            return item
        if item is None or isinstance(item, str):
            return None
        if isinstance(item, Unreadable):
            self._events.unreadable()
            return None
        stored: object = None
        with contextlib.suppress(Exception):  # an object of the user's
            stored = getattr(self.loaded(item), "stored", None)
        return stored if isinstance(stored, StoredResponse) and stored.key == key else None
