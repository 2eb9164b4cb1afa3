"""The near tier: copies in this process's memory of stored responses, in front of a store that others write to, too.

A copy is used while the store can tell that it is current. A *versioned* store keeps a number in memory for each key: a
copy is current until that number is greater than the copy's version. A *changing* store notifies the near tier of
changed keys; if a notification is lost or late, the copy is used for ``lifetime_s`` at most. If a key changes while it
is being read, the result of the read is not kept: each read begins with a token for its key, and a change of the key
invalidates the token.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Container, Mapping
from typing import Final, TypeAlias

from msgspec import Struct

from aiohttp_cache_di.backends.eviction import NEARLY_FULL, EvictionOrder
from aiohttp_cache_di.backends.store import Found, Store
from aiohttp_cache_di.backends.store.capabilities import Changing, Versioned
from aiohttp_cache_di.backends.tasks import dismantle
from aiohttp_cache_di.entries.filed import FiledResponse
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["NearTier", "Token"]

ENTRY_OVERHEAD_BYTES: Final = 512  # of a copy, for its objects and its slot in the table
LARGEST_SHARE: Final = 8  # no copy takes more than 1/LARGEST_SHARE of the bytes, so that it evicts few others

Token: TypeAlias = object
"""Shows that no change of a key was reported since a read of it began."""


class Copy(Struct, frozen=True, gc=False):
    """A copy, its version and the monotonic time until which it may be used."""

    entry: StoredResponse
    version: int
    until: float
    weight: int


class NearTier:
    """A bounded table of copies for one event loop; `EvictionOrder` decides which copy is evicted.

    Args:
        store: a `Versioned` or `Changing` store.
        max_bytes: most bytes of all copies together.
        lifetime_s: most seconds for which a copy is used.
        pending: the pending writes, which take precedence over copies.
        doubted: keys whose copies are not used (tombstones).
        is_current: returns whether it is known without waiting that no tag of a response has been purged.
    """

    def __init__(
        self,
        store: Store,
        max_bytes: int,
        lifetime_s: float,
        *,
        pending: Mapping[str, StoredResponse],
        doubted: Container[str],
        is_current: Callable[[StoredResponse], bool],
    ) -> None:
        self.max_bytes = max_bytes
        self.lifetime_s = lifetime_s
        self.total_bytes: int = 0
        self._pending = pending
        self._doubted = doubted
        self._copies: OrderedDict[str, Copy] = OrderedDict()
        self._order = EvictionOrder(self._copies)
        self._reading: dict[str, Token] = {}
        self._version: Callable[[str], int | None] | None = store.version if isinstance(store, Versioned) else None
        self._touch: Callable[[str], None] | None = store.touch if isinstance(store, Versioned) else None
        if isinstance(store, Changing):
            store.on_change(self.drop)
        self._is_current = is_current
        self._withheld: StoredResponse | None = None

    def __len__(self) -> int:
        return len(self._copies)

    def peek(self, key: str) -> StoredResponse | None:
        """The pending write of *key*, or else its copy, if it is current.

        None also if one of its tags may have been purged; then `unsure` returns it.
        """
        entry = self._pending.get(key)
        if entry is not None:
            return entry if entry.tagging is None or self._is_current(entry) else self._withhold(entry)
        copy = self._copies.get(key)
        if copy is None or key in self._doubted:
            return None
        if self._version is not None:
            version = self._version(key)
            if version is None:
                return None
            if version > copy.version:
                self._remove(key)
                return None
        if copy.until != math.inf and time.monotonic() >= copy.until:
            self._remove(key)
            return None
        self._order.used(key)
        if self._touch is not None:
            self._touch(key)
        entry = copy.entry
        return entry if entry.tagging is None or self._is_current(entry) else self._withhold(entry)

    def unsure(self, key: str) -> StoredResponse | None:
        """The response that `peek` of *key* withholds because of its tags."""
        self._withheld = None  # that of an earlier `peek` may have changed since
        self.peek(key)
        entry, self._withheld = self._withheld, None
        return entry

    def found(self, key: str) -> Found | None:
        """The copy of *key*, if it is current, as the answer to a read that has not been sent."""
        copy = self._copies.get(key)
        if copy is None or self.peek(key) is not copy.entry:
            return None
        return Found(copy.entry, copy.version)

    def _withhold(self, entry: StoredResponse) -> StoredResponse | None:
        self._withheld = entry
        return None

    # ---- reads

    def begin(self, key: str) -> Token:
        """Begin a read of *key*; `end` must follow."""
        return self._reading.setdefault(key, object())

    def end(self, key: str, token: Token, entry: StoredResponse | None = None, version: int = 0) -> None:
        """End the read, and keep a copy of *entry* if *token* is still valid."""
        if self._reading.get(key) is not token:
            return
        del self._reading[key]
        copy = self._copies.get(key)
        if entry is not None and (copy is None or copy.entry is not entry):
            self._put(key, entry, version)

    # ---- changes

    def wrote(self, entry: StoredResponse, version: int) -> None:
        """*entry* was written by this loop; keep a copy if its version can show whether others write after it."""
        self.drop((entry.key,))
        if version and self._version is not None:
            self._put(entry.key, entry, version)

    def drop(self, keys: Collection[str] | None) -> None:
        """Forget the copies of *keys* (None: all), and invalidate the tokens of their reads."""
        if keys is None:
            self._reading.clear()
            copies, self._copies = self._copies, OrderedDict()
            self._order.clear(self._copies)
            dismantle(copies)
            self.total_bytes = 0
            return
        for key in keys:
            self._reading.pop(key, None)
            self._remove(key)

    def _put(self, key: str, entry: StoredResponse, version: int) -> None:
        self._remove(key)
        weight = entry.held_bytes + ENTRY_OVERHEAD_BYTES
        if weight > self.max_bytes // LARGEST_SHARE or isinstance(entry, FiledResponse):
            return
        until = math.inf if self.lifetime_s == math.inf else time.monotonic() + self.lifetime_s
        self._copies[key] = Copy(entry, version, until, weight)
        self.total_bytes += weight
        has_room = self.total_bytes < self.max_bytes * NEARLY_FULL
        self._order.came(key, weight, has_room=has_room, total=self.total_bytes)
        while self.total_bytes > self.max_bytes:
            self._remove(self._order.next_to_go(self.total_bytes))

    def _remove(self, key: str) -> None:
        copy = self._copies.pop(key, None)
        if copy is not None:
            self.total_bytes -= copy.weight
            self._order.went(key)
