"""Request coalescing: whether the response to a request under way, here or in another process, answers this one."""

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

__all__ = ["Sharing", "why_unusable"]

MAX_ABANDONED = 1  # abandoned flights that one request waits for before it asks the origin by itself
_SHAREABLE = frozenset(
    {"uri-miss", "vary-miss", "miss", "stale", "partial"}
)  # reasons to ask the origin for which the response to another request may do as well


class Sharing(Struct):
    """How one request can use the response to another.

    Args:
        place: the name of its flight, the same for all requests that it can share a response with; see `Flight.place`.
    """

    question: FullQuestion
    storing: ResponseStoring
    call: Call
    flights: Flights
    place: str

    def may_share(self, plan: Fetch | Validate) -> bool:
        """Whether this request may wait for others, and others for this one."""
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
        """Wait for the flight under way at this request's place.

        Returns how its entry answers this request; the flight, if it has no entry that does; None without a flight to
        wait for.
        """
        abandoned = 0
        while (flight := self.flights.current(self.place)) is not None:
            if flight.leader is asyncio.current_task():
                return None if flight.is_announced else flight
            self.storing.drop_early_lease()  # the flight's leader may be waiting for this lease
            outcome = await flight.join(self.call.read_timeout_s)
            if outcome is Outcome.ABANDONED and abandoned < MAX_ABANDONED:
                abandoned += 1
                continue
            usable = await self._usable(outcome, comes=True) if isinstance(outcome, StoredResponse) else None
            if usable is None:  # an entry may have been stored meanwhile, by this flight or another
                usable = await self.storing.look_again(self._usable)
            return flight if usable is None else usable
        return None

    async def lease(self, flight: Flight) -> Reuse | None:
        """Obtain the lease on the key; or return how the response of another process answers this request.

        If another process found that its response cannot be shared, *flight* ends here. The lease is released when
        requests stop waiting for *flight*.
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
        """As `_usable`, but without waiting; None if that would take waiting."""
        try:
            if entry.tagging is not None and not self.storing.runtime.here.purges.is_current(entry):
                return None
            may = not self.call.follows or policy.may_be_used_alone(entry, self.question.rules, now=time.time())
            return self._answer_of(entry) if may else None
        except Exception:  # the next request that finds it discards it
            return None

    async def _usable(self, entry: StoredResponse, *, comes: bool = False) -> Reuse | None:
        """How *entry* answers this request, if it does; see `why_unusable` for redirects.

        An entry that cannot be judged is dropped.

        Args:
            comes: *entry* has just come from a flight; if it is a redirect that its call follows, wait for the target.
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
            why = await why_unusable(entry, self.call, self.storing)
            return None if why and not (comes and await self._is_followed(entry)) else usable
        except Exception as error:
            await self.storing.discard(error, entry)
            return None

    def _answer_of(self, entry: StoredResponse) -> Reuse | None:
        """How the policy answers this request with *entry*, if it does, and not stale."""
        now, opened = time.time(), self.storing.opened(entry)
        if opened is None:
            return None
        decision = decide(self.question, opened, now)
        if decision is policy.PLAIN_HIT:
            return policy.serve(opened, now=now)
        return decision if isinstance(decision, Reuse) and not decision.stale else None

    async def _is_followed(self, hop: StoredResponse) -> bool:
        """Wait for a flight to the target of the redirect *hop*; return whether the target is stored then."""
        flight = self.flights.current(hop.history[0]) if hop.history else None
        if flight is None or flight.leader is asyncio.current_task():
            return False
        await flight.join(self.call.read_timeout_s)
        return await self.storing.is_ahead(hop)


async def why_unusable(entry: StoredResponse, call: Call, storing: ResponseStoring) -> str:
    """Why *entry* may not be used now, in words for the caller; "" if it may.

    A redirect may lead to a one-time URL, so it is perhaps used only together with its target. Two URLs that have
    exchanged their roles would lead to each other as long as one of the redirects is stored, so a call follows each
    only once.
    """
    if entry.status == 200 or not call.follows:
        return ""
    if storing.question.key in call.keys and policy.leads_on(entry.status, entry.headers):
        return "the stored redirect leads back"
    if policy.may_be_used_alone(entry, storing.question.rules, now=time.time()) or await storing.is_ahead(entry):
        return ""
    return "the target of the stored redirect is not stored"
