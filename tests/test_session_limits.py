"""Bases beside the cache that limit rates: a hit does not spend their limit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import pytest
from aiohttp import ClientRequest, ClientResponse, ClientSession, FormData, TraceConfig

from aiohttp_cache_di import CachedSession, CacheMixin
from aiohttp_cache_di.backends import CacheBackend
from aiohttp_cache_di.engine.additions import hands_on
from tests.origin import Origin, Received, answer


def numbered(request: Received) -> bytes:
    """Answer with the number of the request."""
    return answer(str(request.number))


class Limiter:
    """Counts what it lets through, as one that limits rates would."""

    spent = 0

    def __init__(self, *args: Any, limit: int = 1, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limiter = asyncio.Semaphore(limit)

    async def _request(self, *args: Any, **kwargs: Any) -> Any:
        async with self._limiter:
            self.spent += 1
            return await super()._request(*args, **kwargs)  # type: ignore[misc]  # pyright: ignore  # of the next base


class HostLimiter:
    """Has a limit for each URL, and names its parameters."""

    spent = 0

    async def _request(self, method: str, str_or_url: Any, **kwargs: Any) -> Any:
        limit = self.limits().setdefault(f"{method} {str_or_url}", asyncio.Semaphore(2))
        async with limit:
            self.spent += 1
            return await super()._request(method, str_or_url, **kwargs)  # type: ignore[misc]  # pyright: ignore

    def limits(self) -> dict[str, asyncio.Semaphore]:
        """All that there are."""
        limits: dict[str, asyncio.Semaphore] = vars(self).setdefault("_limits", {})
        return limits


class Limited(CacheMixin, Limiter, ClientSession):
    """Asks the cache first."""

    spent: int


class LimitedByHost(CacheMixin, HostLimiter, ClientSession):
    """Asks the cache first."""

    spent: int


class Behind(Limiter, CacheMixin, ClientSession):  # pyright: ignore  # in an order of its own
    """Asks the cache last, as its order says."""


ARGUMENTS: dict[str, dict[str, Any]] = {
    "none": {},
    "params": {"params": {"a": "b"}},
    "headers": {"headers": {"X-A": "b", "Authorization": "Bearer a"}},
    "cookies": {"cookies": {"a": "b"}},
    "body": {"data": b"a"},
    "JSON": {"json": {"a": ["b"]}},
    "form": {"data": {"a": "b"}},
    "lifetime": {"expire_after": 30},
    "stale": {"stale_if_error": 30},
    "only if cached": {"only_if_cached": True},
    "timeout": {"timeout": None, "allow_redirects": False, "raise_for_status": True},
    "no middlewares": {"middlewares": ()},
}


@pytest.mark.parametrize("made", [Limited, LimitedByHost])
@pytest.mark.parametrize("options", ARGUMENTS.values(), ids=ARGUMENTS)
@pytest.mark.parametrize("cache_control", [False, True])
async def test_a_hit_does_not_spend_the_limit(
    origin: Origin, made: type[Limited | LimitedByHost], options: dict[str, Any], cache_control: bool
) -> None:
    url = origin.on("/", numbered)
    async with made(cache_control=cache_control) as session:
        first = {name: value for name, value in options.items() if name != "only_if_cached"}
        for asked in (first, options, options, options):
            async with session.get(url, **asked) as response:
                assert await response.text() == "1"
        assert (session.spent, session.cache.stats.hits, session.cache.stats.misses) == (1, 3, 1)
    assert origin.hits == 1


async def test_what_goes_to_the_origin_spends_it(origin: Origin) -> None:
    url, failing = origin.on("/", numbered), origin.on("/error", answer("no", headers={"Cache-Control": None}))
    async with Limited(cache_control=True) as session:
        asked: list[tuple[str, str, dict[str, Any]]] = [
            ("GET", url, {}),
            ("GET", url, {"refresh": True}),
            ("PUT", url, {"data": b"a"}),
            ("GET", url, {}),
            ("GET", failing, {}),
            ("GET", failing, {}),
            ("POST", url, {"data": FormData({"a": "b"})}),
            ("GET", url, {"headers": {"Cache-Control": "no-store"}}),
        ]
        for spent, (method, target, options) in enumerate(asked, 1):
            async with session.request(method, target, **options) as response:
                await response.read()
            assert (session.spent, origin.hits) == (spent, spent)


async def test_a_redirect_to_what_is_not_stored_is_sent_once(origin: Origin) -> None:
    url = origin.on("/", answer(status=301, reason="Moved", headers={"Location": "/next"}))
    target = origin.on("/next", answer("a", headers={"Cache-Control": "no-store"}))
    async with Limited(cache_control=True) as session:
        for spent in (1, 2):
            async with session.get(url) as response:
                assert (await response.text(), str(response.url), len(response.history)) == ("a", target, 1)
            assert session.spent == spent
    assert (origin.hits_of("/"), origin.hits_of("/next")) == (1, 2)


async def test_a_hit_of_a_traced_session_is_traced_once(origin: Origin) -> None:
    seen: list[str] = []

    async def note(*args: Any) -> None:
        seen.append("start")

    traced = TraceConfig()
    traced.on_request_start.append(note)
    async with Limited(trace_configs=[traced]) as session:
        for _ in range(2):
            async with session.get(origin.on("/", numbered)) as response:
                assert await response.text() == "1"
    assert seen == ["start"] * 2


async def test_middlewares_are_called_once(origin: Origin) -> None:
    seen: list[str] = []

    async def note(request: ClientRequest, handler: Callable[[Any], Awaitable[ClientResponse]]) -> ClientResponse:
        seen.append(request.method)
        return await handler(request)

    async with Limited(middlewares=(note,)) as session:
        await (await session.get(origin.on("/", numbered))).read()
    async with Limited() as session:
        await (await session.get(origin.on("/", numbered), middlewares=(note,))).read()
    assert seen == ["GET"] * 2


async def test_a_base_before_the_cache_is_asked_first(origin: Origin) -> None:
    async with Behind() as session:
        for _ in range(3):
            async with session.get(origin.on("/", numbered)) as response:
                assert await response.text() == "1"
        assert session.spent == 3


async def test_a_closed_session_says_so(origin: Origin) -> None:
    session = Limited()
    await session.close()
    with pytest.raises(RuntimeError, match="Session is closed"):
        await session.get(origin.url)
    assert session.spent == 0


USER: ContextVar[str] = ContextVar("user", default="")


class Cunning:
    """Hands on what it was given, for all that its code tells, but says who asks."""

    async def _request(self, *args: Any, **kwargs: Any) -> Any:
        self.sign()
        return await super()._request(*args, **kwargs)  # type: ignore[misc]  # pyright: ignore  # of the next base

    def sign(self) -> None:
        """Say who asks."""
        headers: Any = getattr(self, "headers")  # noqa: B009  # as code would that is not to be seen through
        del headers


class OnCunning(CacheMixin, Cunning, ClientSession):
    """Asks the cache first."""

    def sign(self) -> None:
        """Say who asks."""
        self._default_headers["Authorization"] = USER.get()


async def test_a_base_that_sends_another_request_is_asked_each_time(origin: Origin) -> None:
    url = origin.on("/", lambda request: answer(request.headers.get("Authorization", "")))
    async with OnCunning() as session:
        for user in "aabbaab":
            USER.set(user)
            async with session.get(url) as response:
                assert await response.text() == user
        assert not session._looks_first


async def nothing_known(self: Any, *args: Any, **kwargs: Any) -> Any:
    return await self.other._request(*args, **kwargs)


async def test_what_hands_on_is_told_by_its_code() -> None:
    class Bases:
        def named(self, method: str, str_or_url: Any, *, timeout: Any = None, **kwargs: Any) -> Any:
            return super()._request(method, str_or_url, timeout=timeout, **kwargs)  # type: ignore[misc]  # pyright: ignore

        def adding(self, *args: Any, **kwargs: Any) -> Any:
            return super()._request(*args, headers={"A": "b"}, **kwargs)  # type: ignore[misc]  # pyright: ignore

        def changing(self, *args: Any, **kwargs: Any) -> Any:
            kwargs.setdefault("x", {})
            return super()._request(*args, **kwargs)  # type: ignore[misc]  # pyright: ignore

        def replacing(self, *args: Any, **kwargs: Any) -> Any:
            kwargs = self.changed(kwargs)  # type: ignore[attr-defined]  # pyright: ignore
            return super()._request(*args, **kwargs)  # type: ignore[misc]  # pyright: ignore

        def merging(self, *args: Any, **kwargs: Any) -> Any:
            return super()._request(*args, **kwargs, **self.more())  # type: ignore[misc, attr-defined]  # pyright: ignore

        def capturing(self, *args: Any, **kwargs: Any) -> Any:
            return (lambda: super()._request(*args, **kwargs))()  # type: ignore[misc]  # pyright: ignore

        def setting(self, *args: Any, **kwargs: Any) -> Any:
            self.cookie_jar.clear()  # type: ignore[attr-defined]  # pyright: ignore
            return super()._request(*args, **kwargs)  # type: ignore[misc]  # pyright: ignore

    assert hands_on(nothing_known)
    assert hands_on(Limiter._request)
    assert hands_on(HostLimiter._request)
    for name, method in vars(Bases).items():
        if not name.startswith("__"):
            assert not hands_on(method), name
    assert not hands_on(CacheBackend.clear.__get__)


async def test_a_session_without_such_bases_does_not_look_first() -> None:
    async with CachedSession() as session:
        assert not session._looks_first
