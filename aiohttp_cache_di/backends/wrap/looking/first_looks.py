"""Look-up and lease in one call, for keys that are unlikely to be stored.

So a cold miss waits for the store only once before the origin is asked. Such a look-up costs the store more than a
plain one. It is not used for a key that the store is known to have; nor while other unknown keys are found there, as
happens in a new process whose store has been filled by others.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Final

from aiohttp_cache_di.backends.bounded import Bounded
from aiohttp_cache_di.backends.store import Found, Lease
from aiohttp_cache_di.backends.store.capabilities import LookingOrLeasing
from aiohttp_cache_di.backends.wrap.guarding.guard import FAILED, READ, Failed, StoreGuard
from aiohttp_cache_di.backends.wrap.looking.batching import UnansweredError
from aiohttp_cache_di.backends.wrap.looking.leases import Leases
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["FirstLooks"]

MAX_SHOWN: Final = 10_000  # keys known to be stored; one or two megabytes
MAX_UNDER_WAY: Final = 256  # above that, look-ups are batched, and leases asked for one by one


class FirstLooks:
    """The look-ups of one event loop that also ask for the lease.

    Args:
        leases: informed of each lease that is granted.
        doubts: see `Limits`.
    """

    def __init__(self, store: LookingOrLeasing, guard: StoreGuard, leases: Leases, *, doubts: int) -> None:
        self._store = store
        self._guard = guard
        self._leases = leases
        self._shown: Bounded[str, float] = Bounded(MAX_SHOWN)  # keys known to be stored, and until when (POSIX time)
        self._doubts = doubts
        self._misses_needed = min(doubts - 1, 1)  # misses still needed, since an unknown key was found
        self._under_way: set[str] = set()

    def is_due(self, key: str) -> bool:
        """Whether *key* is unlikely to be stored, and no such look-up for it is under way."""
        until = self._shown.get(key)
        is_unlikely = self._misses_needed <= 0 if until is None else time.time() >= until
        return is_unlikely and key not in self._under_way and len(self._under_way) < MAX_UNDER_WAY

    async def get(self, key: str, lease_s: float) -> Found | None:
        """The record under *key*; if there is none, the lease may be granted (`Leases.note_early`).

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
        if found is not None:  # the store has answered the request for the lease, too
            self._guard.note_success("lease")
        if found is Lease.GRANTED:
            self._leases.note_early(key)
        return None

    def note(self, key: str, entry: StoredResponse | None) -> None:
        """Note that a look-up of any kind has found *entry* under *key*, or nothing (None)."""
        if entry is None:
            if self._shown.pop(key, None) is None:
                self._misses_needed -= 1
            return
        if self._shown.get(key) != entry.store_until:
            if key not in self._shown:
                self._misses_needed = self._doubts
            self.wrote(entry)

    def wrote(self, entry: StoredResponse) -> None:
        """Note that *entry* is in the store."""
        self._shown.note(entry.key, entry.store_until)
