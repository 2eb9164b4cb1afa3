"""A plain hit is answered without an exchange, with the same result."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import ClientResponse, ClientSession

from aiohttp_cache_di import CachedResponse, CacheMiddleware, middleware
from aiohttp_cache_di.backends import CacheBackend
from tests.origin import Origin, answer


class OwnResponse(ClientResponse):
    """A response class of the user's."""


def facts(response: ClientResponse) -> dict[str, Any]:
    """What a caller can see of a hit."""
    assert isinstance(response, CachedResponse)
    names = ("status", "reason", "method", "url", "real_url", "history", "cache_status", "key", "from_cache", "expires")
    seen: dict[str, Any] = {name: getattr(response, name) for name in (*names, "created_at", "request_info", "version")}
    seen["headers"] = list(response.headers.items())
    seen["raw_headers"] = response.raw_headers
    seen["cookies"] = str(response.cookies)
    seen["class"] = type(response)
    return seen


async def hit(session: ClientSession, url: str, **options: Any) -> dict[str, Any]:
    """The facts of a hit, and its body."""
    async with session.get(url, **options) as response:
        return {**facts(response), "body": await response.read()}


def refuse(*args: object, **kwargs: object) -> Any:
    """Stand in for the exchange, which must not be made."""
    raise AssertionError("an exchange was made")


def nothing(*args: object) -> None:
    """Stand in for the lookup in memory."""


@pytest.mark.parametrize("backend_options", [{}, {"cache_control": True}, {"store_cookies": True}], ids=str)
@pytest.mark.parametrize(
    "fields", [{}, {"Vary": "Accept"}, {"Set-Cookie": "a=b", "Cache-Status": "Front; hit"}], ids=str
)
@pytest.mark.parametrize("session_options", [{}, {"response_class": OwnResponse}], ids=str)
@pytest.mark.parametrize("suffix", ["", "#part"])
async def test_it_comes_to_what_an_exchange_comes_to(
    origin: Origin,
    monkeypatch: pytest.MonkeyPatch,
    backend_options: dict[str, Any],
    fields: dict[str, Any],
    session_options: dict[str, Any],
    suffix: str,
) -> None:
    url = origin.on("/", answer("text", headers=fields)) + suffix
    backend = CacheBackend(**backend_options)
    monkeypatch.setattr("time.time", lambda: 2_000_000_000.25)  # makes ages equal
    async with ClientSession(middlewares=(CacheMiddleware(backend),), **session_options) as session:
        for _ in range(2):  # once to store the response, once to learn the key
            async with session.get(url) as response:
                await response.read()
            session.cookie_jar.clear()
        with monkeypatch.context() as patch:
            patch.setattr(middleware, "Exchange", refuse)
            at_once = await hit(session, url)
        session.cookie_jar.clear()
        monkeypatch.setattr(CacheMiddleware, "_at_once", nothing)
        assert await hit(session, url) == at_once
    assert origin.hits == 1


@pytest.mark.parametrize(
    "options",
    [
        {"headers": {"Cache-Control": "no-cache"}},
        {"headers": {"Range": "bytes=0-1"}},
        {"headers": {"If-None-Match": '"x"'}},
        {"headers": {"Authorization": "Bearer one"}},
        {"headers": {"X-Api-Key": "one"}},
        {"headers": {"Accept": "text/event-stream"}},
        {"cookies": {"a": "b"}},
        {"data": b"body"},
        {"auto_decompress": False},
        {"server_hostname": "another.example"},
    ],
    ids=str,
)
async def test_a_request_that_says_more_is_not_answered_so(
    origin: Origin, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    url = origin.on("/", answer("text"))
    found: list[object] = []
    own = CacheMiddleware._at_once

    def note(*args: Any) -> CachedResponse | None:
        found.append(own(*args))
        return found[-1]  # type: ignore[return-value]  # the item just appended

    monkeypatch.setattr(CacheMiddleware, "_at_once", note)
    async with ClientSession(middlewares=(CacheMiddleware(),)) as session:
        for _ in range(3):
            async with session.get(url) as response:
                await response.read()
        assert found.pop() is not None
        found.clear()
        async with session.get(url, **options) as response:
            await response.read()
    assert not any(found)
