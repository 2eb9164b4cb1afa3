"""One request on its way: looked up, decided upon, answered from the store or by the origin."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any, assert_never

from aiohttp import ClientError, ClientHandlerType, ClientRequest, ClientResponse, hdrs
from msgspec.structs import replace
from multidict import CIMultiDict

from aiohttp_cache_di import policy
from aiohttp_cache_di._aiohttp import (
    DecodingWatch,
    hand_on_cookies,
    is_disconnection,
    timer_fired,
    watch_decoding,
    will_retry,
)
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.engine.answers import answer_from, gateway_timeout
from aiohttp_cache_di.engine.call import Call, refuse_when_closed
from aiohttp_cache_di.engine.describe import Report, describe_miss
from aiohttp_cache_di.engine.flights import Flight, unless_landed
from aiohttp_cache_di.engine.recording import wait_for_end
from aiohttp_cache_di.engine.runtime import Runtime
from aiohttp_cache_di.engine.storing import Shelf
from aiohttp_cache_di.policy import (
    Bypass,
    Fetch,
    Freshen,
    GatewayTimeout,
    Load,
    Pass,
    Refetch,
    ResponseDecision,
    Reuse,
    ServeStale,
    Store,
    Validate,
)
from aiohttp_cache_di.policy.rules import is_redirect
from aiohttp_cache_di.response import CachedResponse
from aiohttp_cache_di.rfc9111.cache_status import forwarded
from aiohttp_cache_di.rfc9111.messages import Request, Response, StoredResponse, VariantRef

__all__ = ["Exchange"]

logger = logging.getLogger(__name__)

BACKGROUND_LIMIT_S = 60.0  # of a validation in the background, which has no caller whose timeout would end it
MAX_ABANDONED = 1  # flights that one request sees abandoned before it goes on its own
# Reasons of a fetch that waiting for somebody else's response may spare.
_SHAREABLE = frozenset({"uri-miss", "vary-miss", "miss", "stale"})


class Exchange:
    """One hop of one call, from the request to the response that is handed to the caller."""

    def __init__(
        self,
        request: ClientRequest,
        handler: ClientHandlerType,
        call: Call,
        backend: CacheBackend,
        runtime: Runtime,
        key: str = "",
        partition: str = "",
        key_arguments: dict[str, Any] | None = None,
        url: str = "",
    ) -> None:
        self.request = request
        self.handler = handler
        self.backend = backend
        self.runtime = runtime
        self.call = call
        self.message = Request(request.method, url or str(request.url), request.headers)
        self.rules = backend.rules_for(
            request.url,
            expire_after=call.expire_after,
            refresh=call.refresh,
            only_if_cached=call.only_if_cached,
            stale_if_error=call.stale_if_error,
        )
        if key and "create_cache_actions" in backend.overridden:
            wishes: dict[str, Any] = {"expire_after": call.expire_after, "refresh": call.refresh}
            resolved = backend.create_cache_actions(key, request.url, **wishes, **(key_arguments or {})).rules
            self.rules = replace(self.rules, lifetime_s=resolved.lifetime_s, refresh=resolved.refresh)
        self.shelf = Shelf(self.message, backend, runtime, self.rules, key, partition, key_arguments or {})
        self.shelf.early_read, call.early_read = call.early_read, None
        self.watch: DecodingWatch | None = None
        self.in_background = False

    # ---- the three roads

    async def run(self) -> ClientResponse:
        """Answer from the store where that is allowed, else from the origin."""
        stored = await self.shelf.find() if self.shelf.key else None
        if self.shelf.stand_in is not None:
            stand_in: ClientResponse = self.shelf.stand_in
            return stand_in
        decision = policy.on_request(
            self.message, stored, self.rules, now=time.time(), candidates=self.shelf.candidates
        )
        match decision:
            case GatewayTimeout():
                self.backend.stats.misses += 1
                return gateway_timeout(decision, self.request, now=time.time())
            case Bypass():
                return await self.forward(decision.reason)
            case Fetch() | Validate():
                return await self._through_flight(decision)
            case _:
                return self._reuse(decision)

    async def forward(self, reason: str) -> ClientResponse:
        """Let the origin answer, store nothing, and forget what the request may have changed."""
        self.backend.stats.bypassed += 1
        response = await self.handler(self.request)
        describe_miss(response, f"aiohttp-cache-di; fwd={reason}")
        if self.backend.cache_control and isinstance(response, ClientResponse):
            await self._forget_changed(response)
        return response

    async def _forget_changed(self, response: ClientResponse) -> None:
        try:
            urls = policy.invalidated_urls(self.message, response.status, response.headers)
            if urls:
                await self.shelf.invalidate(urls)
        except Exception:
            logger.exception("What a request has changed could not be told from its response")
        except BaseException:
            response.close()  # nobody else knows of it
            raise

    # ---- one request to the origin per key

    async def _through_flight(self, plan: Fetch | Validate) -> ClientResponse:
        flights, key = self.runtime.flights, self.shelf.key
        if not self._may_share(plan):
            return await self._fetch(plan, flights.start(key, joinable=False))
        loop = asyncio.get_running_loop()
        until = loop.time() + self.backend.coalesce_timeout_s
        abandoned = 0
        task = asyncio.current_task()
        while (flight := flights.current(key)) is not None:
            outcome = "parallel" if flight.leader is task else await flight.join(max(0.0, until - loop.time()))
            if outcome == "abandoned" and abandoned < MAX_ABANDONED:
                abandoned += 1
                continue
            shared = self._sharable(outcome) if isinstance(outcome, StoredResponse) else None
            if shared is None:
                fetch = self._fetch(plan, flights.start(key, joinable=False))
                first: Reuse | ClientResponse = await unless_landed(flight, self._sharable, fetch)
                if not isinstance(first, Reuse):
                    return first
                self.call.failures -= 1  # it has only been overtaken
                self.backend.stats.misses += 1  # and has asked the origin
                return self._answer(first, cache_status=forwarded(plan.reason, detail="overtaken"))
            return self._collapsed(shared, plan)
        flight = flights.start(key, joinable=True)
        flight.leader = task
        try:
            answer = await self._wait_for_lease(flight, until, plan)
        except BaseException:
            self.shelf.settle(flight, "abandoned")
            raise
        if answer is not None:
            return answer
        flight.asked_at = loop.time()
        return await self._fetch(plan, flight)

    def _may_share(self, plan: Fetch | Validate) -> bool:
        return (
            self.backend.coalesce
            and not self.call.failures
            and plan.reason in _SHAREABLE
            and not (isinstance(plan, Fetch) and not plan.store)
            and hdrs.RANGE not in self.message.headers
            and not self.runtime.flights.is_pass(self.shelf.key, now=time.monotonic())
        )

    def _sharable(self, entry: StoredResponse) -> Reuse | None:
        """How somebody else's response answers this request, if it does."""
        if entry.partition != self.shelf.partition:  # a subclass's keys may leave credentials out
            return None
        if policy.select_variant(self.message, entry) != entry.key:
            return None
        decision = policy.on_request(self.message, entry, self.rules, now=time.time())
        return decision if isinstance(decision, Reuse) and not decision.stale else None

    def _collapsed(self, decision: Reuse, plan: Fetch | Validate) -> CachedResponse:
        self.backend.stats.coalesced += 1
        return self._answer(decision, cache_status=forwarded(plan.reason, collapsed=True))

    async def _wait_for_lease(self, flight: Flight, until: float, plan: Fetch | Validate) -> CachedResponse | None:
        """Become the one process that fetches, or find what another one has fetched meanwhile."""
        found: Reuse | None = await self.shelf.lease(until, self._sharable)
        if found is None:
            return None
        self.shelf.settle(flight, found.stored)
        return self._collapsed(found, plan)

    # ---- the origin

    async def _fetch(self, plan: Fetch | Validate, flight: Flight) -> ClientResponse:
        try:
            refuse_when_closed(self.request.session)
            return await self._ask(plan, flight)
        except BaseException as error:
            self.call.failures += 1
            self.shelf.settle(flight, "abandoned" if self._concerns_one_caller(error) else "parallel")
            raise

    def _concerns_one_caller(self, error: BaseException) -> bool:
        """Whether *error* says little of another's request: its caller's time was over, or its connection was old."""
        if isinstance(error, asyncio.CancelledError | TimeoutError):
            return True
        return is_disconnection(error) and (self.watch is None or not self.watch.is_first)

    async def _ask(self, plan: Fetch | Validate, flight: Flight) -> ClientResponse:
        requested_at = time.time()
        self.watch = watch_decoding(self.request) if self.call.decoded else None
        try:
            response = await (self._validate(plan) if isinstance(plan, Validate) else self.handler(self.request))
        except (ClientError, OSError, asyncio.CancelledError) as error:
            if not self.call.failures and will_retry(self.request, error, self.watch):
                raise  # the origin is not known to be out of reach yet
            stale = self._stand_in(plan, error)
            if stale is None:
                raise
            self.shelf.settle(flight, "parallel")
            return stale
        if not isinstance(response, ClientResponse):  # a stand-in of somebody's test, of which nothing is known
            self.shelf.settle(flight, "parallel")
            return response
        try:
            return await self._use(response, plan, flight, requested_at)
        except BaseException:
            response.close()  # nobody else knows of it
            raise

    async def _use(
        self, response: ClientResponse, plan: Fetch | Validate, flight: Flight, requested_at: float
    ) -> ClientResponse:
        """Do with the origin's response as the policy decides."""
        head = Response(response.status, response.headers, requested_at, time.time())
        decision = self._decide(head, plan, self.shelf.candidates)
        if isinstance(decision, Load):
            decision = await self._load_and_decide(head, plan)
        match decision:
            case None:
                self.shelf.settle(flight, "parallel")
                describe_miss(response, "aiohttp-cache-di; fwd=bypass; detail=error")
                return response
            case Store():
                self._store(response, head, decision, flight)
                if self.shelf.is_asking_user:  # who commonly answers at once
                    await asyncio.sleep(0)
                if is_redirect(response.status) and hdrs.LOCATION in response.headers:
                    await wait_for_end(response)  # aiohttp is about to leave it unread
                return response
            case Freshen():
                response.release()
                self.backend.stats.revalidated += 1
                answer = self._answer(decision.answer, cache_status=decision.cache_status)
                self._keep_freshened(answer, head, decision, flight)
                hand_on_cookies(answer, response)  # they are for this caller
                return answer
            case ServeStale():
                response.release()
                self._count_stale()
                self.shelf.settle(flight, "parallel")
                return self._answer(decision.answer, cache_status=decision.cache_status)
            case Refetch():
                response.release()
                return await self._ask(Fetch(decision.reason), flight)
            case Pass():
                return await self._pass(response, head, decision, flight)
            case _:
                assert_never(decision)

    async def _validate(self, plan: Validate) -> ClientResponse:
        """Send the request, with the conditions of *plan* in place of the caller's."""
        own = self.request.headers
        conditional = CIMultiDict(own)
        conditional.update(plan.headers)
        self.request.headers = conditional
        try:
            return await self.handler(self.request)
        finally:
            self.request.headers = own

    def _decide(
        self, head: Response, plan: Fetch | Validate, candidates: Sequence[StoredResponse | VariantRef]
    ) -> ResponseDecision | None:
        """What to do with the response; None where it cannot be understood, which is no reason not to hand it on."""
        try:
            return policy.on_response(self.message, head, plan, self.rules, now=head.received_at, candidates=candidates)
        except Exception:
            logger.exception("A response could not be decided upon, and is not stored")
            return None

    async def _load_and_decide(
        self, head: Response, plan: Fetch | Validate
    ) -> Store | Freshen | Pass | Refetch | ServeStale | None:
        """As `_decide`, with the variants at hand that the policy asks for."""
        candidates: list[StoredResponse | VariantRef] = list(self.shelf.candidates)
        while isinstance(decision := self._decide(head, plan, candidates), Load):
            wanted = decision.key
            candidates = [candidate for candidate in candidates if candidate.key != wanted]
            try:
                entry = await self.shelf.read(wanted)
            except Exception:
                logger.exception("A stored variant could not be read")
                return None
            if entry is not None:
                candidates.append(entry)
        return decision

    def _store(self, response: ClientResponse, head: Response, decision: Store, flight: Flight) -> None:
        self.backend.stats.misses += 1
        self._update_get(head, flight)
        self.shelf.store_when_whole(response, head, decision, flight, self.watch, self.call)
        self.shelf.note_hop(self.call)

    async def _pass(self, response: ClientResponse, head: Response, decision: Pass, flight: Flight) -> ClientResponse:
        self.backend.stats.misses += 1
        self._update_get(head, flight)
        if decision.forget:
            await self.shelf.forget()
        self.shelf.settle(flight, "parallel", passes=response.status < 500)
        describe_miss(response, decision.cache_status)
        return response

    def _keep_freshened(self, answer: CachedResponse, head: Response, decision: Freshen, flight: Flight) -> None:
        """Write what a 304 has confirmed; what it no longer lets keep is written too, so that it is not used again."""
        report = Report(answer, decision.cache_status, received_at=head.received_at)
        if not flight.store_allowed:
            report.not_stored("invalidated")
            self.shelf.settle(flight, "parallel")
        elif decision.stored.store_until > head.received_at:
            self.shelf.settle(flight, self.shelf.place_and_tell(decision.stored, report))
        else:
            self.shelf.settle(flight, self.shelf.place(decision.stored))

    def _update_get(self, head: Response, flight: Flight) -> None:
        """Let the response to HEAD tell of the stored response to GET (RFC 9111 §4.3.5)."""
        if self.shelf.head_of is not None and flight.store_allowed:
            updated = policy.on_head_response(self.message, head, self.shelf.head_of, self.rules, now=head.received_at)
            if updated is not None:
                self.shelf.place(updated)

    # ---- answers

    def _reuse(self, decision: Reuse) -> CachedResponse:
        stats = self.backend.stats
        stats.hits += 1
        if decision.stale:
            stats.stale += 1
        if decision.revalidate:
            self._revalidate_later(decision.stored)
        return self._answer(decision)

    def _answer(self, decision: Reuse, *, cache_status: str = "") -> CachedResponse:
        self.shelf.note_hop(self.call)
        return answer_from(decision, self.request, standard=self.backend.cache_control, cache_status=cache_status)

    def _stand_in(self, plan: Fetch | Validate, error: BaseException) -> CachedResponse | None:
        """A stale response in place of *error*, if one may be used."""
        timeout = isinstance(error, TimeoutError)
        if isinstance(error, asyncio.CancelledError):
            if not timer_fired(self.request):  # somebody else's cancellation
                return None
            timeout = True
        stale = policy.on_failure(plan, self.rules, self.message, now=time.time(), timeout=timeout)
        if stale is None:
            return None
        if isinstance(error, asyncio.CancelledError) and (task := asyncio.current_task()) is not None:
            task.uncancel()
        self._count_stale()
        return self._answer(stale.answer, cache_status=stale.cache_status)

    def _count_stale(self) -> None:
        if self.in_background:  # where it answers no one
            return
        self.backend.stats.hits += 1
        self.backend.stats.stale += 1

    # ---- validation in the background (RFC 5861 §3)

    def _revalidate_later(self, stored: StoredResponse) -> None:
        self.runtime.spawn(self._revalidate(stored), owner=self.request.session, name=stored.key)

    async def _revalidate(self, stored: StoredResponse) -> None:
        self.in_background = True
        own = self.request.headers
        plain = CIMultiDict(
            (name, value) for name, value in own.items() if name.lower() not in policy.PRIVATE_TO_CALLER
        )
        self.request.headers = plain
        self.message = self.shelf.message = Request(self.message.method, self.message.url, plain)
        plan = policy.background_plan(self.message, stored, self.rules, now=time.time())
        flight = self.runtime.flights.start(self.shelf.key, joinable=False)
        response: ClientResponse | None = None
        try:
            async with asyncio.timeout(BACKGROUND_LIMIT_S):
                response = await self._fetch(plan, flight)
                await response.read()
        except (ClientError, OSError) as error:
            logger.info("A validation in the background failed: %s", type(error).__name__)
        finally:
            if response is not None:
                response.release()
