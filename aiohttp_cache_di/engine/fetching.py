"""One request to the origin, and acting on its response as the policy decides.

A request of a caller (`exchange`) and a validation in the background (`background`) have this in common.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TypeAlias, assert_never

from aiohttp import ClientConnectionError, ClientError, ClientRequest, ClientResponse, hdrs

from aiohttp_cache_di import policy
from aiohttp_cache_di._aiohttp import can_prepend, hand_on_cookies, prepend
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.engine.answering.describe import Report, describe_miss
from aiohttp_cache_di.engine.calls.call import Call
from aiohttp_cache_di.engine.copies.recording import wait_for_end
from aiohttp_cache_di.engine.flights import Flight, Flights, Outcome
from aiohttp_cache_di.engine.hop import Hop
from aiohttp_cache_di.engine.lookup import Lookup
from aiohttp_cache_di.engine.notes import note_too_many_tags
from aiohttp_cache_di.engine.origin import OriginRequest, Reply
from aiohttp_cache_di.engine.storing.arriving import store_when_whole
from aiohttp_cache_di.engine.storing.locations import next_key
from aiohttp_cache_di.engine.storing.placing import place, place_and_tell, redacted
from aiohttp_cache_di.engine.storing.tagging import confirmed
from aiohttp_cache_di.entries.tags import TooManyTagsError
from aiohttp_cache_di.policy import (
    Complete,
    Fetch,
    Freshen,
    FullQuestion,
    Load,
    Pass,
    Plan,
    Refetch,
    ServeStale,
    Store,
    Validate,
)
from aiohttp_cache_di.policy.tracing import age_and_rest
from aiohttp_cache_di.response import CachedResponse
from aiohttp_cache_di.rfc9111.cache_status import forwarded
from aiohttp_cache_di.rfc9111.messages import REDIRECTS, StoredResponse, VariantRef

__all__ = ["Fetching", "fetch_alone"]

logger: logging.Logger = logging.getLogger(__name__)

Candidates: TypeAlias = tuple[StoredResponse | VariantRef, ...]
Decided: TypeAlias = Store | Complete | Freshen | Pass | Refetch | ServeStale

CHALLENGES = frozenset({401, 407})
"""Statuses by which the origin asks for credentials."""


async def fetch_alone(plan: Plan, hop: Hop) -> ClientResponse | ServeStale:
    """Ask the origin in a flight that others cannot join; see `Fetching`."""
    with hop.lookup.runtime.flights.start(hop.lookup.question.key) as flight:
        return await Fetching(hop, flight).fetch(plan)


class Fetching:
    """One request to the origin, and acting on its response.

    The result is a response to hand on, or the decision to use a stale one instead of an error: a user of this class
    knows whether there is a caller to get that, and how to count it.

    Args:
        flight: that of the request.
    """

    def __init__(self, hop: Hop, flight: Flight) -> None:
        lookup = hop.lookup
        self._hop = hop
        self._request: ClientRequest = hop.request
        self._call: Call = hop.call
        self._lookup: Lookup = lookup
        self._flight = flight
        self._question: FullQuestion = lookup.question
        self._backend: CacheBackend = lookup.backend
        self._flights: Flights = lookup.runtime.flights
        self._origin = OriginRequest(hop)

    async def fetch(self, plan: Plan) -> ClientResponse | ServeStale:
        """Ask the origin, and do what the policy decides about its response."""
        if plan.stored is not None and not self._lookup.why_asked:
            self._lookup.why_asked = f"of what was stored: {age_and_rest(plan.stored, now=time.time())}"
        while True:
            if self._request.session.closed:  # as aiohttp does when it is about to connect
                raise ClientConnectionError("Connector is closed.")
            try:
                reply = await self._origin.ask(plan)
            except (ClientError, OSError, asyncio.CancelledError) as error:
                return self._instead_or_raise(error, plan)
            if not isinstance(reply, Reply):
                self._call.result = "miss"
                return reply
            try:
                answer = await self._act_on(reply, plan)
            except BaseException:
                reply.response.close()  # nothing else refers to it
                raise
            if answer is not None:
                return answer
            plan = Fetch(plan.reason)

    async def _act_on(self, reply: Reply, plan: Plan) -> ClientResponse | ServeStale | None:
        """Do what the policy decides about a reply; None to send the request again, without a condition of ours."""
        decision = await self._decide(reply, plan)
        match decision:
            case Store():
                return await self._store(reply, decision)
            case Complete():
                return await self._complete(reply, decision)
            case Freshen():
                return await self._freshen(reply, decision)
            case Pass():
                return await self._pass(reply, decision)
            case ServeStale():
                reply.response.release()
                return decision
            case Refetch():
                reply.response.release()
                return None
            case _:
                assert_never(decision)

    def _instead_or_raise(self, error: BaseException, plan: Plan) -> ServeStale:
        """The decision to use a stale response instead of *error*; raises *error* if there is none."""
        self._call.comes_again = self._origin.comes_again(error)
        stale = None if self._call.comes_again else self._instead_of(error, plan)
        if stale is not None:
            return stale
        if self._origin.is_old_connection(error):
            self._flight.end(Outcome.ABANDONED)
        if not isinstance(error, asyncio.CancelledError):
            self._call.failures += 1
        raise error

    def _instead_of(self, error: BaseException, plan: Plan) -> ServeStale | None:
        """The decision to use a stale response instead of *error*, if there is one.

        If the request's own timeout has cancelled this task, the cancellation is taken back.
        """
        is_cancelled = isinstance(error, asyncio.CancelledError)
        if is_cancelled and not self._origin.is_own_cancellation(error):
            return None
        rules, request = self._question.rules, self._question.request
        try:
            is_timeout = self._origin.is_timeout(error)
            stale = policy.on_failure(plan, rules, request, now=time.time(), is_reachable=is_timeout)
        except Exception:  # the entry cannot be judged; the next request that finds it discards it
            return None
        if stale is not None and is_cancelled and (task := asyncio.current_task()) is not None:
            task.uncancel()
        return stale

    async def _decide(self, reply: Reply, plan: Plan) -> Decided:
        """What to do with a reply; if the policy fails on it, it is handed on."""
        if reply.head.status in CHALLENGES and (self._question.is_named or self._backend.leaves_credentials_out):
            # The partition does not depend on all credentials. The challenge concerns those of this request, and says
            # nothing about what other requests in the partition would get.
            return Pass("status", forwarded(plan.reason, detail="status"), is_lasting=False)
        request, rules, lookup, head = self._question.request, self._question.rules, self._lookup, reply.head
        candidates: Candidates = () if lookup.primary is None else lookup.candidates
        has_failed = False
        while True:
            try:
                decision = policy.on_response(request, head, plan, rules, now=head.received_at, candidates=candidates)
                if not isinstance(decision, Load):
                    return decision
                wanted = decision.key
                entry = await lookup.read(wanted)
                others = tuple(candidate for candidate in candidates if candidate.key != wanted)
                candidates = others if entry is None else (*others, entry)
            except Exception as error:
                if has_failed:
                    logger.exception("The policy has failed on a response, which is not stored")
                    return Pass("error", forwarded("bypass", detail="error"), is_lasting=False)
                if plan.stored is not None or lookup.primary is not None:  # the stored entry may be the cause
                    await lookup.discard(error, plan.stored)
                    if isinstance(plan, Validate) and head.status == 304:
                        return Refetch()
                plan, candidates, has_failed = Fetch(plan.reason), (), True

    async def _complete(self, reply: Reply, decision: Complete) -> ClientResponse | None:
        """Put a stored part before the rest of the body, and hand both on as one response; None if that fails."""
        if not can_prepend(reply.response):
            reply.response.release()
            return None
        match decision.then:
            case Store():
                response = await self._store(reply, decision.then)
            case Pass():
                response = await self._pass(reply, decision.then)
        try:
            prepend(response, decision.stored.body, complete_bytes=decision.complete_bytes)
        except Exception:
            logger.exception("A stored part could not be put before the rest of its body; the whole is fetched")
            response.close()
            return None
        return response

    async def _store(self, reply: Reply, decision: Store) -> ClientResponse:
        """Hand the response on, and begin to copy its body; the entry is written when the last byte has arrived."""
        response, call = reply.response, self._call
        call.result = "miss"
        if self._lookup.head_of is not None:
            await self._update_get(reply, self._lookup.head_of)
        is_hop = response.status in REDIRECTS
        if is_hop:
            self._announce_next(reply)
        is_asking_user = store_when_whole(self._lookup, reply, decision, self._flight, call.keys, call.session)
        call.keys.append(self._question.key)
        if is_asking_user:  # let a user's method, which commonly returns at once, finish first
            await asyncio.sleep(0)
        if is_hop and hdrs.LOCATION in response.headers:
            await wait_for_end(response)  # aiohttp follows the redirect without reading its body
        return response

    def _announce_next(self, reply: Reply) -> None:
        """Start a flight for the target of a redirect that aiohttp is about to follow.

        Requests that have waited for the redirect, and may use it only together with its target, then wait for that.
        """
        response = reply.response
        if policy.leads_on(response.status, response.headers) and self._call.follows:
            request, arguments = self._question.request, self._lookup.key_arguments
            key = next_key(request, response.status, response.headers, arguments, self._backend)
            if key is not None:
                self._flights.announce(key)

    async def _freshen(self, reply: Reply, decision: Freshen) -> CachedResponse | None:
        """Answer with the stored response that a 304 has confirmed, and write the updated entry.

        An entry that may no longer be kept is written too, so that the old one is not used again. None if no response
        can be made of the entry, which is then dropped.
        """
        reply.response.release()
        stored = decision.answer.stored
        try:
            answer = self._hop.answer(decision.answer, "revalidated")
        except Exception as error:
            await self._lookup.discard(error, stored)
            return None
        report = Report(
            answer, self._lookup.status_of(decision.answer.cache_status), received_at=reply.head.received_at
        )
        try:
            stored = redacted(self._backend, confirmed(self._question, stored, reply.sent.purges))
            if not self._flight.store_allowed:
                report.not_stored("invalidated")
            elif stored.store_until > reply.head.received_at:
                self._flight.end(place_and_tell(self._lookup, stored, report))
            else:
                self._flight.end(place(self._lookup, stored))
        except TooManyTagsError as error:
            note_too_many_tags(error, self._lookup.told)
            report.not_stored("too-many-tags")
        except Exception:
            logger.exception("A response that a 304 has confirmed could not be stored")
            report.not_stored("error")
        hand_on_cookies(answer, reply.response)  # cookies of the 304 are for this caller
        return answer

    async def _pass(self, reply: Reply, decision: Pass) -> ClientResponse:
        """Hand the response on without storing it."""
        self._call.result = "miss"
        if self._lookup.head_of is not None:
            await self._update_get(reply, self._lookup.head_of)
        if decision.forget:
            await self._lookup.forget()
        if decision.is_lasting:
            self._flights.end_unshared(self._flight)
        hidden = self._backend.ignored_params
        cache_status = self._lookup.status_of(decision.cache_status)
        describe_miss(reply.response, cache_status, values=self._lookup.why_asked, hidden=hidden)
        return reply.response

    async def _update_get(self, reply: Reply, head_of: StoredResponse) -> None:
        """Update the stored response to GET from that to HEAD (RFC 9111 §4.3.5), unless it was replaced meanwhile."""
        question, lookup, now = self._question, self._lookup, reply.head.received_at
        try:
            updated = policy.on_head_response(question.request, reply.head, head_of, question.rules, now=now)
            latest = None if updated is None else await lookup.read(head_of.key)
            if updated is None or latest is None or latest.received_at > head_of.received_at:
                return
            if self._flight.store_allowed and not lookup.is_outdated():
                place(lookup, redacted(self._backend, updated))
        except Exception:
            logger.exception("A stored response could not be updated from a response to HEAD")
