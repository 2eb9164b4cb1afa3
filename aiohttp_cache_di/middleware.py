"""`CacheMiddleware`: the aiohttp client middleware that hands each request to the engine.

It runs once per redirect hop, as the innermost middleware, so that it sees the request as it is sent. Redirects,
cookies, traces, ``raise_for_status`` and timeouts are left to aiohttp.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from functools import partial
from time import perf_counter
from typing import Any, Final
from weakref import ref

from aiohttp import ClientHandlerType, ClientRequest, ClientResponse
from msgspec.structs import replace

from aiohttp_cache_di import keys
from aiohttp_cache_di._aiohttp import Needs, can, decodes, middlewares_of
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.backends.wrap.guarding.guard import FAILED
from aiohttp_cache_di.engine.answering.answers import plain_answer
from aiohttp_cache_di.engine.answering.describe import describe_miss
from aiohttp_cache_di.engine.bases.trials import NotStored
from aiohttp_cache_di.engine.calls.call import CURRENT_CALL, DISABLED, Call, EarlyRead, end_call, is_disabled
from aiohttp_cache_di.engine.exchange import Exchange
from aiohttp_cache_di.engine.fairness import is_turn_over
from aiohttp_cache_di.engine.hop import Hop
from aiohttp_cache_di.engine.lookup import Lookup
from aiohttp_cache_di.engine.notes import note_question_failure
from aiohttp_cache_di.engine.questions.digest import digest_user
from aiohttp_cache_di.engine.questions.question import NOWHERE, Place, Questions
from aiohttp_cache_di.engine.questions.wire import key_arguments, passes_by, request_body
from aiohttp_cache_di.engine.runtime import Runtime
from aiohttp_cache_di.engine.taps import TAPS, tapped
from aiohttp_cache_di.engine.watching import tell_of
from aiohttp_cache_di.policy import PLAIN_HIT, Question, decide, vary_digest
from aiohttp_cache_di.policy.rules.book import NO_WISHES
from aiohttp_cache_di.response import CachedResponse
from aiohttp_cache_di.rfc9111.cache_status import forwarded

__all__ = ["CacheMiddleware"]

_CAN_CACHE: Final = can(Needs.HITS)


class CacheMiddleware:
    """Caches the responses of the session that it is installed in.

    ``ClientSession(middlewares=(CacheMiddleware(backend),))`` caches as a `CachedSession` does. Put it last, so that it
    is the innermost middleware.
    """

    def __init__(self, backend: CacheBackend | None = None) -> None:
        """Make a middleware; one may serve several sessions.

        Args:
            backend: stores responses and has the rules for them; None for a new `CacheBackend`, in memory. The
                middleware does not close it.

        Raises:
            TypeError: *backend* is not a `CacheBackend`.
        """
        if not isinstance(backend, CacheBackend | None):
            from aiohttp_cache_di.backends.agreement import no_backend

            raise TypeError(f"CacheMiddleware takes a CacheBackend, {no_backend(backend)}")
        self.backend: CacheBackend = backend if backend is not None else CacheBackend()
        self.questions: Questions = Questions(self.backend)
        self._runtime: Runtime | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} on {self.backend!r}>"

    def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> Awaitable[ClientResponse]:
        """Answer *request* from the cache, or by *handler*."""
        if not issubclass(type(request), ClientRequest):  # a test double, about which nothing is known
            return handler(request)
        call = _call_of(request)
        if self.backend.stats.watch.is_on:
            return self._watched(request, handler, call)
        return self._answer(request, handler, call)

    async def _watched(self, request: ClientRequest, handler: ClientHandlerType, call: Call) -> ClientResponse:
        """Answer *request*, and report it to the observers of the cache."""
        tell = partial(tell_of, call, request, self.backend, perf_counter())
        try:
            response = await self._answer(request, handler, call)
        except NotStored:
            raise
        except BaseException as error:
            if not call.comes_again:  # else how it is answered then is what is reported
                tell(error=error)
            raise
        tell(response)
        return response

    async def _answer(self, request: ClientRequest, handler: ClientHandlerType, call: Call) -> ClientResponse:
        """Answer *request*, a hop of *call*."""
        backend, session = self.backend, request.session
        decoded = None
        if _CAN_CACHE and not (DISABLED.get() and is_disabled(session)) and not passes_by(request, backend):
            decoded = decodes(handler, call.decoded, session)
        if decoded is None:
            return await self._pass_by(request, handler, call)
        call.decoded = decoded
        runtime = self._runtime
        if runtime is None or not runtime.is_current():
            self._runtime = runtime = Runtime.of(backend)
        url, revision = str(request.url), backend.revision
        is_plain = decoded and call.digest_user is None and call.wishes is NO_WISHES
        is_plain = is_plain and (runtime.changing is None or not runtime.changes(session))
        question = self.questions.of_plain(request, url) if is_plain else None
        response: ClientResponse | None = None
        if question is not None:
            response = self._at_once(request, question, call, runtime)
        if response is None:
            response = await self._exchange(request, handler, url, call, runtime, question)
        call.count(runtime.counts)
        if isinstance(response, CachedResponse):
            if question is not None and backend.revision == revision:
                self.questions.remember(question, url)
            if is_turn_over(runtime.counts, backend.stats.watch):
                await asyncio.sleep(0)
        return response

    def _at_once(
        self, request: ClientRequest, question: Question, call: Call, runtime: Runtime
    ) -> CachedResponse | None:
        """The plain hit, if the entry at hand is one: what an `Exchange` would give, without waiting for anything."""
        backend, key = self.backend, question.key
        entry = runtime.peek(key) if call.early_read is None else None
        if entry is None:
            return None
        if not backend.write_behind and runtime.pending(key) is not None:
            return None
        if entry.status != 200 and (keys.is_sealed(entry) or key in call.keys):
            return None
        now = time.time()
        try:
            if entry.vary_fields:
                digest = vary_digest(entry.vary_fields, request.headers, backend.digest_key)
                question = replace(question, vary_digest=digest)
            if decide(question, entry, now) is not PLAIN_HIT:
                return None
            answer = plain_answer(entry, request, now=now, standard=backend.cache_control)
        except Exception:  # the exchange finds the entry too, fails in the same way, and discards it
            return None
        call.keys.append(key)
        call.key, call.result = key, "hit"
        return answer

    async def _exchange(
        self,
        request: ClientRequest,
        handler: ClientHandlerType,
        url: str,
        call: Call,
        runtime: Runtime,
        known: Question | None,
    ) -> ClientResponse:
        """Answer a request for which there is no immediate hit: look it up in the store, ask the origin if needed.

        Args:
            known: the question of the request, if its key depends on nothing but the URL.
        """
        backend = self.backend
        if backend.is_secret_due:
            runtime.spawn(backend.check_secret(), owner=backend, name="secret")
        is_allowed = request.method in backend.allowed_methods or backend.may_allow(request.method)
        place: Place | None
        if known is not None and is_allowed and not backend.is_secret_open:
            place, arguments = Place(known.key), {"headers": request.headers}
        else:
            known = None
            place, arguments = await self._place_of(request, url, call, runtime, is_allowed=is_allowed)
        try:
            question = self.questions.full(request, call.wishes, arguments, url=url, place=place, known=known)
        except Exception as error:  # raised by a user's create_cache_actions; the caller's request must not fail for it
            question = self.questions.full(request, call.wishes, arguments, url=url, place=None)
            note_question_failure(error)
        call.key, lookup = question.key, Lookup(question, backend, runtime, arguments)
        exchange = Exchange(Hop(request, _to_origin(handler, call), call, lookup), self.questions)
        if not backend.stats.watch.is_on:
            backend.stats.watch.refresh()
        token = None if CURRENT_CALL.get() is call else CURRENT_CALL.set(call)  # only CacheMixin has set one
        try:
            return await exchange.run()
        finally:
            if token is not None:
                end_call(token)

    async def _place_of(
        self, request: ClientRequest, url: str, call: Call, runtime: Runtime, *, is_allowed: bool
    ) -> tuple[Place | None, dict[str, Any]]:
        """The place of the response to *request*, and its `key_arguments`; the place is None if it is not known.

        Args:
            is_allowed: whether the response may be stored at all; otherwise its place is `NOWHERE`.
        """
        backend, place = self.backend, NOWHERE
        arguments: dict[str, Any] = {"headers": request.headers}
        body = await request_body(request) if is_allowed else b""
        is_known = body is not None and not runtime.changes(request.session)
        fails = backend.is_secret_open and not await backend.learn_secret()
        try:
            arguments = key_arguments(request, body or b"", call, backend)
            if is_known and is_allowed:
                place = self.questions.place_of(request, arguments, url)
        except Exception as error:  # raised by a user's function; the caller's request must not fail for it
            is_known = False
            note_question_failure(error)
        if fails:  # a request waits for one deadline of the store at most
            call.early_read = EarlyRead(place.key, FAILED)
        return place if is_known else None, arguments

    async def _pass_by(self, request: ClientRequest, handler: ClientHandlerType, call: Call) -> ClientResponse:
        """Let the origin answer; the cache neither reads nor stores anything."""
        if call.is_trial:
            raise NotStored
        response = await _to_origin(handler, call)(request)
        call.result = "bypass"
        call.count(self.backend.stats.counts.here())
        describe_miss(response, forwarded("bypass"))
        return response

    async def close(self) -> None:
        """Cancel the backend's background tasks in the running event loop, and wait until they have ended."""
        await Runtime.of(self.backend).cancel(self.backend)


def _call_of(request: ClientRequest) -> Call:
    """The call that *request* is a hop of; in a session without `CacheMixin`, each hop is a call of its own."""
    call, session = CURRENT_CALL.get(), request.session
    if call is None or call.session() is not session:
        return Call(ref(session), digest_user=digest_user(middlewares_of(session)))
    call.is_reached = True
    call.key, call.result, call.comes_again = "", None, False
    if call.trial is not None:
        call.trial.see(request)
    return call


def _to_origin(handler: ClientHandlerType, call: Call) -> ClientHandlerType:
    """What sends a request to the origin: *handler*, unless base classes of the session or tests come between."""
    if call.through is not None:
        handler = call.through
    return tapped(handler) if TAPS else handler
