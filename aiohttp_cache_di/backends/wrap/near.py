"""The near tier: copies in this process's memory of what a store has, in front of a store that others write to.

A copy is believed as long as the store can tell that it is still what is stored. A *versioned* store tells it by a
number that it keeps in memory: a copy is good until the number of its key grows. A *changing* store tells when keys
change; between a change and its news lies no more than ``lifetime_s``. A change that is heard while its key is being
read voids that read's copy: each read begins with a token for its key, and a drop takes the token away.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Container, Mapping
from typing import Final, TypeAlias

from msgspec import Struct

from aiohttp_cache_di.backends.eviction import NEARLY_FULL, EvictionOrder
from aiohttp_cache_di.backends.wrap.abilities import Abilities
from aiohttp_cache_di.backends.wrap.tasks import dismantle
from aiohttp_cache_di.entries.filed import FiledResponse
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["NearTier", "Token"]

ENTRY_OVERHEAD_BYTES: Final = 512  # objects and the table's slot
LARGEST_SHARE: Final = 8  # of the tier's bytes: one large body does not push out all the others

NO_ENTRIES: Final[Mapping[str, StoredResponse]] = {}

Token: TypeAlias = object
"""Proves that nothing has been heard of a key since its read began."""


def _is_current(entry: StoredResponse) -> bool:
    """What is known of tags where nothing is."""
    return False


class Copy(Struct, frozen=True, gc=False):
    """A copy, and how far it is believed."""

    entry: StoredResponse
    version: float
    until: float
    weight: int


class NearTier:
    """A bounded table of copies for one event loop; what is asked for once goes before what is asked for often.

    Args:
        abilities: of the store that they are copies from; `Versioned` or `Changing`.
        max_bytes: what the copies may weigh together.
        lifetime_s: seconds for which a copy is believed at most, whatever the store says or fails to say.
        pending: what is on its way into the store, and so goes before all copies.
        doubted: keys of which no copy is believed.
    """

    def __init__(
        self,
        abilities: Abilities,
        max_bytes: int,
        lifetime_s: float = math.inf,
        *,
        pending: Mapping[str, StoredResponse] = NO_ENTRIES,
        doubted: Container[str] = (),
    ) -> None:
        self.max_bytes = max_bytes
        self.lifetime_s = lifetime_s
        self.total_bytes: int = 0
        self._pending = pending
        self._doubted = doubted
        self._copies: OrderedDict[str, Copy] = OrderedDict()
        self._order = EvictionOrder(self._copies)
        self._reading: dict[str, Token] = {}
        versioned, touching = abilities.versioned, abilities.touching
        self._version: Callable[[str], int | None] | None = None if versioned is None else versioned.version
        self._touch: Callable[[str], None] | None = None if touching is None else touching.touch
        if abilities.changing is not None:
            abilities.changing.on_change(self._note_change)
        self.is_current: Callable[[StoredResponse], bool] = _is_current
        """Tells whether no tag of a response has been purged, as far as that is known at once."""
        self._unsure: StoredResponse | None = None

    def __len__(self) -> int:
        return len(self._copies)

    def peek(self, key: str) -> StoredResponse | None:
        """What is on its way under *key*, or else the copy, if it may still be believed.

        None also where a tag of it may have been purged; `unsure` has it then.
        """
        entry = self._pending.get(key)
        if entry is not None:
            return entry if entry.tagging is None or self.is_current(entry) else self._doubt(entry)
        copy = self._copies.get(key)
        if copy is None or key in self._doubted:
            return None
        if self._version is not None:
            version = self._version(key)
            if version is None:
                return None
            if version > copy.version:
                self.drop((key,))
                return None
        if time.monotonic() >= copy.until:
            self.drop((key,))
            return None
        self._order.used(key)
        if self._touch is not None:
            self._touch(key)
        entry = copy.entry
        return entry if entry.tagging is None or self.is_current(entry) else self._doubt(entry)

    def unsure(self, key: str) -> StoredResponse | None:
        """What the latest `peek` had under *key*, and did not give for its tags; at once after that."""
        entry, self._unsure = self._unsure, None
        return entry if entry is not None and entry.key == key else None

    def _doubt(self, entry: StoredResponse) -> StoredResponse | None:
        self._unsure = entry
        return None

    # ---- reads

    def begin(self, key: str) -> Token:
        """A read of *key* begins; `end` must follow."""
        return self._reading.setdefault(key, object())

    def end(self, key: str, token: Token, entry: StoredResponse | None = None, version: int = 0) -> None:
        """The read is over: keep a copy of what it found, if *token* still holds."""
        if self._reading.get(key) is not token:
            return
        del self._reading[key]
        if entry is not None:
            self._put(key, entry, version)

    # ---- changes

    def wrote(self, entry: StoredResponse, version: int) -> None:
        """*entry* has just been written here; a store that has no versions cannot tell whether another came after."""
        self.drop((entry.key,))
        if version and self._version is not None:
            self._put(entry.key, entry, version)

    def drop(self, keys: Collection[str]) -> None:
        """Forget *keys*, and what is being read of them."""
        for key in keys:
            self._reading.pop(key, None)
            self._let_go(key)

    def clear(self) -> None:
        """Forget everything, and what is being read."""
        copies, self._copies = self._copies, OrderedDict()
        self._order.clear(self._copies)
        dismantle(copies)
        self._reading.clear()
        self.total_bytes = 0

    def _note_change(self, keys: Collection[str] | None) -> None:
        if keys is None:
            self.clear()
        else:
            self.drop(keys)

    def _put(self, key: str, entry: StoredResponse, version: int) -> None:
        self._let_go(key)
        weight = entry.held_bytes + ENTRY_OVERHEAD_BYTES
        if weight > self.max_bytes // LARGEST_SHARE or isinstance(entry, FiledResponse):
            return
        until = math.inf if self.lifetime_s == math.inf else time.monotonic() + self.lifetime_s
        self._copies[key] = Copy(entry, version, until, weight)
        self.total_bytes += weight
        has_room = self.total_bytes < self.max_bytes * NEARLY_FULL
        self._order.came(key, weight, has_room=has_room, total=self.total_bytes)
        while self.total_bytes > self.max_bytes:
            self._let_go(self._order.next_to_go(self.total_bytes))

    def _let_go(self, key: str) -> None:
        copy = self._copies.pop(key, None)
        if copy is not None:
            self.total_bytes -= copy.weight
            self._order.went(key)
