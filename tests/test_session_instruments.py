"""Wrappers of ``_request`` that only pass requests on are not called for hits, nor are bases of a traced session."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import (
    ClientError,
    ClientRequest,
    ClientResponse,
    ClientSession,
    FormData,
    ServerDisconnectedError,
    TraceConfig,
)

from aiohttp_cache_di import CachedSession, CacheMixin
from aiohttp_cache_di.engine.bases.overrides import hands_on
from tests.origin import CLOSE, Origin, Received, answer

Request = Callable[..., Awaitable[ClientResponse]]


def numbered(request: Received) -> bytes:
    """Answer with the number of the request."""
    return answer(str(request.number))


class Limit:
    """Counts requests, with decorators in all common forms."""

    def __init__(self) -> None:
        self.spent = 0
        self.statuses: list[int] = []
        self._limit = asyncio.Semaphore(1)

    async def __aenter__(self) -> None:
        await self._limit.acquire()
        self.spent += 1

    async def __aexit__(self, *error: object) -> None:
        self._limit.release()

    def plain(self, request: Request) -> Request:
        async def limited(*args: Any, **kwargs: Any) -> ClientResponse:
            async with self:
                return await request(*args, **kwargs)

        return limited

    def method(self, request: Request) -> Request:
        async def limited(session: ClientSession, *args: Any, **kwargs: Any) -> ClientResponse:
            async with self:
                response = await request(session, *args, **kwargs)
                self.statuses.append(response.status)
                return response

        return limited

    def named(self, request: Request) -> Request:
        async def limited(session: ClientSession, method: str, str_or_url: Any, **kwargs: Any) -> ClientResponse:
            async with self:
                return await request(session, method, str_or_url, **kwargs)

        return limited

    def timing(self, request: Request) -> Request:
        async def limited(session: ClientSession, method: str, str_or_url: Any, **kwargs: Any) -> ClientResponse:
            kwargs.setdefault("timeout", None)
            async with self:
                return await request(session, method, str_or_url, **kwargs)

        return limited

    def twice(self, request: Request) -> Request:
        async def outer(*args: Any, **kwargs: Any) -> ClientResponse:
            return await inner(*args, **kwargs)

        inner = self.plain(request)
        return outer


KINDS = ["plain", "method", "named", "timing", "twice"]
ARGUMENTS: dict[str, dict[str, Any]] = {
    "none": {},
    "all": {"params": {"a": "b"}, "headers": {"X-A": "b", "Authorization": "Bearer a"}, "cookies": {"a": "b"}},
    "body": {"json": {"a": ["b"]}},
    "lifetime": {"expire_after": 30},
}


class Base:
    """A base of the user's, which an instrumentation package has changed."""

    async def _request(self, *args: Any, **kwargs: Any) -> Any:
        return await super()._request(*args, **kwargs)  # type: ignore[misc]  # pyright: ignore  # of the next base


@pytest.mark.parametrize("options", ARGUMENTS.values(), ids=ARGUMENTS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", ["aiohttp", "base"])
@pytest.mark.parametrize("cache_control", [False, True])
async def test_a_hit_does_not_spend_the_limit_of_what_was_put_around_a_method(
    where: str, kind: str, options: dict[str, Any], cache_control: bool, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit, url = Limit(), origin.on("/", numbered)
    limited = {
        "aiohttp": lambda: monkeypatch.setattr(ClientSession, "_request", getattr(limit, kind)(ClientSession._request)),
        "base": lambda: monkeypatch.setattr(Base, "_request", getattr(limit, kind)(Base._request)),
    }

    class OnBase(CacheMixin, Base, ClientSession):
        pass

    limited[where]()
    async with OnBase(cache_control=cache_control) as session:
        for hit in (False, True, True):
            async with session.get(url, **options) as response:
                assert (await response.text(), response.from_cache) == ("1", hit)
        assert (limit.spent, session.cache.stats.hits, session.cache.stats.misses) == (1, 2, 1)
        assert await session.has_url(url, **options)
        async with session.get(url, refresh=True) as response:
            await response.read()
        assert limit.spent == origin.hits == 2


async def test_a_patch_that_comes_and_goes_is_seen_through_at_each_request(
    origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit, url = Limit(), origin.on("/", numbered)
    async with CachedSession() as session:
        for patched in (False, True, False, True):
            with monkeypatch.context() as patch:
                if patched:
                    patch.setattr(ClientSession, "_request", limit.plain(ClientSession._request))
                for _ in range(2):
                    async with session.get(url, params={"patched": str(patched)}) as response:
                        await response.read()
        assert (limit.spent, origin.hits) == (1, 2)


async def test_a_patch_that_adds_to_requests_is_asked_each_time(
    origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    users, asked = iter("aabb"), 0
    request = ClientSession._request

    async def signing(*args: Any, **kwargs: Any) -> ClientResponse:
        nonlocal asked
        asked += 1
        return await request(*args, **{**kwargs, "headers": {"Authorization": next(users)}})

    monkeypatch.setattr(ClientSession, "_request", signing)
    url = origin.on("/", lambda request: answer(request.headers["Authorization"]))
    async with CachedSession() as session:
        assert [await (await session.get(url)).text() for _ in range(4)] == ["a", "a", "b", "b"]
    assert (asked, origin.hits) == (4, 2)


def test_a_patch_from_before_the_import_is_not_asked_for_hits_either() -> None:
    code = """
import asyncio, aiohttp
from aiohttp import web
spent, request = [], aiohttp.ClientSession._request
async def limited(*args, **kwargs):
    spent.append(1)
    return await request(*args, **kwargs)
aiohttp.ClientSession._request = limited
from aiohttp_cache_di import CachedSession
async def answer(request): return web.Response(text="a")
async def main():
    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/"
    async with CachedSession() as session:
        found = []
        for options in ({}, {}, {"headers": {"A": "b"}}, {"allow_redirects": False}):
            async with session.get(url, **options) as response:
                found.append((await response.text(), response.from_cache))
    await runner.cleanup()
    print(len(spent), *found)
asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False, timeout=60
    )

    assert (done.stdout, done.stderr) == ("1 ('a', False) ('a', True) ('a', True) ('a', True)\n", "")


def test_what_is_put_around_a_method_is_seen_through_if_it_hands_on_as_it_is() -> None:
    async def other(*args: Any, **kwargs: Any) -> Any:
        """A ``_request`` that does nothing."""

    def around(request: Any) -> dict[str, Any]:
        async def changing(session: Any, method: str, url: Any, **kwargs: Any) -> Any:
            return await request(session, method, f"{url}?key", **kwargs)

        async def turning(session: Any, method: str, url: Any, **kwargs: Any) -> Any:
            return await request(session, url, method, **kwargs)

        async def more(*args: Any, **kwargs: Any) -> Any:
            return await request(*args, "more", **kwargs)

        async def calling(session: Any, method: str, url: Any, **kwargs: Any) -> Any:
            return await request(session, method.upper(), url, **kwargs)

        async def elsewhere(*args: Any, **kwargs: Any) -> Any:
            return await other(*args, **kwargs)

        async def looking(*args: Any, **kwargs: Any) -> Any:
            print(kwargs)
            return await request(*args, **kwargs)

        async def giving(*args: Any, **kwargs: Any) -> Any:
            kwargs["headers"] = {}
            return await request(*args, **kwargs)

        return {
            function.__name__: function for function in (changing, turning, more, calling, elsewhere, looking, giving)
        }

    class Url:
        async def _request(self, method: str, url: Any, **kwargs: Any) -> Any:
            return await super()._request(method, url.lower(), **kwargs)  # type: ignore[misc]  # pyright: ignore

    limit = Limit()
    for kind in KINDS:
        assert hands_on(getattr(limit, kind)(ClientSession._request)), kind
        assert hands_on(getattr(limit, kind)(Base._request)), kind
        assert not hands_on(getattr(limit, kind)(other)), kind
        assert not hands_on(getattr(limit, kind)(Url._request)), kind
        for name, changing in around(ClientSession._request).items():
            assert not hands_on(getattr(limit, kind)(changing)), (kind, name)
    for name, changing in around(ClientSession._request).items():
        assert not hands_on(changing), name


# ---- traced sessions


class Limiter:
    """Counts the requests that it passes on, as a rate limiter would."""

    spent = 0
    tries = 1

    async def _request(self, *args: Any, **kwargs: Any) -> Any:
        base: Any = super()
        for left in reversed(range(self.tries)):
            self.spent += 1
            response = await base._request(*args, **kwargs)
            if response.status != 503 or not left:
                return response
            response.release()
        return None


class Limited(CacheMixin, Limiter, ClientSession):
    """A session in which the cache comes before the limiter."""


class Watcher:
    """Records all signals of a trace, and asserts that each has the context of its ``request_start``."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.config = TraceConfig()
        for name in dir(self.config):
            if name.startswith(("on_request_", "on_response_", "on_connection_")):
                getattr(self.config, name).append(self._noting(name.removeprefix("on_")))

    def _noting(self, name: str) -> Callable[..., Awaitable[None]]:
        async def note(session: ClientSession, context: SimpleNamespace, params: object) -> None:
            if name == "request_start":
                context.begun = True
            assert context.begun
            self.seen.append(name)

        return note

    def told(self) -> list[str]:
        """The signals since the last call."""
        seen, self.seen = self.seen, []
        return seen


async def told_by(made: type[ClientSession], url: str, method: str, **options: Any) -> list[list[str]]:
    watcher, told = Watcher(), list[list[str]]()
    async with made(trace_configs=[watcher.config]) as session:
        for _ in range(2):
            try:
                async with session.request(method, url, **options) as response:
                    await response.read()
            except ClientError:
                pass
            told.append(watcher.told())
        assert len(session.trace_configs) == 1
    return told


@pytest.mark.parametrize("path", ["/", "/redirect", "/cut", "/error"])
async def test_a_trace_sees_of_a_session_with_a_limiting_base_what_it_sees_of_another(
    path: str, origin: Origin
) -> None:
    origin.on("/", answer("a", headers={"Cache-Control": "no-store"}))
    origin.on("/redirect", answer(status=302, reason="Found", headers={"Location": "/", "Cache-Control": "no-store"}))
    origin.on("/cut", CLOSE)
    origin.on("/error", answer(status=500, headers={"Cache-Control": "no-store"}))

    expected = await told_by(ClientSession, origin.url + path, "PUT", data=b"x")
    assert await told_by(Limited, origin.url + path, "PUT", data=b"x") == expected
    assert "request_start" in expected[0]
    assert "connection_create_start" in expected[0]


@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
@pytest.mark.parametrize("traced", [False, True])
async def test_a_lost_connection_is_tried_again_as_often_as_without_a_base(
    method: str, traced: bool, origin: Origin
) -> None:
    options: dict[str, Any] = {"trace_configs": [TraceConfig()]} if traced else {"middlewares": (passing,)}
    url, sent = origin.on("/cut", CLOSE), list[int]()
    for made in (ClientSession, Limited):
        before = origin.hits
        async with made(**options) as session:
            with pytest.raises(ServerDisconnectedError):
                await session.request(method, url, data=b"x" if method != "GET" else None)
            if isinstance(session, Limited):
                assert session.spent == 1
        sent.append(origin.hits - before)
    assert sent[0] == sent[1]


async def test_a_middleware_may_try_again_through_a_base(origin: Origin) -> None:
    async def persistent(request: ClientRequest, handler: Callable[[Any], Awaitable[ClientResponse]]) -> ClientResponse:
        try:
            return await handler(request)
        except ServerDisconnectedError:
            return await handler(request)

    url = origin.on("/", lambda request: CLOSE if request.number == 1 else answer(request.body))
    async with Limited(cache_control=True, middlewares=(persistent,)) as session:
        async with session.post(url, data=b"x") as response:
            assert await response.text() == "x"
        assert session.spent == origin.hits == 2


async def test_a_hit_of_a_traced_session_is_traced_and_spends_nothing(origin: Origin) -> None:
    watcher, url = Watcher(), origin.on("/", numbered)
    async with Limited(trace_configs=[watcher.config]) as session:
        for hit in (False, True, True):
            async with session.get(url, headers={"X-A": "b"}) as response:
                assert (await response.text(), response.from_cache) == ("1", hit)
        assert session.spent == 1
    assert watcher.seen.count("request_start") == watcher.seen.count("request_end") == 3
    assert watcher.seen.count("connection_create_start") == 1


async def test_equal_requests_of_a_traced_session_wait_for_one(origin: Origin) -> None:
    watcher, url = Watcher(), origin.on("/", numbered)
    async with Limited(trace_configs=[watcher.config]) as session:
        found = await asyncio.gather(*(session.get(url) for _ in range(5)))
        assert [await response.text() for response in found] == ["1"] * 5
        assert session.spent == 1
    assert watcher.seen.count("request_start") == watcher.seen.count("request_end") == 5


async def passing(request: ClientRequest, handler: Callable[[Any], Awaitable[ClientResponse]]) -> ClientResponse:
    """A middleware that does nothing."""
    return await handler(request)


async def pieces() -> AsyncIterator[bytes]:
    """A body that can be read once."""
    yield b"a"
    yield b"b"


@pytest.mark.parametrize("middlewares", [False, True])
async def test_a_body_that_can_be_read_once_is_sent_once_through_a_limiting_base(
    middlewares: bool, origin: Origin
) -> None:
    url = origin.on("/", lambda request: answer(request.body, headers={"Cache-Control": "no-store"}))
    async with Limited(cache_control=True, middlewares=(passing,) if middlewares else ()) as session:
        async with session.put(url, data=pieces()) as response:
            assert await response.read() == b"ab"
        async with session.put(url, data=FormData({"a": "b"})) as response:
            assert await response.read() == b"a=b"
        assert session.spent == origin.hits == 2


async def test_a_form_that_is_answered_from_the_cache_spends_nothing(origin: Origin) -> None:
    url = origin.on("/", numbered)
    async with Limited(allowed_methods=("POST",)) as session:
        for hit in (False, True):
            async with session.post(url, data=FormData({"a": "b"})) as response:
                assert (await response.text(), response.from_cache) == ("1", hit)
        assert session.spent == 1


async def test_a_base_that_tries_again_sends_the_same_body(origin: Origin) -> None:
    url = origin.on("/", lambda request: answer(request.body, status=503 if request.number == 1 else 200))
    async with Limited(cache_control=True) as session:
        session.tries = 2
        async with session.put(url, data=FormData({"a": "b"})) as response:
            assert (response.status, await response.read()) == (200, b"a=b")
        assert [request.body for request in origin.received] == [b"a=b", b"a=b"]


def test_a_base_that_changes_what_comes_back_is_asked_each_time() -> None:
    class Wrapping:
        async def _request(self, *args: Any, **kwargs: Any) -> Any:
            base: Any = super()
            return [await base._request(*args, **kwargs)]

    class Rewrapping:
        async def _request(self, *args: Any, **kwargs: Any) -> Any:
            base: Any = super()
            response = await base._request(*args, **kwargs)
            return [response]

    class Faking:
        async def _request(self, *args: Any, **kwargs: Any) -> Any:
            base: Any = super()
            if kwargs.get("timeout"):
                return "fake"
            return await base._request(*args, **kwargs)

    class Marking:
        async def _request(self, *args: Any, **kwargs: Any) -> Any:
            base: Any = super()
            response = await base._request(*args, **kwargs)
            response.extra = 1
            return response

    class Early:
        async def _request(self, *args: Any, **kwargs: Any) -> Any:
            base: Any = super()
            if kwargs.get("timeout"):
                return None
            return await base._request(*args, **kwargs)

    class Reading:
        async def _request(self, *args: Any, **kwargs: Any) -> Any:
            base: Any = super()
            try:
                response = await base._request(*args, **kwargs)
                print(response.status)
                return response
            except OSError:
                raise
            finally:
                print("over")

    for changing in (Wrapping, Rewrapping, Faking, Marking, Early):
        assert not hands_on(changing._request), changing.__name__
    assert hands_on(Reading._request)
