"""The lease on the key of one request, so that one process at a time asks the origin for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from aiohttp_cache_di import policy
from aiohttp_cache_di.backends.wrap.looking import leases
from aiohttp_cache_di.engine.flight import Flight, Outcome
from aiohttp_cache_di.engine.keeping.lookup import Lookup
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["Leasing"]

T = TypeVar("T")

SLOW_S = 0.25  # only for slower responses are other processes told that waiting for them is of no use


class Leasing(Lookup):
    """A look-up that can lease the key, so that other processes wait for the response of this one."""

    _lease: str | None = None
    _leased_at: float = 0.0

    def may_have_company(self, *, waits: bool) -> bool:
        """Whether another process may be fetching this key, or an entry may have been stored since the look-up.

        Args:
            waits: whether the request has waited for another one since.
        """
        here = self.runtime.here
        if here.leases is not None:
            return True
        if not waits and self.is_known_absent:
            return False
        at_hand = here.peek(self.question.key)
        return at_hand is not None and at_hand is not self.primary

    def place_of_own(self) -> str:
        """The name that this request has in common with all that can use the same response; see `Flight.place`.

        It is the key; or, if the stored responses of the URL vary, the key of the variant, so that a request does not
        wait for a response in another language.
        """
        fields = () if self.primary is None else self.primary.vary_fields
        if not fields:
            return self.question.key
        digest = policy.vary_digest(fields, self.question.request.selecting_headers, self.question.rules.digest_key)
        return policy.variant_key(self.question.key, fields, digest)

    async def lease(
        self, place: str, patience_s: float | None, usable: Callable[[StoredResponse], Awaitable[T | None]]
    ) -> T | leases.Spared | None:
        """Obtain the lease on *place*, or return what *usable* makes of the response that its holder has stored.

        Returns None to ask the origin: with the lease, or without it if leases are not possible or *patience_s* is
        over. Returns `Spared` if the holder found that its response cannot be shared.

        Args:
            place: see `place_of_own`.
            patience_s: how long to wait for the lease, in seconds; None for as long as it is held.
        """
        here, lease_s, key = self.runtime.here, self.backend.lease_s, self.question.key
        at_hand = here.peek(key)
        if at_hand is not None and at_hand is not self.primary:  # it came after the store was asked
            answer = await self.look_again(usable)
            if answer is not None:
                return answer
        if self.store_failed or lease_s <= 0 or here.leases is None:
            return None
        loop = asyncio.get_running_loop()
        until = None if patience_s is None else loop.time() + patience_s
        is_held, found = await here.leases.obtain(place, lease_s, until=until, look=partial(self.look_again, usable))
        if is_held and found is None and place != key:  # obtaining the lease has looked at *place* only
            found = await self.look_again(usable)
        if is_held:
            self._lease, self._leased_at = place, loop.time()
            if found is not None:
                self.release_lease()
        return found

    async def look_again(self, usable: Callable[[StoredResponse], Awaitable[T | None]]) -> T | None:
        """What *usable* makes of the entry that is stored now."""
        if self.store_failed:  # a request waits for one deadline of the store at most
            return None
        try:
            entry = await self._select(self.question.key)
        except Exception as error:
            await self.discard(error)
            return None
        return None if entry is None else await usable(entry)

    def drop_early_lease(self) -> None:
        """Give back the lease that came with the look-up, if it was not used."""
        self.runtime.here.drop_early_lease(self.question.key, owner=self.backend)

    def release_lease(self, flight: Flight | None = None) -> None:
        """Give the lease back, once the response that this process has stored is visible to others.

        Args:
            flight: the request that the lease was for; if it was slow and its response cannot be shared, all waiting
                processes are told to go on at once.
        """
        place, self._lease = self._lease, None
        if place is None:
            return
        is_of_one = flight is not None and flight.outcome in (None, Outcome.UNSHARED) and flight.store_allowed
        is_slow = asyncio.get_running_loop().time() - self._leased_at >= SLOW_S
        self.runtime.here.release_lease(
            place, owner=self.backend, written=self.question.key, spare=is_of_one and is_slow
        )
