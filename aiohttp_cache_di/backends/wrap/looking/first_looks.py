"""Looking for what the store is not known to have: where nothing is there, the lease comes with the answer.

A cold miss so waits for the store once before the origin is asked. Such a look costs a store more than a plain one, so
that it is not taken for a key that the store has shown lately; nor while other keys, unknown as this one, are found
there, as a process finds that begins with what others have stored.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from functools import partial
from typing import Final

from aiohttp_cache_di.backends.store import Found, Lease
from aiohttp_cache_di.backends.store.capabilities import LookingOrLeasing
from aiohttp_cache_di.backends.wrap.guarding.guard import FAILED, READ, Failed, StoreGuard
from aiohttp_cache_di.backends.wrap.looking.batching import UnansweredError
from aiohttp_cache_di.backends.wrap.looking.leases import Leases
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["FirstLooks"]

MAX_SHOWN: Final = 10_000  # keys, a megabyte or two
MAX_UNDER_WAY: Final = 256  # more are looked for together, and lease one by one


class FirstLooks:
    """The looks of one event loop for what is likely not to be there.

    Args:
        leases: told of what was granted.
        doubts: see `Limits`.
    """

    def __init__(self, store: LookingOrLeasing, guard: StoreGuard, leases: Leases, *, doubts: int = 1) -> None:
        self._store = store
        self._guard = guard
        self._leases = leases
        self._shown: OrderedDict[str, float] = OrderedDict()  # until when it lasts, by POSIX time
        self._doubts = doubts
        self._left = min(doubts - 1, 1)  # looks that have to find nothing yet, since a key that was not shown was there
        self._under_way: set[str] = set()

    def is_due(self, key: str) -> bool:
        """Whether nothing is likely to be under *key*, and no look is under way that leases it."""
        until = self._shown.get(key)
        is_unlikely = self._left <= 0 if until is None else time.time() >= until
        return is_unlikely and key not in self._under_way and len(self._under_way) < MAX_UNDER_WAY

    async def get(self, key: str, lease_s: float) -> Found | None:
        """What the store has under *key*; the lease may be granted where that is nothing.

        Raises:
            UnansweredError: the guard has no answer.
        """
        self._under_way.add(key)
        ask = partial(self._store.get_or_acquire, key, lease_s)
        try:
            found: Found | Lease | Failed | None = await self._guard.run(READ, ask, FAILED)
        finally:
            self._under_way.discard(key)
        if isinstance(found, Found):
            return found
        if found is FAILED:
            raise UnansweredError("the store has not answered")
        if found is Lease.GRANTED:
            self._leases.note_early(key)
        return None

    def note(self, key: str, entry: StoredResponse | None) -> None:
        """*entry* was found under *key*, by whichever look."""
        if entry is None:
            if self._shown.pop(key, None) is None:
                self._left -= 1
            return
        if self._shown.get(key) != entry.store_until:
            if key not in self._shown:
                self._left = self._doubts
            self.wrote(entry)

    def wrote(self, entry: StoredResponse) -> None:
        """*entry* is in the store."""
        self._shown[entry.key] = entry.store_until
        if len(self._shown) > MAX_SHOWN:
            self._shown.popitem(last=False)
