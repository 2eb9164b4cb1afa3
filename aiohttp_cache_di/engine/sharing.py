"""Whether the response to one request answers another: one that is on its way in this process, or in another one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial

from aiohttp import hdrs

from aiohttp_cache_di.engine.calls.call import Call
from aiohttp_cache_di.engine.flight import Flight, Outcome
from aiohttp_cache_di.engine.keeping.storing import ResponseStoring
from aiohttp_cache_di.policy import Fetch, FullQuestion, Reuse, Validate
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["Sharing"]

MAX_ABANDONED = 1  # flights that one request sees abandoned before it goes on its own
_SHAREABLE = frozenset(
    {"uri-miss", "vary-miss", "miss", "stale", "partial"}
)  # reasons of a fetch that waiting may spare


class Sharing:
    """What one request may have of the others.

    Args:
        usable: how the response to another request answers this one, if it does; and whether its call is still on its
            way.
    """

    def __init__(
        self,
        question: FullQuestion,
        storing: ResponseStoring,
        call: Call,
        usable: Callable[[StoredResponse, bool], Awaitable[Reuse | None]],
    ) -> None:
        self.usable = usable
        self._question = question
        self._storing = storing
        self._call = call
        self._backend = storing.backend
        self._flights = storing.runtime.flights
        self._place = storing.place_of_own()

    def may_share(self, plan: Fetch | Validate) -> bool:
        """Whether to wait for others at all, and let others wait."""
        return (
            self._backend.coalesce
            and not self._call.failures
            and plan.reason in _SHAREABLE
            and hdrs.RANGE not in self._question.request.headers
            and not self._flights.is_hit_for_miss(self._question.key, now=time.monotonic())
        )

    def has_leader(self) -> bool:
        """Whether there is a flight under way that `follow` would wait for."""
        return self._flights.current(self._place) is not None

    async def follow(self) -> Reuse | Flight | None:
        """What a flight under way brings for this request; else that flight; None where there is none to wait for."""
        abandoned = 0
        while (flight := self._flights.current(self._place)) is not None:
            if flight.leader is asyncio.current_task():
                return None if flight.is_announced else flight
            self._storing.drop_early_lease()  # which the one that leads the way may be waiting for
            outcome = await flight.join(self._call.read_timeout_s)
            if outcome is Outcome.ABANDONED and abandoned < MAX_ABANDONED:
                abandoned += 1
                continue
            usable = await self.usable(outcome, True) if isinstance(outcome, StoredResponse) else None
            if usable is None:  # something may have been stored meanwhile, by this flight or another
                usable = await self._storing.look_again(self._usable)
            return flight if usable is None else usable
        return None

    async def _usable(self, entry: StoredResponse) -> Reuse | None:
        return await self.usable(entry, False)

    def lead(self) -> Flight:
        """Begin a flight that others can join."""
        return self._flights.lead(self._question.key, self._place)

    async def lease(self, flight: Flight) -> Reuse | None:
        """Become the one process that fetches, or find what another one has fetched meanwhile.

        Where another one has learned that its response is for one request alone, *flight* has ended.
        """
        storing, patience_s = self._storing, self._call.read_timeout_s
        try:
            found = await storing.lease(self._place, patience_s, self._usable)
        finally:
            flight.when_free(partial(storing.release_lease, flight))
        if isinstance(found, Reuse):
            flight.end(found.stored)
            return found
        if found is not None:
            storing.end_unshared(flight)
        return None
