"""The cache of an app under test: put responses into it, and check what is stored.

The sessions of the app belong to its event loop, which may run in another thread than the test, as with Starlette's
TestClient. Everything that uses them is run there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import partial, wraps
from typing import Any, Final, Self, Unpack
from weakref import WeakKeyDictionary, WeakSet

from aiohttp import ClientHandlerType, ClientRequest, ClientResponse, ClientSession
from yarl import URL

from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.backends.loops import is_in_a_loop
from aiohttp_cache_di.engine.taps import through_tap
from aiohttp_cache_di.middleware import CacheMiddleware
from aiohttp_cache_di.session import CacheMixin
from aiohttp_cache_di.testing.app_loop import InLoop, Verdict, result_of
from aiohttp_cache_di.testing.delivery import Canned, Delivery
from aiohttp_cache_di.testing.manners import MANNERS, Manner
from aiohttp_cache_di.testing.together import Together
from aiohttp_cache_di.testing.upstream import ReplyOptions, reply

__all__ = ["CacheUnderTest", "assert_hit"]

_FRESH: Final = ("Cache-Control", "max-age=3600")


def assert_hit(response: Any) -> None:
    """Assert that *response* came from the cache.

    Args:
        response: a response of a session with a cache; or of any client, if the app has passed on Cache-Status
            (RFC 9211).
    """
    headers: Mapping[str, str] = getattr(response, "headers", None) or {}
    status: str | None = getattr(response, "cache_status", None) or headers.get("Cache-Status")
    from_cache: bool | None = getattr(response, "from_cache", None)
    if from_cache is None and status is None:
        raise TypeError(
            f"{response!r} does not tell whether a cache answered: it has neither from_cache nor a Cache-Status field; "
            "let the app pass on cache_status in Cache-Status, or use assert_cached with the URL of the upstream"
        )
    is_hit = from_cache if from_cache is not None else "; hit" in (status or "")
    if not is_hit:
        raise AssertionError(f"{getattr(response, 'url', 'the response')} is not a hit: {status or 'from_cache=False'}")


@dataclass(slots=True, eq=False)
class _Seed:
    method: str
    url: str
    canned: Canned
    options: dict[str, Any]
    planted: WeakSet[CacheBackend] = field(default_factory=WeakSet[CacheBackend])
    asked_for: WeakSet[CacheBackend] = field(default_factory=WeakSet[CacheBackend])

    def is_as_asked(self, session: ClientSession, manner: Manner) -> bool:
        """Whether this seed is for requests like *manner*, and the test does not specify their headers or user."""
        if self.method != manner.method or not self.options.keys().isdisjoint(MANNERS):
            return False
        return Manner.of_arguments(session, self.method, self.url, self.options).url == manner.url


_planting: ContextVar[_Seed | None] = ContextVar("aiohttp_cache_di_planting", default=None)


class CacheUnderTest:
    """The caches of all sessions that send requests while this context manager is active."""

    def __init__(self) -> None:
        self._seeds: list[_Seed] = []
        self._sessions: WeakKeyDictionary[ClientSession, tuple[CacheBackend, asyncio.AbstractEventLoop]]
        self._sessions = WeakKeyDictionary()
        self._locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()
        self._waiting: set[Verdict] = set()
        self._failures: list[AssertionError] = []
        self._told: dict[tuple[str, str], str] = {}
        self._manners: WeakKeyDictionary[ClientSession, dict[tuple[str, str], dict[str, Any]]] = WeakKeyDictionary()
        self._delivery = Delivery()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.callback(self._delivery.close)
        self._stack.enter_context(_UNDER_TEST.entered(self))
        return self

    def __exit__(self, exc_type: type[BaseException] | None, *exc_info: object) -> None:
        self._stack.close()
        if exc_type is not None:
            return
        if self._waiting:
            raise AssertionError("assert_cached and assert_not_cached have to be awaited in an asynchronous test")
        if self._failures:  # the app may have handled the exception itself
            raise self._failures[0]

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, exc_type: type[BaseException] | None, *exc_info: object) -> None:
        await asyncio.to_thread(self.__exit__, exc_type, *exc_info)

    # ---- for tests

    def seed(
        self,
        url: str | URL,
        *,
        method: str = "GET",
        request: Mapping[str, Any] | None = None,
        **response: Unpack[ReplyOptions],
    ) -> None:
        """Put a response into the cache of each session before its next request or the next `assert_cached`.

        It is stored as if the session had received it from the upstream: under the same key, and only if the rules
        allow it (otherwise the session's request raises AssertionError). If the app's first request for *url* has
        credentials or header fields, the response is stored for these as well.

        Args:
            url: the URL that the app requests; relative to the base URL of a session that has one.
            request: further arguments of the request (``headers``, ``params``, ``principal`` …), as the app passes
                them; with ``headers``, ``auth``, ``cookies`` or ``principal`` it is stored for these alone.
            response: see `ReplyOptions`; fresh for an hour, unless *headers* have Cache-Control or Expires.
        """
        canned = reply(**response).canned
        if {name.lower() for name, _ in canned.headers}.isdisjoint({"cache-control", "expires"}):
            canned = replace(canned, headers=(*canned.headers, _FRESH))
        self._seeds.append(_Seed(method.upper(), str(url), canned, dict(request or {})))

    def assert_cached(self, url: str | URL, *, method: str = "GET", **request: Any) -> Awaitable[None]:
        """Assert that the cache of one of the app's sessions has the response to a request, fresh or stale.

        In an asynchronous test, await it. In a synchronous one it checks at once; the app's loop runs in a thread.

        Args:
            request: further arguments of the request, as the app passes them; by default both a plain request and one
                like the app's latest request for *url* are tried.
        """
        return self._assert(True, str(url), method.upper(), request)

    def assert_not_cached(self, url: str | URL, *, method: str = "GET", **request: Any) -> Awaitable[None]:
        """Assert the opposite of `assert_cached`: no session has such a response."""
        return self._assert(False, str(url), method.upper(), request)

    # ---- inside

    def _assert(self, wanted: bool, url: str, method: str, request: dict[str, Any]) -> Awaitable[None]:
        async def check() -> None:
            self._judge(wanted, url, method, [await one for one in self._asked(url, method, request)])

        if is_in_a_loop():
            return Verdict(check, self._waiting)
        self._judge(wanted, url, method, [result_of(one) for one in self._asked(url, method, request)])
        return Verdict(None, self._waiting)

    def _asked(self, url: str, method: str, request: dict[str, Any]) -> list[InLoop]:
        return [
            InLoop(loop, partial(self._is_kept, session, backend, url, method, request))
            for session, (backend, loop) in list(self._sessions.items())
            if not session.closed
        ]

    async def _is_kept(
        self, session: ClientSession, backend: CacheBackend, url: str, method: str, request: dict[str, Any]
    ) -> bool:
        await self._prepare(session, backend)
        asked = [request]
        if request.keys().isdisjoint(MANNERS):
            manner = Manner.of_arguments(session, method, url, request)
            latest = self._manners.get(session, {}).get((method, manner.url))
            asked += [latest | request] if latest else []
        kept_by = session if isinstance(session, CacheMixin) else backend
        return any([await kept_by.has_url(url, method, **options) for options in asked])

    def _judge(self, wanted: bool, url: str, method: str, found: list[bool]) -> None:
        if not found:
            raise AssertionError(f"{method} {url}: no open session with a cache has sent a request so far")
        if any(found) is not wanted:
            told = self._told.get((method, url))
            why = f"; the latest answer was {told}" if told else ""
            raise AssertionError(f"{method} {url} is {'not ' if wanted else ''}in the cache of the app's session{why}")

    async def _prepare(self, session: ClientSession, backend: CacheBackend, manner: Manner | None = None) -> None:
        """Register *session*, and store the seeds that its cache lacks for the request it is about to send."""
        loop = asyncio.get_running_loop()
        self._sessions[session] = (backend, loop)
        if manner is not None:
            self._manners.setdefault(session, {})[manner.method, manner.url] = manner.options
        if not self._seeds:
            return
        async with self._locks.setdefault(loop, asyncio.Lock()):
            for seed in self._seeds:
                if backend not in seed.planted:
                    await self._plant(seed, session, seed.options)
                    seed.planted.add(backend)
                if manner is not None and backend not in seed.asked_for and seed.is_as_asked(session, manner):
                    seed.asked_for.add(backend)
                    if manner.options:
                        await self._plant(seed, session, manner.options | seed.options)

    def _note(self, response: ClientResponse) -> None:
        """Note the decision about *response*, for the message of an assertion."""
        if not isinstance(response, ClientResponse):  # a test double
            return
        first = response.history[0] if response.history else response
        self._told[first.method, str(first.url)] = str(getattr(response, "cache_decision", ""))

    async def _plant(self, seed: _Seed, session: ClientSession, options: dict[str, Any]) -> None:
        token = _planting.set(seed)
        try:
            kept_by = session if isinstance(session, CacheMixin) else self._sessions[session][0]
            await kept_by.delete_url(seed.url, seed.method, **options)
            with through_tap(self._answer):
                async with session.request(seed.method, seed.url, **options) as response:
                    await response.read()
            status = str(getattr(response, "cache_status", ""))
            if "; stored" not in status and "; hit" not in status:
                raise AssertionError(
                    f"{seed.method} {seed.url}: the cache's rules do not allow this response to be stored: {status}"
                )
        except AssertionError as error:
            self._failures.append(error)
            raise
        finally:
            _planting.reset(token)

    async def _answer(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        seed = _planting.get()
        if seed is None:
            return await handler(request)
        return await self._delivery.answer(request, handler, seed.canned)


async def _prepare_all(session: ClientSession, backend: CacheBackend, manner: Manner) -> None:
    for one in _UNDER_TEST.active:
        await one._prepare(session, backend, manner)


def _note_all(response: ClientResponse) -> None:
    for one in _UNDER_TEST.active:
        one._note(response)


def _install() -> Callable[[], None]:
    stack = ExitStack()
    for owner, name, before in (
        (CacheMixin, "_request", _before_request),
        (CacheMiddleware, "__call__", _before_call),
    ):
        genuine = getattr(owner, name)
        stack.callback(setattr, owner, name, genuine)
        setattr(owner, name, before(genuine))
    return stack.close


_UNDER_TEST: Final[Together[CacheUnderTest]] = Together(_install)


def _before_request(request: Any) -> Any:
    @wraps(request)
    async def prepared(self: CacheMixin, method: str, str_or_url: Any, *args: Any, **kwargs: Any) -> ClientResponse:
        if _planting.get() is None:
            await _prepare_all(self, self.cache, Manner.of_arguments(self, method, str_or_url, kwargs))
        response: ClientResponse = await request(self, method, str_or_url, *args, **kwargs)
        _note_all(response)
        return response

    return prepared


def _before_call(call: Any) -> Any:
    @wraps(call)
    async def prepared(self: CacheMiddleware, request: ClientRequest, *args: Any, **kwargs: Any) -> ClientResponse:
        if _planting.get() is None and not isinstance(request.session, CacheMixin):
            await _prepare_all(request.session, self.backend, Manner.of_request(request))
        response: ClientResponse = await call(self, request, *args, **kwargs)
        _note_all(response)
        return response

    return prepared
