"""One request of a caller: look it up, let the policy decide, answer it from the store or by the origin."""

from __future__ import annotations

import time
from typing import TypeVar, assert_never, cast

from aiohttp import ClientResponse
from msgspec.structs import replace

from aiohttp_cache_di import policy
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.engine.answering.answers import gateway_timeout
from aiohttp_cache_di.engine.answering.describe import describe_miss
from aiohttp_cache_di.engine.background import validate_later
from aiohttp_cache_di.engine.bases.trials import NotStored
from aiohttp_cache_di.engine.calls.call import Call
from aiohttp_cache_di.engine.fetching import Fetching, fetch_alone
from aiohttp_cache_di.engine.flights import Flight, changed_by, unless_ended
from aiohttp_cache_di.engine.hop import Hop
from aiohttp_cache_di.engine.lookup import Lookup
from aiohttp_cache_di.engine.questions.question import Questions
from aiohttp_cache_di.engine.runtime import Runtime
from aiohttp_cache_di.engine.sharing import Sharing
from aiohttp_cache_di.engine.storing.invalidating import invalidate, invalidate_unanswered
from aiohttp_cache_di.engine.storing.posted import Posted
from aiohttp_cache_di.policy import (
    Bypass,
    Fetch,
    FullQuestion,
    GatewayTimeout,
    NotModified,
    Partial,
    PlainHit,
    Plan,
    RangeNotSatisfiable,
    Reuse,
    Serve,
    ServeStale,
    Validate,
    decide,
)
from aiohttp_cache_di.response import CachedResponse
from aiohttp_cache_di.rfc9111.cache_status import FwdReason, forwarded
from aiohttp_cache_di.rfc9111.messages import StoredResponse
from aiohttp_cache_di.telemetry import Result

__all__ = ["Exchange"]

Decision = TypeVar("Decision")


class Exchange:
    """One hop of one call, from the request to the response that the caller gets.

    Args:
        questions: makes the question of a GET request that a POST response may answer.
    """

    def __init__(self, hop: Hop, questions: Questions) -> None:
        lookup = hop.lookup
        self.hop = hop
        self.call: Call = hop.call
        self.lookup: Lookup = lookup
        self.questions = questions
        self.question: FullQuestion = lookup.question
        self.backend: CacheBackend = lookup.backend
        self.runtime: Runtime = lookup.runtime

    async def run(self) -> ClientResponse:
        """Answer from the store if that is allowed, otherwise by the origin."""
        call, lookup = self.call, self.lookup
        lookup.early_read, call.early_read = call.early_read, None
        first_looks = self.runtime.here.first_looks
        if lookup.early_read is None and first_looks is not None and first_looks.is_due(self.question.key):
            self._ask_for_lease()
        try:
            try:
                plan = await self._from_store()
            except Exception as error:  # a bad entry in the store costs no more than a miss
                await self.lookup.discard(error)
                plan = await self._from_store(is_empty=True)
            if isinstance(plan, ClientResponse):
                return plan
            if call.is_trial:
                raise NotStored
            match plan:
                case Fetch() | Validate():
                    return await self._share_or_fetch(plan)
                case Bypass():
                    return await self._bypass(plan.reason)
                case _:
                    assert_never(plan)
        finally:
            if first_looks is not None:
                lookup.drop_early_lease()

    def _ask_for_lease(self) -> None:
        """Have the store lease the key in the same operation as the look-up, if the origin may be asked on a miss."""
        if not (self.call.failures or self.call.is_trial or self.question.rules.only_if_cached):
            self.lookup.lease_s = self.runtime.early_lease_s(self.question, self.backend)

    async def _from_store(self, *, is_empty: bool = False) -> ClientResponse | Bypass | Plan:
        """The response from the store; or, if there is none, what to do instead.

        Args:
            is_empty: decide as if nothing were stored, without a look-up.
        """
        lookup = self.lookup
        asks = self.question.key and not is_empty and not lookup.rule_out()
        stored = await lookup.find() if asks else None
        foreign: ClientResponse | None = lookup.foreign
        if foreign is not None:
            self.call.result = "hit"
            return foreign
        now = time.time()
        decision = decide(self.question, stored, now, () if lookup.primary is None else lookup.candidates)
        served = decision.stored if isinstance(decision, Serve) else stored if decision is PlainHit.PLAIN_HIT else None
        if served is not None and served.status != 200 and (why := await self.hop.why_unusable(served)):
            decision = policy.hop_anew(served, self.question.rules)
            lookup.why_asked = why
        if lookup.store_failed or lookup.is_refused:
            decision = self._without_stored(decision)
        match decision:
            case Fetch() | Validate() | Bypass():
                return decision
            case PlainHit.PLAIN_HIT:
                # A plain hit implies a stored response.
                return self.hop.answer_plainly(cast("StoredResponse", stored), now=now)
            case Serve() | NotModified() | Partial() | RangeNotSatisfiable():
                if decision.revalidate:
                    validate_later(self.hop, decision.stored)
                return self.hop.answer(decision, "stale" if decision.stale else "hit")
            case GatewayTimeout():
                return self._refuse(decision)
            case _:
                assert_never(decision)

    def _without_stored(self, decision: Decision) -> Decision:
        """*decision*, with the reason that the stored response could not be used."""
        if self.lookup.store_failed:
            cause = self.backend.guard.outages.causes.get("read", "")
            self.lookup.why_asked = f"the store does not answer: {cause}" if cause else "the store does not answer"
        else:
            self.lookup.why_asked = "filter_fn refuses what is stored"
        return policy.not_at_hand(decision)

    def _refuse(self, decision: GatewayTimeout) -> CachedResponse:
        """Answer with 504, because the origin may not be asked."""
        self.call.result = "miss"
        decision = replace(decision, cache_status=self.lookup.status_of(decision.cache_status))
        return gateway_timeout(decision, self.hop.request, now=time.time(), why=self.lookup.why_asked)

    # ---- bypassing the store

    async def _bypass(self, reason: FwdReason) -> ClientResponse:
        """Let the origin answer without storing its response, and invalidate what the request may have changed.

        What is stored all the same is the response to a POST request that says that it answers GET, too: see `posted`.
        """
        request = self.question.request
        if not policy.may_answer_get(request, self.question.rules):
            return await self._change(reason, None)
        purges = await self.runtime.here.purges.observe()
        with Posted(self.hop, self.questions, purges) as posted:
            response = await self._change(reason, posted.flight)
            if isinstance(response, ClientResponse):
                posted.store(request, response)
        return response

    async def _change(self, reason: FwdReason, flight: Flight | None) -> ClientResponse:
        """Let the origin answer, and invalidate what the request may have changed.

        Args:
            flight: the one whose own response it is that invalidates; None if there is none.
        """
        response = await self._send()
        self.call.result = "bypass"
        describe_miss(response, forwarded(reason), hidden=self.backend.ignored_params)
        if isinstance(response, ClientResponse):
            with changed_by(flight):
                await invalidate(self.lookup, response)
        return response

    async def _send(self) -> ClientResponse:
        """Let the origin answer; if it does not, invalidate what the request may have changed."""
        request = self.hop.request
        earlier = request.response  # to an earlier attempt to send the request
        try:
            return await self.hop.handler(request)
        except BaseException:
            if request.response is not earlier:  # aiohttp has made a response to read from: the request was sent
                invalidate_unanswered(self.lookup)
            raise

    # ---- one request to the origin per key

    async def _share_or_fetch(self, plan: Plan) -> ClientResponse:
        """Use the response to an equal request under way, or ask the origin in a flight that others can join."""
        sharing = Sharing(self.hop)
        if not sharing.may_share(plan):
            return await self._fetch_alone(plan)
        flights, place = self.runtime.flights, sharing.place
        waits = flights.current(place) is not None
        found = await sharing.follow() if waits else None
        if isinstance(found, Flight):
            return await self._race(plan, found, sharing)
        if found is not None:
            return await self._collapsed(found, plan)
        with flights.lead(self.question.key, place) as flight:
            found = await sharing.lease(flight) if sharing.may_have_company(waited=waits) else None
            if found is not None:
                return await self._collapsed(found, plan)
            if flight.outcome is None:
                return await self._handed_on(await Fetching(self.hop, flight).fetch(plan))
        return await self._fetch_alone(plan)  # the flight has ended: its response cannot be shared, or was invalidated

    async def _race(self, plan: Plan, flight: Flight, sharing: Sharing) -> ClientResponse:
        """Fetch; but if the late *flight* ends first with an entry that answers this request, use that."""
        fetching = self._fetch_alone(plan)
        first: ClientResponse | Reuse = await unless_ended(flight, sharing.usable_at_once, fetching)
        if isinstance(first, ClientResponse):
            return first
        # It counts as a miss, since no request was saved: the origin has been asked.
        return self.hop.answer(first, "miss", cache_status=forwarded(plan.reason, detail="overtaken"))

    async def _collapsed(self, decision: Reuse, plan: Plan) -> ClientResponse:
        """Answer with the response to another request."""
        status = forwarded(plan.reason, collapsed=True)
        return await self._answer_or_fetch(decision, "coalesced", plan.reason, cache_status=status)

    async def _fetch_alone(self, plan: Plan) -> ClientResponse:
        """Ask the origin, in a flight that others cannot join."""
        return await self._handed_on(await fetch_alone(plan, self.hop))

    async def _handed_on(self, outcome: ClientResponse | ServeStale) -> ClientResponse:
        """The response of the origin, or the stale one that is used instead of an error."""
        if isinstance(outcome, ServeStale):
            return await self._answer_or_fetch(outcome.answer, "stale", "stale")
        return outcome

    async def _answer_or_fetch(
        self, reuse: Reuse, result: Result, reason: FwdReason, *, cache_status: str = ""
    ) -> ClientResponse:
        """Answer with a stored entry; or if no response can be made of it, drop it and let the origin answer."""
        try:
            return self.hop.answer(reuse, result, cache_status=cache_status)
        except Exception as error:
            await self.lookup.discard(error, reuse.stored)
            return await self._fetch_alone(Fetch(reason))
