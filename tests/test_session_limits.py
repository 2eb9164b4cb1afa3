"""Bases of a session that limit rates: a hit does not count towards their limit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import pytest
from aiohttp import (
    ClientRequest,
    ClientResponse,
    ClientResponseError,
    ClientSession,
    ClientTimeout,
    FormData,
    InvalidURL,
    ServerDisconnectedError,
    TraceConfig,
)

from aiohttp_cache_di import CachedSession, CacheMixin
from aiohttp_cache_di.backends import CacheBackend
from aiohttp_cache_di.engine.bases.overrides import hands_on
from tests.origin import CLOSE, Origin, Received, answer


def numbered(request: Received) -> bytes:
    """Answer with the number of the request."""
    return answer(str(request.number))


class Limiter:
    """Counts the requests that it passes on, as a rate limiter would."""

    spent = 0

    def __init__(self, *args: Any, limit: int = 1, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limiter = asyncio.Semaphore(limit)

    async def _request(self, *args: Any, **kwargs: Any) -> Any:
        async with self._limiter:
            self.spent += 1
            return await super()._request(*args, **kwargs)  # type: ignore[misc]  # pyright: ignore  # of the next base


class HostLimiter:
    """A base with a limit for each URL, and named parameters."""

    spent = 0

    async def _request(self, method: str, str_or_url: Any, **kwargs: Any) -> Any:
        limit = self.limits().setdefault(f"{method} {str_or_url}", asyncio.Semaphore(2))
        async with limit:
            self.spent += 1
            return await super()._request(method, str_or_url, **kwargs)  # type: ignore[misc]  # pyright: ignore

    def limits(self) -> dict[str, asyncio.Semaphore]:
        """The limits by method and URL."""
        limits: dict[str, asyncio.Semaphore] = vars(self).setdefault("_limits", {})
        return limits


class Limited(CacheMixin, Limiter, ClientSession):
    """The cache comes before the limiter."""

    spent: int


class LimitedByHost(CacheMixin, HostLimiter, ClientSession):
    """The cache comes before the limiter."""

    spent: int


class Behind(Limiter, CacheMixin, ClientSession):  # pyright: ignore  # in an order of its own
    """The cache comes after the limiter, as the order of the bases says."""


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


class Noting:
    """A middleware that adds a header, and records the requests that pass it."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def __call__(
        self, request: ClientRequest, handler: Callable[[Any], Awaitable[ClientResponse]]
    ) -> ClientResponse:
        self.seen.append(request.url.path)
        request.headers["X-Noted"] = "yes"
        return await handler(request)


@pytest.mark.parametrize("of_request", [False, True])
@pytest.mark.parametrize("options", list(ARGUMENTS.values())[:-1], ids=list(ARGUMENTS)[:-1])
@pytest.mark.parametrize("cache_control", [False, True])
async def test_a_hit_of_a_session_with_middlewares_does_not_spend_the_limit(
    origin: Origin, options: dict[str, Any], cache_control: bool, of_request: bool
) -> None:
    noting, url = Noting(), origin.on("/", numbered)
    made: dict[str, Any] = {} if of_request else {"middlewares": (noting,)}
    own: dict[str, Any] = {"middlewares": (noting,)} if of_request else {}
    async with Limited(cache_control=cache_control, **made) as session:
        first = {name: value for name, value in options.items() if name != "only_if_cached"}
        for asked in (first, options, options):
            async with session.get(url, **asked, **own) as response:
                assert await response.text() == "1"
        assert (session.spent, session.cache.stats.hits, session.cache.stats.misses) == (1, 2, 1)
    assert (origin.hits, len(noting.seen)) == (1, 3)
    assert origin.received[0].headers["X-Noted"] == "yes"


async def test_what_a_session_with_middlewares_sends_spends_the_limit(origin: Origin) -> None:
    url = origin.on("/", lambda request: answer(request.method.encode() + request.body))
    asked: list[tuple[str, dict[str, Any]]] = [
        ("GET", {"refresh": True}),
        ("PUT", {"data": b"a"}),
        ("POST", {"json": {"a": "b"}}),
        ("POST", {"data": {"a": "b"}}),
        ("POST", {"data": FormData({"a": "b"})}),
        ("GET", {"headers": {"Cache-Control": "no-store"}}),
    ]
    async with Limited(cache_control=True, middlewares=(Noting(),)) as session:
        with session.disabled():
            assert await (await session.get(url)).text() == "GET"
        assert session.spent == 1
        for spent, (method, options) in enumerate(asked, 2):
            async with session.request(method, url, **options) as response:
                assert (await response.text()).startswith(method)
            assert (session.spent, origin.hits) == (spent, spent)
    assert [request.body for request in origin.received][2:6] == [b"a", b'{"a": "b"}', b"a=b", b"a=b"]


async def test_each_hop_to_the_origin_spends_the_limit_of_a_session_with_middlewares(origin: Origin) -> None:
    noting, url = Noting(), origin.on("/", answer(status=301, reason="Moved", headers={"Location": "/next"}))
    origin.on("/next", answer("a", headers={"Cache-Control": "no-store", "Set-Cookie": "a=b"}))
    async with Limited(cache_control=True, middlewares=(noting,)) as session:
        for spent in (2, 3):
            async with session.get(url, raise_for_status=True) as response:
                assert (await response.text(), len(response.history)) == ("a", 1)
            assert session.spent == spent
    assert noting.seen == ["/", "/next"] * 2


class Persistent:
    """A base that retries once after a 503, then raises."""

    async def _request(self, *args: Any, **kwargs: Any) -> Any:
        base: Any = super()
        for _ in range(2):
            response = await base._request(*args, **kwargs)
            if response.status != 503:
                return response
            response.release()
        raise RuntimeError("the origin is busy")


class OnPersistent(CacheMixin, Persistent, ClientSession):
    """The cache comes before the retries."""


async def test_a_base_may_try_again_and_give_up(origin: Origin) -> None:
    noting = Noting()
    slow = origin.on("/slow", lambda request: answer(str(request.number), status=503 if request.number == 1 else 200))
    never = origin.on("/never", answer(status=503))
    async with OnPersistent(cache_control=True, middlewares=(noting,)) as session:
        async with session.put(slow, data=b"a") as response:
            assert await response.text() == "2"
        with pytest.raises(RuntimeError, match="busy"):
            await session.get(never)
        with pytest.raises(RuntimeError, match="busy"):
            await session.get(never)
    assert noting.seen == ["/slow"] * 2 + ["/never"] * 4  # a base that raises by itself is called before the cache
    assert [request.body for request in origin.received][:2] == [b"a", b"a"]


async def test_errors_and_timeouts_come_as_usual_through_bases_and_middlewares(origin: Origin) -> None:
    async def late(request: Received) -> bytes:
        await asyncio.sleep(30)
        return answer()

    misspelt: dict[str, Any] = {"parms": {}}
    cut, missing = origin.on("/cut", CLOSE), origin.on("/missing", answer(status=404))
    async with Limited(cache_control=True, middlewares=(Noting(),)) as session:
        with pytest.raises(ServerDisconnectedError):
            await session.get(cut)
        with pytest.raises(ClientResponseError, match="404"):
            await session.get(missing, raise_for_status=True)
        with pytest.raises(TimeoutError):
            await session.get(origin.on("/late", late), timeout=ClientTimeout(0.05))
        with pytest.raises(InvalidURL):
            await session.get("http://")
        with pytest.raises(TypeError, match="parms"):
            await session.get(origin.url, **misspelt)


async def test_equal_requests_through_bases_and_middlewares_ask_once(origin: Origin) -> None:
    url = origin.on("/", numbered)
    async with Limited(cache_control=True, limit=5, middlewares=(Noting(),)) as session:
        found = await asyncio.gather(*(session.get(url) for _ in range(5)))
        assert [await response.text() for response in found] == ["1"] * 5
        assert session.spent == 1


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
    """A base that only seems to pass on its arguments: it also adds credentials."""

    async def _request(self, *args: Any, **kwargs: Any) -> Any:
        self.sign()
        return await super()._request(*args, **kwargs)  # type: ignore[misc]  # pyright: ignore  # of the next base

    def sign(self) -> None:
        """Stand in for the method that adds credentials."""
        headers: Any = getattr(self, "headers")  # noqa: B009  # as in code that cannot be analysed
        del headers


class OnCunning(CacheMixin, Cunning, ClientSession):
    """The cache comes before the base that adds credentials."""

    def sign(self) -> None:
        """Add the credentials of the current user."""
        self._default_headers["Authorization"] = USER.get()


async def test_a_base_that_sends_another_request_is_asked_each_time(origin: Origin) -> None:
    url = origin.on("/", lambda request: answer(request.headers.get("Authorization", "")))
    async with OnCunning() as session:
        for user in "aabbaab":
            USER.set(user)
            async with session.get(url) as response:
                assert await response.text() == user
        assert session._sender.asks_at_once()


class Patient:
    """A base that gives each request a longer timeout, and records it."""

    patience = 30.0
    spent = 0
    waited: list[Any]

    async def _request(self, method: str, str_or_url: Any, **kwargs: Any) -> Any:
        self.spent += 1
        if "timeout" not in kwargs:
            kwargs["timeout"] = ClientTimeout(self.patience)
        kwargs.setdefault("max_field_size", 8190)
        self.waited.append(kwargs.get("timeout"))
        return await super()._request(method, str_or_url, read_bufsize=65536, **kwargs)  # type: ignore[misc]  # pyright: ignore


class OnPatient(CacheMixin, Patient, ClientSession):
    """The cache comes before the base that sets timeouts."""


async def test_a_base_that_gives_a_request_time_is_asked_for_what_goes_to_the_origin(origin: Origin) -> None:
    async with OnPatient() as session:
        session.waited = []
        asked: list[dict[str, Any]] = [{}, {}, {"params": {}}, {"timeout": ClientTimeout(5)}]
        for options in asked:
            async with session.get(origin.on("/", numbered), **options) as response:
                assert await response.text() == "1"
        assert (session.spent, session.waited) == (1, [ClientTimeout(30.0)])


async def nothing_known(self: Any, *args: Any, **kwargs: Any) -> Any:
    return await self.other._request(*args, **kwargs)


async def test_what_hands_on_is_told_by_its_code() -> None:
    class Bases:
        def adding(self, *args: Any, **kwargs: Any) -> Any:
            return super()._request(*args, headers={"A": "b"}, **kwargs)  # type: ignore[misc]  # pyright: ignore

        def changing(self, *args: Any, **kwargs: Any) -> Any:
            kwargs.setdefault("x", {})
            return super()._request(*args, **kwargs)  # type: ignore[misc]  # pyright: ignore

        def raising(self, *args: Any, **kwargs: Any) -> Any:
            return super()._request(*args, raise_for_status=True, **kwargs)  # type: ignore[misc]  # pyright: ignore

        def giving(self, *args: Any, **kwargs: Any) -> Any:
            kwargs["headers"] = {"A": "b"}
            return super()._request(*args, **kwargs)  # type: ignore[misc]  # pyright: ignore

        def giving_by_name(self, *args: Any, **kwargs: Any) -> Any:
            kwargs[self.name] = "timeout"  # type: ignore[attr-defined]  # pyright: ignore
            return super()._request(*args, **kwargs)  # type: ignore[misc]  # pyright: ignore

        def updating(self, *args: Any, **kwargs: Any) -> Any:
            kwargs.update(timeout=1)
            return super()._request(*args, **kwargs)  # type: ignore[misc]  # pyright: ignore

        def choosing(self, *args: Any, **kwargs: Any) -> Any:
            more = {self.name: "timeout"}  # type: ignore[attr-defined]  # pyright: ignore
            return super()._request(*args, **more, **kwargs)  # type: ignore[misc]  # pyright: ignore

        def making(self, *args: Any, **kwargs: Any) -> Any:
            return super()._request(*args, **{**kwargs, self.name: "timeout"})  # type: ignore[misc, attr-defined]  # pyright: ignore

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
    assert hands_on(Patient._request)
    for name, method in vars(Bases).items():
        if not name.startswith("__"):
            assert not hands_on(method), name
    assert not hands_on(CacheBackend.clear.__get__)


async def test_a_session_without_such_bases_does_not_try_first() -> None:
    async with CachedSession() as session:
        assert session._sender.asks_at_once()
