"""Whether the response to one request answers another: one that is on its way in this process, or in another one."""

from __future__ import annotations

import asyncio
import time
from functools import partial

from aiohttp import hdrs
from msgspec import Struct

from aiohttp_cache_di import policy
from aiohttp_cache_di.engine.calls.call import Call
from aiohttp_cache_di.engine.flight import Flight, Outcome
from aiohttp_cache_di.engine.flights import Flights
from aiohttp_cache_di.engine.keeping.storing import ResponseStoring
from aiohttp_cache_di.policy import Fetch, FullQuestion, Reuse, Validate, decide
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["Sharing", "may_use"]

MAX_ABANDONED = 1  # flights that one request sees abandoned before it goes on its own
_SHAREABLE = frozenset(
    {"uri-miss", "vary-miss", "miss", "stale", "partial"}
)  # reasons of a fetch that waiting may spare


class Sharing(Struct):
    """What one request may have of the others.

    Args:
        place: where its flight is found by those that it can share a response with.
    """

    question: FullQuestion
    storing: ResponseStoring
    call: Call
    flights: Flights
    place: str

    def may_share(self, plan: Fetch | Validate) -> bool:
        """Whether to wait for others at all, and let others wait."""
        return (
            self.storing.backend.coalesce
            and not self.call.failures
            and plan.reason in _SHAREABLE
            and hdrs.RANGE not in self.question.request.headers
            and not (
                self.flights.hits_for_miss and self.flights.is_hit_for_miss(self.question.key, now=time.monotonic())
            )
        )

    async def follow(self) -> Reuse | Flight | None:
        """What a flight under way brings for this request; else that flight; None where there is none to wait for."""
        abandoned = 0
        while (flight := self.flights.current(self.place)) is not None:
            if flight.leader is asyncio.current_task():
                return None if flight.is_announced else flight
            self.storing.drop_early_lease()  # which the one that leads the way may be waiting for
            outcome = await flight.join(self.call.read_timeout_s)
            if outcome is Outcome.ABANDONED and abandoned < MAX_ABANDONED:
                abandoned += 1
                continue
            usable = await self._usable(outcome, comes=True) if isinstance(outcome, StoredResponse) else None
            if usable is None:  # something may have been stored meanwhile, by this flight or another
                usable = await self.storing.look_again(self._usable)
            return flight if usable is None else usable
        return None

    async def lease(self, flight: Flight) -> Reuse | None:
        """Become the one process that fetches, or find what another one has fetched meanwhile.

        Where another one has learned that its response is for one request alone, *flight* has ended.
        """
        storing, patience_s = self.storing, self.call.read_timeout_s
        try:
            found = await storing.lease(self.place, patience_s, self._usable)
        finally:
            flight.when_free(partial(storing.release_lease, flight))
        if isinstance(found, Reuse):
            flight.end(found.stored)
            return found
        if found is not None:
            storing.end_unshared(flight)
        return None

    # ---- the response to another request

    def usable_at_once(self, entry: StoredResponse) -> Reuse | None:
        """As `_usable`, as far as that can be told without waiting."""
        try:
            if entry.tagging is not None and not self.storing.runtime.here.purges.is_current(entry):
                return None
            may = not self.call.follows or policy.may_be_used_alone(entry, self.question.rules, now=time.time())
            return self._answer_of(entry) if may else None
        except Exception:  # the next request that finds it discards it
            return None

    async def _usable(self, entry: StoredResponse, *, comes: bool = False) -> Reuse | None:
        """How *entry* answers this request, if it does; a redirect only with what it leads to.

        What cannot be judged is not usable, and is dropped.

        Args:
            comes: the call that has brought *entry* is about to go on from there: wait for that.
        """
        try:
            if entry.tagging is not None:
                judged = await self.storing.runtime.here.purges.judge(entry)
                if judged is None:
                    return None
                entry = judged
            usable = self._answer_of(entry)
            if usable is None:
                return None
            may = await may_use(entry, self.call, self.storing) or (comes and await self._is_followed(entry))
            return usable if may else None
        except Exception as error:
            await self.storing.discard(error, entry)
            return None

    def _answer_of(self, entry: StoredResponse) -> Reuse | None:
        now, opened = time.time(), self.storing.opened(entry)
        if opened is None:
            return None
        decision = decide(self.question, opened, now)
        if decision is policy.PLAIN_HIT:
            return policy.serve(opened, now=now)
        return decision if isinstance(decision, Reuse) and not decision.stale else None

    async def _is_followed(self, hop: StoredResponse) -> bool:
        """Whether the call that has brought the redirect *hop* brings what that leads to as well."""
        flight = self.flights.current(hop.history[0]) if hop.history else None
        if flight is None or flight.leader is asyncio.current_task():
            return False
        await flight.join(self.call.read_timeout_s)
        return await self.storing.is_ahead(hop)


async def may_use(entry: StoredResponse, call: Call, storing: ResponseStoring) -> bool:
    """Whether *entry* is no redirect that may be used up, but with what it leads to."""
    return (
        entry.status == 200
        or not call.follows
        or policy.may_be_used_alone(entry, storing.rules, now=time.time())
        or await storing.is_ahead(entry)
    )
