"""One request on its way: looked up, decided upon, answered from the store or by the origin."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, TypeAlias, assert_never

from aiohttp import ClientError, ClientHandlerType, ClientRequest, ClientResponse, hdrs
from msgspec.structs import replace

from aiohttp_cache_di import policy
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.engine.answers import answer_from, gateway_timeout
from aiohttp_cache_di.engine.background import own_request, read_and_release
from aiohttp_cache_di.engine.call import Call, refuse_when_closed
from aiohttp_cache_di.engine.describe import Report, describe_miss
from aiohttp_cache_di.engine.flights import Flight, Outcome, unless_ended
from aiohttp_cache_di.engine.origin import OriginRequest, Reply
from aiohttp_cache_di.engine.recording import wait_for_end
from aiohttp_cache_di.engine.runtime import Runtime
from aiohttp_cache_di.engine.sharing import Sharing
from aiohttp_cache_di.engine.storing import ResponseStoring
from aiohttp_cache_di.engine.turns import count_hit, count_stale_hit
from aiohttp_cache_di.policy import (
    Bypass,
    Fetch,
    Freshen,
    FullQuestion,
    GatewayTimeout,
    Load,
    NotModified,
    Partial,
    Pass,
    RangeNotSatisfiable,
    Refetch,
    ResponseDecision,
    Reuse,
    Serve,
    ServeStale,
    Store,
    Validate,
)
from aiohttp_cache_di.policy.rules import is_redirect
from aiohttp_cache_di.response import CachedResponse
from aiohttp_cache_di.rfc9111.cache_status import forwarded
from aiohttp_cache_di.rfc9111.messages import StoredResponse, VariantRef

__all__ = ["Exchange"]

logger = logging.getLogger(__name__)

Candidates: TypeAlias = tuple[StoredResponse | VariantRef, ...]


class Exchange:
    """One hop of one call, from the request to the response that is handed to the caller.

    Args:
        key_arguments: what the key of *question* was made of.
        is_answering: there is a caller, so that hits are counted.
    """

    def __init__(
        self,
        request: ClientRequest,
        handler: ClientHandlerType,
        call: Call,
        runtime: Runtime,
        backend: CacheBackend,
        question: FullQuestion,
        key_arguments: dict[str, Any],
        *,
        is_answering: bool = True,
    ) -> None:
        self.request = request
        self.handler = handler
        self.call = call
        self.backend = backend
        self.runtime = runtime
        self.question = question
        self.is_answering = is_answering
        self.storing = ResponseStoring(
            question.request, backend, runtime, question.rules, question.key, question.partition, key_arguments
        )
        self.storing.early_read, call.early_read = call.early_read, None
        self.sharing = Sharing(question, self.storing, call)
        self.origin = OriginRequest(request, handler, call)

    # ---- the request

    async def run(self) -> ClientResponse:
        """Answer from the store where that is allowed, else from the origin."""
        stored = await self.storing.find() if self.question.key else None
        foreign: ClientResponse | None = self.storing.stand_in
        if foreign is not None:
            return foreign
        decision = self.sharing.decide(stored)
        match decision:
            case Serve() | NotModified() | Partial() | RangeNotSatisfiable():
                return self._reuse(decision)
            case GatewayTimeout():
                self.backend.stats.misses += 1
                return gateway_timeout(decision, self.request, now=time.time())
            case Bypass():
                return await self.bypass(decision.reason)
            case Fetch() | Validate():
                return await self._share_or_fetch(decision)
            case _:
                assert_never(decision)

    def _reuse(self, decision: Reuse) -> CachedResponse:
        if decision.stale:
            count_stale_hit(self.backend.stats)
        else:
            count_hit(self.backend.stats)
        if decision.revalidate:
            self._revalidate_later(decision.stored)
        return self._answer(decision)

    def _answer(self, decision: Reuse, *, cache_status: str = "") -> CachedResponse:
        self._note_hop()
        return answer_from(decision, self.request, standard=self.backend.cache_control, cache_status=cache_status)

    def _note_hop(self) -> None:
        """The call has passed here on its way."""
        self.call.keys.append(self.question.key)

    async def bypass(self, reason: str) -> ClientResponse:
        """Let the origin answer, store nothing, and forget what the request may have changed."""
        self.backend.stats.bypassed += 1
        response = await self.handler(self.request)
        describe_miss(response, forwarded(reason))
        if self.backend.cache_control and isinstance(response, ClientResponse):
            await self._forget_changed(response)
        return response

    async def _forget_changed(self, response: ClientResponse) -> None:
        try:
            urls = policy.invalidated_urls(self.question.request, response.status, response.headers)
            if urls:
                await self.storing.invalidate(urls)
        except Exception:
            logger.exception("What a request has changed could not be told from its response")
        except BaseException:
            response.close()  # no one else knows of it
            raise

    # ---- one request to the origin per key

    async def _share_or_fetch(self, plan: Fetch | Validate) -> ClientResponse:
        """Use what another request is about to bring, or lead the way to the origin."""
        sharing = self.sharing
        if not sharing.may_share(plan):
            return await self._fetch_alone(plan)
        until = asyncio.get_running_loop().time() + self.backend.coalesce_timeout_s
        found = await sharing.follow(until)
        if isinstance(found, Flight):
            return await self._race(plan, found)
        if found is not None:
            return self._collapsed(found, plan)
        async with sharing.lead() as flight:
            found = await sharing.lease(flight, until)
            return await self.fetch(plan, flight) if found is None else self._collapsed(found, plan)

    async def _race(self, plan: Fetch | Validate, flight: Flight) -> ClientResponse:
        """Fetch, unless *flight* after all brings what answers this request, and sooner."""
        fetching = self._fetch_alone(plan)
        first: ClientResponse | Reuse = await unless_ended(flight, self.sharing.usable, fetching)
        if isinstance(first, ClientResponse):
            return first
        self.backend.stats.misses += 1  # nothing was spared: the origin has been asked
        return self._answer(first, cache_status=forwarded(plan.reason, detail="overtaken"))

    async def _fetch_alone(self, plan: Fetch | Validate) -> ClientResponse:
        async with self.sharing.go_alone() as flight:
            return await self.fetch(plan, flight)

    def _collapsed(self, decision: Reuse, plan: Fetch | Validate) -> CachedResponse:
        self.backend.stats.coalesced += 1
        return self._answer(decision, cache_status=forwarded(plan.reason, collapsed=True))

    # ---- the origin, and what it answers

    async def fetch(self, plan: Fetch | Validate, flight: Flight) -> ClientResponse:
        """Ask the origin, and do as the policy decides about what it answers."""
        refuse_when_closed(self.request.session)
        while True:
            reply = await self._ask(plan, flight)
            if not isinstance(reply, Reply):
                return reply
            with reply:
                decision = await self._decide(reply, plan)
                match decision:
                    case Store():
                        return await self._store(reply, decision, flight)
                    case Freshen():
                        return self._freshen(reply, decision, flight)
                    case ServeStale():
                        reply.response.release()
                        return self._serve_stale(decision)
                    case Pass():
                        return await self._pass(reply, decision, flight)
                    case Refetch():
                        reply.response.release()
                        plan = Fetch(decision.reason)
                    case None:
                        describe_miss(reply.response, forwarded("bypass", detail="error"))
                        return reply.response
                    case _:
                        assert_never(decision)

    async def _ask(self, plan: Fetch | Validate, flight: Flight) -> Reply | ClientResponse:
        """What the origin answers; or a stale response in place of its failure, if one may be used."""
        try:
            return await self.origin.ask(plan)
        except (ClientError, OSError, asyncio.CancelledError) as error:
            stale = None if self.origin.comes_again(error) else self._instead_of(error, plan)
            if stale is not None:
                return self._serve_stale(stale)
            if self.origin.is_old_connection(error):
                flight.end(Outcome.ABANDONED)
            if not isinstance(error, asyncio.CancelledError):
                self.call.failures += 1
            raise

    def _instead_of(self, error: BaseException, plan: Fetch | Validate) -> ServeStale | None:
        is_cancelled = isinstance(error, asyncio.CancelledError)
        if is_cancelled and not self.origin.is_own_cancellation(error):
            return None
        is_timeout = self.origin.is_timeout(error)
        stale = policy.on_failure(plan, self.question.rules, self.question.request, now=time.time(), timeout=is_timeout)
        if stale is not None and is_cancelled and (task := asyncio.current_task()) is not None:
            task.uncancel()
        return stale

    async def _decide(
        self, reply: Reply, plan: Fetch | Validate
    ) -> Store | Freshen | Pass | Refetch | ServeStale | None:
        """What to do with a reply; None where it cannot be understood, which is no reason not to hand it on."""
        candidates = self.storing.candidates
        try:
            while isinstance(decision := self._on_response(reply, plan, candidates), Load):
                wanted = decision.key
                entry = await self.storing.read(wanted)
                others = tuple(candidate for candidate in candidates if candidate.key != wanted)
                candidates = others if entry is None else (*others, entry)
        except Exception:
            logger.exception("A response could not be decided upon, and is not stored")
            return None
        return decision

    def _on_response(self, reply: Reply, plan: Fetch | Validate, candidates: Candidates) -> ResponseDecision:
        head, question = reply.head, self.question
        return policy.on_response(
            question.request, head, plan, question.rules, now=head.received_at, candidates=candidates
        )

    async def _store(self, reply: Reply, decision: Store, flight: Flight) -> ClientResponse:
        response, call = reply.response, self.call
        self.backend.stats.misses += 1
        self._update_get(reply, flight)
        history = self.storing.links(response, call.keys)
        self.storing.store_when_whole(reply, decision, flight, history, call.session)
        self._note_hop()
        if self.storing.is_asking_user:  # whose methods commonly answer at once
            await asyncio.sleep(0)
        if is_redirect(response.status) and hdrs.LOCATION in response.headers:
            await wait_for_end(response)  # aiohttp is about to leave it unread
        return response

    def _freshen(self, reply: Reply, decision: Freshen, flight: Flight) -> CachedResponse:
        """Write what a 304 has confirmed; what it no longer lets keep is written too, so that it is not used again."""
        reply.response.release()
        self.backend.stats.revalidated += 1
        answer = self._answer(decision.answer, cache_status=decision.cache_status)
        report = Report(answer, decision.cache_status, received_at=reply.head.received_at)
        if not flight.store_allowed:
            report.not_stored("invalidated")
        elif decision.stored.store_until > reply.head.received_at:
            flight.end(self.storing.place_and_tell(decision.stored, report))
        else:
            flight.end(self.storing.place(decision.stored))
        if reply.response._raw_cookie_headers:  # they are for this caller
            answer._raw_cookie_headers = reply.response._raw_cookie_headers
        return answer

    def _serve_stale(self, decision: ServeStale) -> CachedResponse:
        if self.is_answering:
            count_stale_hit(self.backend.stats)
        return self._answer(decision.answer, cache_status=decision.cache_status)

    async def _pass(self, reply: Reply, decision: Pass, flight: Flight) -> ClientResponse:
        self.backend.stats.misses += 1
        self._update_get(reply, flight)
        if decision.forget:
            await self.storing.forget()
        if reply.response.status < 500:
            self.storing.end_unshared(flight)
        describe_miss(reply.response, decision.cache_status)
        return reply.response

    def _update_get(self, reply: Reply, flight: Flight) -> None:
        """Let the response to HEAD tell of the stored response to GET (RFC 9111 §4.3.5)."""
        question, head_of = self.question, self.storing.head_of
        if head_of is not None and flight.store_allowed:
            now = reply.head.received_at
            updated = policy.on_head_response(question.request, reply.head, head_of, question.rules, now=now)
            if updated is not None:
                self.storing.place(updated)

    # ---- validation in the background (RFC 5861 §3)

    def _revalidate_later(self, stored: StoredResponse) -> None:
        own, call = own_request(self.request), self.call
        question = replace(self.question, request=replace(self.question.request, headers=own.headers))
        quiet_call = Call(call.session, decoded=call.decoded, keys=list(call.keys))
        exchange = Exchange(
            own,
            self.handler,
            quiet_call,
            self.runtime,
            self.backend,
            question,
            self.storing.key_arguments,
            is_answering=False,
        )
        exchange.storing.primary, exchange.storing.head_of = self.storing.primary, self.storing.head_of
        plan = policy.background_plan(question.request, stored, question.rules, now=time.time())
        fetching = read_and_release(exchange._fetch_alone(plan))
        self.runtime.spawn(fetching, owner=self.request.session, name=stored.key)
