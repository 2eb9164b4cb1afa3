"""Credentials that a user's classes and methods add to requests: no user gets the response of another."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from functools import partial, partialmethod
from http.cookies import SimpleCookie
from types import FunctionType
from typing import Any

import pytest
from aiohttp import ClientRequest, ClientSession, CookieJar, DummyCookieJar, TCPConnector
from aiohttp.abc import AbstractCookieJar
from multidict import CIMultiDict

from aiohttp_cache_di import CachedSession, CacheMiddleware, CacheMixin
from aiohttp_cache_di._aiohttp import is_genuine
from tests.origin import Origin, Received, answer

USER: ContextVar[str] = ContextVar("user", default="")


def whose(request: Received) -> bytes:
    """Answer with the user that the request names."""
    return answer(request.headers.get("Authorization", "") + request.target.partition("?")[2])


def mark(headers: CIMultiDict[str]) -> None:
    """Add the credentials of the current user, if there is one."""
    if USER.get():
        headers["Authorization"] = USER.get()


class OfUser(ClientRequest):
    """A request that adds credentials in a documented method."""

    def update_headers(self, headers: Any) -> None:
        """Add the credentials of the current user."""
        super().update_headers(headers)
        mark(self.headers)


class OfUserInPrivate(ClientRequest):
    """A request that adds credentials in an undocumented method."""

    def update_auto_headers(self, skip_auto_headers: Any) -> None:
        """Add the credentials of the current user."""
        super().update_auto_headers(skip_auto_headers)
        mark(self.headers)


class SignedWhenSent(ClientRequest):
    """A request that adds credentials when it is sent, which is after the cache lookup."""

    async def send(self, conn: Any) -> Any:
        """Add the credentials of the current user."""
        mark(self.headers)
        return await super().send(conn)


class SigningConnector(TCPConnector):
    """A connector that adds credentials when a connection is requested."""

    async def connect(self, req: ClientRequest, traces: Any, timeout: Any) -> Any:  # noqa: ASYNC109  # as aiohttp has it
        """Add the credentials of the current user."""
        mark(req.headers)
        return await super().connect(req, traces, timeout)


class PreparingSession(CacheMixin, ClientSession):
    """A session that adds credentials in a private method."""

    def _prepare_headers(self, headers: Any) -> CIMultiDict[str]:
        made = super()._prepare_headers(headers)
        mark(made)
        return made


class BuildingSession(CacheMixin, ClientSession):
    """A session that adds the user to the URL."""

    def _build_url(self, str_or_url: Any) -> Any:
        return super()._build_url(str_or_url).update_query(user=USER.get())


class MiddlewaresSession(CacheMixin, ClientSession):
    """A session that adds credentials in a middleware of its own."""

    @property
    def _middlewares(self) -> Any:
        async def marking(request: ClientRequest, handler: Any) -> Any:
            mark(request.headers)
            return await handler(request)

        return (marking, *super()._middlewares)

    @_middlewares.setter
    def _middlewares(self, middlewares: Any) -> None:
        self._own_middlewares = middlewares


class Marking:
    """A base that adds credentials to the headers that it passes on."""

    async def _request(self, method: str, str_or_url: Any, *, headers: Any = None, **kwargs: Any) -> Any:
        made: CIMultiDict[str] = CIMultiDict(headers or {})
        mark(made)
        return await super()._request(method, str_or_url, headers=made, **kwargs)  # type: ignore[misc]  # pyright: ignore


class MarkingQuietly:
    """A base that adds credentials to its keyword arguments."""

    async def _request(self, *args: Any, **kwargs: Any) -> Any:
        if USER.get():
            kwargs["headers"] = {"Authorization": USER.get()}
        return await super()._request(*args, **kwargs)  # type: ignore[misc]  # pyright: ignore


class OnMarking(CacheMixin, Marking, ClientSession):
    """The cache comes before the base that adds credentials."""


class OnMarkingQuietly(CacheMixin, MarkingQuietly, ClientSession):
    """The cache comes before the base that adds credentials."""


class BehindMarking(MarkingQuietly, CacheMixin, ClientSession):
    """The cache comes after the base that adds credentials."""


def patched() -> CachedSession:
    """Make a session with a method that is replaced on this object only."""
    session = CachedSession()
    prepare = session._prepare_headers

    def prepared(headers: Any) -> CIMultiDict[str]:
        made = prepare(headers)
        mark(made)
        return made

    session._prepare_headers = prepared  # type: ignore[method-assign]  # as instrumentation does
    return session


SESSIONS: dict[str, Callable[[], CachedSession | CacheMixin]] = {
    "request class": lambda: CachedSession(request_class=OfUser),
    "request class, private": lambda: CachedSession(request_class=OfUserInPrivate),
    "request class, when it is sent": lambda: CachedSession(request_class=SignedWhenSent),
    "connector": lambda: CachedSession(connector=SigningConnector()),
    "session, headers": PreparingSession,
    "session, URL": BuildingSession,
    "session, middlewares": MiddlewaresSession,
    "base below": OnMarking,
    "base below, quietly": OnMarkingQuietly,
    "base above": BehindMarking,
    "object": patched,
}


@pytest.mark.parametrize("how", SESSIONS)
@pytest.mark.parametrize("order", ["aaabbb", "aaa   ", "abababab", "   aa bb"])
async def test_no_user_gets_the_response_of_another(origin: Origin, how: str, order: str) -> None:
    url = origin.on("/", whose)
    if how in {"request class, when it is sent", "connector"}:
        order = order.strip()  # without a user the response is stored for all, until credentials are seen
    async with SESSIONS[how]() as session:
        for user in order:
            USER.set(user.strip())
            async with session.get(url) as response:
                assert (await response.text()).removeprefix("user=") == user.strip()


class Wrapper:
    """Claims the class of the function that it wraps, as wrappers of wrapt do."""

    def __init__(self, function: Any) -> None:
        self.function = function

    @property  # type: ignore[misc]  # which is the point
    def __class__(self) -> Any:  # pyright: ignore
        return FunctionType

    def __getattr__(self, name: str) -> Any:
        return getattr(self.function, name)

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)

    def __get__(self, instance: Any, owner: type) -> Any:
        return partial(self, instance)


class OfAnInstrument:
    """A class whose methods are wrapped by instrumentation."""

    def asked(self) -> None:
        """Do something."""


WRAPPERS: list[Any] = [Wrapper, partialmethod, staticmethod, property, partial]


@pytest.mark.parametrize("wrap", WRAPPERS)
def test_a_method_that_an_instrument_wraps_is_not_genuine(wrap: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_genuine(OfAnInstrument)
    instrument: Any = {"function": OfAnInstrument.asked}
    foreign = eval("lambda self: function(self)", instrument)  # noqa: S307  # a function of another module
    monkeypatch.setattr(OfAnInstrument, "asked", wrap(foreign))
    assert not is_genuine(OfAnInstrument)
    monkeypatch.undo()
    assert is_genuine(OfAnInstrument)


@pytest.fixture(params=["ClientRequest", "ClientSession"])
def _instrumented(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace a method of aiohttp's, as another package may."""
    if request.param == "ClientRequest":
        update = ClientRequest.update_headers

        def updated(self: ClientRequest, headers: Any) -> None:
            update(self, headers)
            mark(self.headers)

        monkeypatch.setattr(ClientRequest, "update_headers", updated)
    else:
        prepare = ClientSession._prepare_headers

        def prepared(self: ClientSession, headers: Any) -> CIMultiDict[str]:
            made = prepare(self, headers)
            mark(made)
            return made

        monkeypatch.setattr(ClientSession, "_prepare_headers", prepared)


@pytest.mark.usefixtures("_instrumented")
async def test_what_an_instrument_adds_counts(origin: Origin) -> None:
    url = origin.on("/", whose)
    async with CachedSession() as session:
        for user in "aaabb":
            USER.set(user)
            async with session.get(url) as response:
                assert await response.text() == user


async def test_what_is_set_on_a_session_that_knows_its_way_counts(origin: Origin) -> None:
    url = origin.on("/", whose)
    async with CachedSession() as session:
        for _ in range(3):
            await (await session.get(url)).read()
        session._request_class = OfUser
        USER.set("a")
        async with session.get(url) as response:
            assert await response.text() == "a"


async def test_what_is_signed_on_its_way_says_why_it_is_not_stored(origin: Origin) -> None:
    async def sign(request: ClientRequest, handler: Any) -> Any:
        mark(request.headers)
        return await handler(request)

    USER.set("a")
    url, inside_out = origin.on("/", whose), (CacheMiddleware(), sign)
    async with (
        CachedSession(request_class=SignedWhenSent) as session,
        ClientSession(middlewares=inside_out) as plain,
        session.get(url) as one,
        plain.get(url) as other,
    ):
        for response in (one, other):
            assert await response.text() == "a"
            assert getattr(response, "cache_status", "").endswith("detail=changed")


async def test_what_signs_anew_each_time_is_stored_for_a_principal(origin: Origin) -> None:
    url = origin.on("/", whose)
    async with CachedSession(request_class=SignedWhenSent, principal="tenant") as session:
        for signature, is_hit in (("a", False), ("b", True)):
            USER.set(signature)
            async with session.get(url) as response:
                assert (await response.text(), response.from_cache) == ("a", is_hit)


def cookies_of_user(*_: Any) -> SimpleCookie:
    """Replacement for a method of a cookie jar, which returns the cookie of the current user."""
    return SimpleCookie({"u": USER.get()} if USER.get() else {})


@pytest.mark.parametrize("jar_class", [CookieJar, DummyCookieJar])
@pytest.mark.parametrize("where", ["object", "class"])
@pytest.mark.parametrize("known", [0, 4])
async def test_a_jar_whose_method_is_replaced_sets_users_apart(
    origin: Origin, monkeypatch: pytest.MonkeyPatch, jar_class: type[AbstractCookieJar], where: str, known: int
) -> None:
    url = origin.on("/", lambda request: answer(request.headers.get("Cookie", "")))
    jar = jar_class()
    async with CachedSession(cookie_jar=jar) as session:
        for _ in range(known):
            async with session.get(url) as response:
                assert await response.text() == ""
        monkeypatch.setattr(jar if where == "object" else jar_class, "filter_cookies", cookies_of_user)
        for user in "aaaabbab":
            USER.set(user)
            async with session.get(url) as response:
                assert await response.text() == f"u={user}"
