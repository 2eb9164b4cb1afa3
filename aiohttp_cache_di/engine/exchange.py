"""One request on its way: looked up, decided upon, answered from the store or by the origin."""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial
from typing import TypeAlias, assert_never, cast

from aiohttp import ClientError, ClientResponse
from msgspec.structs import replace

from aiohttp_cache_di import policy
from aiohttp_cache_di.engine.background import own_request, read_and_release
from aiohttp_cache_di.engine.call import Call, refuse_when_closed
from aiohttp_cache_di.engine.describe import describe_miss
from aiohttp_cache_di.engine.flights import Flight, Outcome, unless_ended
from aiohttp_cache_di.engine.hits import count_hit
from aiohttp_cache_di.engine.looks import NotStored
from aiohttp_cache_di.engine.origin import OriginRequest, Reply
from aiohttp_cache_di.engine.sharing import Sharing
from aiohttp_cache_di.engine.steps import Steps, is_challenge
from aiohttp_cache_di.policy import (
    Bypass,
    Fetch,
    Freshen,
    GatewayTimeout,
    Load,
    NotModified,
    Partial,
    Pass,
    PlainHit,
    RangeNotSatisfiable,
    Refetch,
    ResponseDecision,
    Reuse,
    Serve,
    ServeStale,
    Store,
    Validate,
    decide,
)
from aiohttp_cache_di.rfc9111.cache_status import forwarded
from aiohttp_cache_di.rfc9111.messages import StoredResponse, VariantRef

__all__ = ["Exchange"]

logger = logging.getLogger(__name__)

Candidates: TypeAlias = tuple[StoredResponse | VariantRef, ...]


class Exchange(Steps):
    """One hop of one call, from the request to the response that is handed to the caller."""

    # ---- the request

    async def run(self) -> ClientResponse:
        """Answer from the store where that is allowed, else from the origin."""
        stored = await self.storing.find() if self.question.key else None
        foreign: ClientResponse | None = self.storing.foreign
        if foreign is not None:
            count_hit(self.backend.stats)
            return foreign
        now = time.time()
        decision = decide(self.question, stored, now, self.storing.candidates)
        match decision:
            case PlainHit.PLAIN_HIT:
                return self._hit(cast("StoredResponse", stored), now)  # without which there is no plain hit
            case Serve() | NotModified() | Partial() | RangeNotSatisfiable():
                if decision.revalidate:
                    self._revalidate_later(decision.stored)
                return self._reuse(decision)
            case GatewayTimeout():
                return self._refuse(decision)
            case Bypass() | Fetch() | Validate() if self.call.is_looking:
                raise NotStored
            case Bypass():
                return await self.bypass(decision.reason)
            case Fetch() | Validate():
                return await self._share_or_fetch(decision)
            case _:
                assert_never(decision)

    # ---- one request to the origin per key

    async def _share_or_fetch(self, plan: Fetch | Validate) -> ClientResponse:
        """Use what another request is about to bring, or lead the way to the origin."""
        sharing = Sharing(self.question, self.storing, self.call, self._usable)
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

    def _usable(self, entry: StoredResponse) -> Reuse | None:
        """How the response to another request answers this one, if it does."""
        now = time.time()
        decision = decide(self.question, entry, now)
        if decision is policy.PLAIN_HIT:
            return policy.serve(entry, now=now)
        return decision if isinstance(decision, Reuse) and not decision.stale else None

    async def _race(self, plan: Fetch | Validate, flight: Flight) -> ClientResponse:
        """Fetch, unless *flight* after all brings what answers this request, and sooner."""
        fetching = self._fetch_alone(plan)
        first: ClientResponse | Reuse = await unless_ended(flight, self._usable, fetching)
        if isinstance(first, ClientResponse):
            return first
        self.backend.stats.misses += 1  # nothing was spared: the origin has been asked
        return self._answer(first, cache_status=forwarded(plan.reason, detail="overtaken"))

    async def _fetch_alone(self, plan: Fetch | Validate) -> ClientResponse:
        async with self.runtime.flights.start(self.question.key, joinable=False) as flight:
            return await self.fetch(plan, flight)

    # ---- the origin, and what it answers

    async def fetch(self, plan: Fetch | Validate, flight: Flight) -> ClientResponse:
        """Ask the origin, and do as the policy decides about what it answers."""
        origin = OriginRequest(self.request, self.handler, self.call)
        while True:
            refuse_when_closed(self.request.session)
            try:
                reply = await origin.ask(plan)
            except (ClientError, OSError, asyncio.CancelledError) as error:
                return self._serve_stale(self._instead_or_raise(error, origin, plan, flight))
            if not isinstance(reply, Reply):
                self.backend.stats.misses += 1
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
                        self.backend.stats.misses += 1
                        describe_miss(reply.response, forwarded("bypass", detail="error"))
                        return reply.response
                    case _:
                        assert_never(decision)

    def _instead_or_raise(
        self, error: BaseException, origin: OriginRequest, plan: Fetch | Validate, flight: Flight
    ) -> ServeStale:
        """A stale response in place of the origin's failure, if one may be used; else the failure again."""
        stale = None if origin.comes_again(error) else self._instead_of(error, origin, plan)
        if stale is not None:
            return stale
        if origin.is_old_connection(error):
            flight.end(Outcome.ABANDONED)
        if not isinstance(error, asyncio.CancelledError):
            self.call.failures += 1
        raise error

    def _instead_of(self, error: BaseException, origin: OriginRequest, plan: Fetch | Validate) -> ServeStale | None:
        is_cancelled = isinstance(error, asyncio.CancelledError)
        if is_cancelled and not origin.is_own_cancellation(error):
            return None
        is_timeout = origin.is_timeout(error)
        stale = policy.on_failure(plan, self.question.rules, self.question.request, now=time.time(), timeout=is_timeout)
        if stale is not None and is_cancelled and (task := asyncio.current_task()) is not None:
            task.uncancel()
        return stale

    async def _decide(
        self, reply: Reply, plan: Fetch | Validate
    ) -> Store | Freshen | Pass | Refetch | ServeStale | None:
        """What to do with a reply; None where it cannot be understood, which is no reason not to hand it on."""
        candidates = self.storing.candidates
        if is_challenge(self.question, reply.head.status):
            return Pass("status", forwarded(plan.reason, detail="status"))
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
        fetch = partial(exchange._fetch_alone, plan)
        self.runtime.spawn(read_and_release(fetch), owner=self.request.session, name=stored.key)
