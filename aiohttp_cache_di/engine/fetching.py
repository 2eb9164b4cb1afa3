"""One request to the origin, and acting on its response as the policy decides.

A request of a caller (`exchange`) and a validation in the background (`background`) have this in common.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TypeAlias, assert_never

from aiohttp import ClientError, ClientHandlerType, ClientRequest, ClientResponse, hdrs
from msgspec.structs import replace

from aiohttp_cache_di import policy
from aiohttp_cache_di._aiohttp import can_prepend, hand_on_cookies, prepend
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.engine.answering.answers import answer_from
from aiohttp_cache_di.engine.answering.describe import Report, describe_miss
from aiohttp_cache_di.engine.calls.call import Call, refuse_when_closed
from aiohttp_cache_di.engine.copies.recording import wait_for_end
from aiohttp_cache_di.engine.flight import Flight, Outcome
from aiohttp_cache_di.engine.lookup import Lookup
from aiohttp_cache_di.engine.notes import note_too_many_tags
from aiohttp_cache_di.engine.origin import OriginRequest, Reply
from aiohttp_cache_di.engine.runtime import Runtime
from aiohttp_cache_di.engine.storing.arriving import store_when_whole
from aiohttp_cache_di.engine.storing.locations import next_keys
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
    Refetch,
    ServeStale,
    Store,
    Validate,
)
from aiohttp_cache_di.policy.tracing import age_and_rest
from aiohttp_cache_di.response import CachedResponse
from aiohttp_cache_di.rfc9111.cache_status import forwarded, purged
from aiohttp_cache_di.rfc9111.messages import REDIRECTS, StoredResponse, VariantRef

__all__ = ["Fetching"]

logger: logging.Logger = logging.getLogger(__name__)

Candidates: TypeAlias = tuple[StoredResponse | VariantRef, ...]
Decided: TypeAlias = Store | Complete | Freshen | Pass | Refetch | ServeStale | None

CHALLENGES = frozenset({401, 407})
"""Statuses by which the origin asks for credentials."""


def is_challenge(question: FullQuestion, backend: CacheBackend) -> bool:
    """Whether a response with one of these statuses must not be stored or shared in the question's partition.

    That is so if the partition does not depend on all credentials: then the challenge concerns this request's
    credentials, and says nothing about what other requests in the partition would get.
    """
    return question.is_named or backend.leaves_credentials_out


def told_of_purge(decision: Decided, tag: str) -> Decided:
    """*decision*, with a Cache-Status that names *tag*, whose purge is the reason for the request."""
    match decision:
        case Store() | Freshen() | Pass() | ServeStale():
            return replace(decision, cache_status=purged(decision.cache_status, tag))
        case Complete():
            then = decision.then
            return replace(decision, then=replace(then, cache_status=purged(then.cache_status, tag)))
        case _:
            return decision


class Fetching(OriginRequest):
    """One request to the origin, and acting on its response.

    The result is a response to hand on, or the decision to use a stale one instead of an error: a subclass or a user of
    this class knows whether there is a caller to get that, and how to count it.

    Args:
        lookup: the look-up of the response to the request.
    """

    def __init__(
        self,
        request: ClientRequest,
        handler: ClientHandlerType,
        call: Call,
        lookup: Lookup,
    ) -> None:
        self.request = request
        self.handler = handler
        self.call = call
        self.question: FullQuestion = lookup.question
        self.lookup = lookup
        self.backend: CacheBackend = lookup.backend
        self.runtime: Runtime = lookup.runtime

    async def alone(self, plan: Fetch | Validate) -> ClientResponse | ServeStale:
        """Ask the origin, in a flight that others cannot join."""
        with self.runtime.flights.start(self.question.key, joinable=False) as flight:
            return await self.fetch(plan, flight)

    async def fetch(self, plan: Fetch | Validate, flight: Flight) -> ClientResponse | ServeStale:
        """Ask the origin, and do what the policy decides about its response."""
        if plan.stored is not None and not self.lookup.found:
            self.lookup.found = f"of what was stored: {age_and_rest(plan.stored, now=time.time())}"
        while True:
            refuse_when_closed(self.request.session)
            try:
                reply = await self.ask(plan)
            except (ClientError, OSError, asyncio.CancelledError) as error:
                return self._instead_or_raise(error, plan, flight)
            if not isinstance(reply, Reply):
                self._count_miss()
                return reply
            try:
                decision = await self._decide(reply, plan)
                if self.lookup.purged:
                    decision = told_of_purge(decision, self.lookup.purged)
                match decision:
                    case Store():
                        return await self._store(reply, decision, flight)
                    case Complete():
                        if (whole := await self._complete(reply, decision, flight)) is not None:
                            return whole
                        plan = Fetch(plan.reason)
                    case Freshen():
                        answer = await self._freshen(reply, decision, flight)
                        if answer is not None:
                            return answer
                        plan = Fetch(plan.reason)
                    case ServeStale():
                        reply.response.release()
                        return decision
                    case Pass():
                        return await self._pass(reply, decision, flight)
                    case Refetch():
                        reply.response.release()
                        plan = Fetch(decision.reason)
                    case None:
                        self._count_miss()
                        describe_miss(
                            reply.response, forwarded("bypass", detail="error"), hidden=self.backend.ignored_params
                        )
                        return reply.response
                    case _:
                        assert_never(decision)
            except BaseException:
                reply.response.close()  # nothing else refers to it
                raise

    def _count_miss(self) -> None:
        self.runtime.counts.misses += 1
        self.call.result = "miss"

    def _instead_or_raise(self, error: BaseException, plan: Fetch | Validate, flight: Flight) -> ServeStale:
        """The decision to use a stale response instead of *error*; raises *error* if there is none."""
        stale = None if self.comes_again(error) else self._instead_of(error, plan)
        if stale is not None:
            return stale
        if self.is_old_connection(error):
            flight.end(Outcome.ABANDONED)
        if not isinstance(error, asyncio.CancelledError):
            self.call.failures += 1
        raise error

    def _instead_of(self, error: BaseException, plan: Fetch | Validate) -> ServeStale | None:
        """The decision to use a stale response instead of *error*, if there is one.

        If the request's own timeout has cancelled this task, the cancellation is taken back.
        """
        is_cancelled = isinstance(error, asyncio.CancelledError)
        if is_cancelled and not self.is_own_cancellation(error):
            return None
        is_timeout = self.is_timeout(error)
        rules, request = self.question.rules, self.question.request
        try:
            stale = policy.on_failure(plan, rules, request, now=time.time(), timeout=is_timeout)
        except Exception:  # the entry cannot be judged; the next request that finds it discards it
            return None
        if stale is not None and is_cancelled and (task := asyncio.current_task()) is not None:
            task.uncancel()
        return stale

    async def _decide(self, reply: Reply, plan: Fetch | Validate) -> Decided:
        """What to do with a reply; None if the policy fails on it: then it is handed on, and not stored."""
        if reply.head.status in CHALLENGES and is_challenge(self.question, self.backend):
            return Pass("status", forwarded(plan.reason, detail="status"))
        request, rules, lookup, head = self.question.request, self.question.rules, self.lookup, reply.head
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
                    return None
                if plan.stored is not None or lookup.primary is not None:  # the stored entry may be the cause
                    await lookup.discard(error, plan.stored)
                    if isinstance(plan, Validate) and head.status == 304:
                        return Refetch(plan.reason)
                plan, candidates, has_failed = Fetch(plan.reason), (), True

    async def _complete(self, reply: Reply, decision: Complete, flight: Flight) -> ClientResponse | None:
        """Put a stored part before the rest of the body, and hand both on as one response; None if that fails."""
        if not can_prepend(reply.response):
            reply.response.release()
            return None
        match decision.then:
            case Store():
                response = await self._store(reply, decision.then, flight)
            case Pass():
                response = await self._pass(reply, decision.then, flight)
        try:
            prepend(response, decision.stored.body, complete_bytes=decision.complete_bytes)
        except Exception:
            logger.exception("A stored part could not be put before the rest of its body; the whole is fetched")
            response.close()
            self.runtime.counts.misses -= 1  # the next attempt counts it again
            return None
        return response

    async def _store(self, reply: Reply, decision: Store, flight: Flight) -> ClientResponse:
        """Hand the response on, and begin to copy its body; the entry is written when the last byte has arrived."""
        response, call = reply.response, self.call
        self._count_miss()
        if self.lookup.head_of is not None:
            self._update_get(reply, flight)
        is_hop = response.status in REDIRECTS
        if is_hop:
            self._announce_next(reply)
        is_asking_user = store_when_whole(self.lookup, reply, decision, flight, call.keys, call.session)
        call.keys.append(self.question.key)
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
        if policy.leads_on(response.status, response.headers) and self.call.follows:
            request, arguments = self.question.request, self.lookup.key_arguments
            for key in next_keys(request, response.status, response.headers, arguments, self.backend):
                self.runtime.flights.announce(key)

    async def _freshen(self, reply: Reply, decision: Freshen, flight: Flight) -> CachedResponse | None:
        """Answer with the stored response that a 304 has confirmed, and write the updated entry.

        An entry that may no longer be kept is written too, so that the old one is not used again. None if no response
        can be made of the entry, which is then dropped.
        """
        reply.response.release()
        standard, cache_status = self.backend.cache_control, decision.cache_status
        try:
            answer = answer_from(decision.answer, self.request, standard=standard, cache_status=cache_status)
        except Exception as error:
            await self.lookup.discard(error, decision.stored)
            return None
        self.runtime.counts.revalidated += 1
        self.call.result = "revalidated"
        self.call.keys.append(self.question.key)
        report = Report(answer, decision.cache_status, received_at=reply.head.received_at)
        try:
            stored = redacted(self.backend, confirmed(self.question, decision.stored, reply.purges))
            if not flight.store_allowed:
                report.not_stored("invalidated")
            elif stored.store_until > reply.head.received_at:
                flight.end(place_and_tell(self.lookup, stored, report))
            else:
                flight.end(place(self.lookup, stored))
        except TooManyTagsError as error:
            note_too_many_tags(error, self.lookup.told)
            report.not_stored("too-many-tags")
        except Exception:
            logger.exception("A response that a 304 has confirmed could not be stored")
            report.not_stored("error")
        hand_on_cookies(answer, reply.response)  # cookies of the 304 are for this caller
        return answer

    async def _pass(self, reply: Reply, decision: Pass, flight: Flight) -> ClientResponse:
        """Hand the response on without storing it; hit-for-miss, unless it is a challenge or an error of the origin."""
        self._count_miss()
        self._update_get(reply, flight)
        if decision.forget:
            await self.lookup.forget()
        if reply.response.status in CHALLENGES and is_challenge(self.question, self.backend):
            flight.end(Outcome.UNSHARED)  # no hit-for-miss: responses to other credentials can be shared
        elif reply.response.status < 500:
            self.runtime.flights.end_unshared(flight)
        hidden = self.backend.ignored_params
        describe_miss(reply.response, decision.cache_status, values=self.lookup.found, hidden=hidden)
        return reply.response

    def _update_get(self, reply: Reply, flight: Flight) -> None:
        """Update the stored response to GET from the response to HEAD (RFC 9111 §4.3.5)."""
        question, head_of = self.question, self.lookup.head_of
        if head_of is not None and flight.store_allowed:
            now = reply.head.received_at
            try:
                updated = policy.on_head_response(question.request, reply.head, head_of, question.rules, now=now)
                if updated is not None:
                    place(self.lookup, redacted(self.backend, updated))
            except Exception:
                logger.exception("A stored response could not be updated from a response to HEAD")
