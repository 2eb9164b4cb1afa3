"""Whether the response to one request answers another: one that is on its way in this process, or in another one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from aiohttp import hdrs

from aiohttp_cache_di.engine.call import Call
from aiohttp_cache_di.engine.flights import Flight, Outcome
from aiohttp_cache_di.engine.storing import ResponseStoring
from aiohttp_cache_di.policy import Fetch, FullQuestion, Reuse, Validate
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["Sharing"]

MAX_ABANDONED = 1  # flights that one request sees abandoned before it goes on its own
_SHAREABLE = frozenset({"uri-miss", "vary-miss", "miss", "stale"})  # reasons of a fetch that waiting may spare


class Sharing:
    """What one request may have of the others.

    Args:
        usable: how the response to another request answers this one, if it does.
    """

    def __init__(
        self,
        question: FullQuestion,
        storing: ResponseStoring,
        call: Call,
        usable: Callable[[StoredResponse], Reuse | None],
    ) -> None:
        self.usable = usable
        self._question = question
        self._storing = storing
        self._call = call
        self._backend = storing.backend
        self._flights = storing.runtime.flights

    def may_share(self, plan: Fetch | Validate) -> bool:
        """Whether to wait for others at all, and let others wait."""
        return (
            self._backend.coalesce
            and not self._call.failures
            and plan.reason in _SHAREABLE
            and hdrs.RANGE not in self._question.request.headers
            and not self._flights.is_hit_for_miss(self._question.key, now=time.monotonic())
        )

    async def follow(self, until: float) -> Reuse | Flight | None:
        """What a flight under way brings for this request; else that flight; None where there is none to wait for.

        Args:
            until: loop time after which to wait no longer, unless the leader has asked late itself.
        """
        loop = asyncio.get_running_loop()
        abandoned = 0
        while (flight := self._flights.current(self._question.key)) is not None:
            is_leader = flight.leader is asyncio.current_task()
            outcome = Outcome.UNSHARED if is_leader else await flight.join(max(0.0, until - loop.time()))
            if outcome is Outcome.ABANDONED and abandoned < MAX_ABANDONED:
                abandoned += 1
                continue
            usable = self.usable(outcome) if isinstance(outcome, StoredResponse) else None
            return flight if usable is None else usable
        return None

    def lead(self) -> Flight:
        """Begin a flight that others can join."""
        flight = self._flights.start(self._question.key, joinable=True)
        flight.leader = asyncio.current_task()
        return flight

    async def lease(self, flight: Flight, until: float) -> Reuse | None:
        """Become the one process that fetches, or find what another one has fetched meanwhile."""
        if not self._storing.may_have_company():
            return None
        try:
            found: Reuse | None = await self._storing.lease(until, self.usable)
        finally:
            flight.when_over(self._storing.release_lease)
        if found is None:
            flight.asked_at = asyncio.get_running_loop().time()
        else:
            flight.end(found.stored)
        return found
