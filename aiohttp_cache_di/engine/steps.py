"""What is done for each decision of the policy, so that it comes to a response."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from aiohttp import ClientHandlerType, ClientRequest, ClientResponse, hdrs

from aiohttp_cache_di import policy
from aiohttp_cache_di._aiohttp import hand_on_cookies
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.engine.answers import answer_from, gateway_timeout, plain_answer
from aiohttp_cache_di.engine.call import Call
from aiohttp_cache_di.engine.describe import Report, describe_miss
from aiohttp_cache_di.engine.flights import Flight, Outcome
from aiohttp_cache_di.engine.hits import count_hit, count_stale_hit
from aiohttp_cache_di.engine.origin import Reply
from aiohttp_cache_di.engine.recording import wait_for_end
from aiohttp_cache_di.engine.runtime import Runtime
from aiohttp_cache_di.engine.storing import ResponseStoring
from aiohttp_cache_di.policy import (
    Fetch,
    Freshen,
    FullQuestion,
    GatewayTimeout,
    Pass,
    Reuse,
    ServeStale,
    Store,
    Validate,
)
from aiohttp_cache_di.policy.rules import is_redirect
from aiohttp_cache_di.response import CachedResponse
from aiohttp_cache_di.rfc9111.cache_status import forwarded
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["Steps", "is_challenge"]

logger = logging.getLogger(__name__)


_CHALLENGES = frozenset({401, 407})


def is_challenge(question: FullQuestion, status: int) -> bool:
    """Whether the origin asks who it is that asks, of one who is known here by another name than by credentials.

    Such a response says nothing of what others in the partition are given, and has no place there.
    """
    return question.is_named and status in _CHALLENGES


class Steps:
    """The steps that an exchange is made of.

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
        self.storing.is_named = question.is_named

    # ---- without the origin

    def _hit(self, stored: StoredResponse, now: float) -> CachedResponse:
        count_hit(self.backend.stats)
        self._note_hop()
        return plain_answer(stored, self.request, now=now, standard=self.backend.cache_control)

    def _reuse(self, decision: Reuse) -> CachedResponse:
        if decision.stale:
            count_stale_hit(self.backend.stats)
        else:
            count_hit(self.backend.stats)
        return self._answer(decision)

    def _refuse(self, decision: GatewayTimeout) -> CachedResponse:
        self.backend.stats.misses += 1
        return gateway_timeout(decision, self.request, now=time.time())

    def _answer(self, decision: Reuse, *, cache_status: str = "") -> CachedResponse:
        self._note_hop()
        return answer_from(decision, self.request, standard=self.backend.cache_control, cache_status=cache_status)

    def _note_hop(self) -> None:
        """The call has passed here on its way."""
        self.call.keys.append(self.question.key)

    # ---- past the store

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

    # ---- with what the origin answers, this request or another

    def _collapsed(self, decision: Reuse, plan: Fetch | Validate) -> CachedResponse:
        self.backend.stats.coalesced += 1
        return self._answer(decision, cache_status=forwarded(plan.reason, collapsed=True))

    async def _store(self, reply: Reply, decision: Store, flight: Flight) -> ClientResponse:
        response, call = reply.response, self.call
        self.backend.stats.misses += 1
        self._update_get(reply, flight)
        self.storing.store_when_whole(reply, decision, flight, call.keys, call.session)
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
        try:
            stored = self.storing.redacted(decision.stored)
            if not flight.store_allowed:
                report.not_stored("invalidated")
            elif stored.store_until > reply.head.received_at:
                flight.end(self.storing.place_and_tell(stored, report))
            else:
                flight.end(self.storing.place(stored))
        except Exception:
            logger.exception("What a 304 has confirmed could not be stored")
            report.not_stored("error")
        hand_on_cookies(answer, reply.response)  # they are for this caller
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
        if is_challenge(self.question, reply.response.status):
            flight.end(Outcome.UNSHARED)  # who answers it may have what is shared
        elif reply.response.status < 500:
            self.storing.end_unshared(flight)
        describe_miss(reply.response, decision.cache_status)
        return reply.response

    def _update_get(self, reply: Reply, flight: Flight) -> None:
        """Let the response to HEAD tell of the stored response to GET (RFC 9111 §4.3.5)."""
        question, head_of = self.question, self.storing.head_of
        if head_of is not None and flight.store_allowed:
            now = reply.head.received_at
            try:
                updated = policy.on_head_response(question.request, reply.head, head_of, question.rules, now=now)
                if updated is not None:
                    self.storing.place(self.storing.redacted(updated))
            except Exception:
                logger.exception("What a response to HEAD says of a stored one could not be used")
