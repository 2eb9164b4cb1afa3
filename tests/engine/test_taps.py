"""The last step before the origin: a tap there sees exactly the requests that no stored response has answered."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse, ClientSession

from aiohttp_cache_di import CachedSession, CacheMiddleware
from aiohttp_cache_di.engine.taps import TAPS, through_tap
from tests.origin import Origin, Received, answer


class Listener:
    """A tap that records the requests that pass it, under a name."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self.name = name
        self.notes = notes

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        conditional = " if-none-match" if "If-None-Match" in request.headers else ""
        self.notes.append(f"{self.name} {request.method} {request.url.path}{conditional}")
        return await handler(request)


@pytest.fixture
async def session() -> AsyncIterator[CachedSession]:
    async with CachedSession(cache_control=True) as made:
        yield made


async def read(session: ClientSession, url: str, method: str = "GET") -> None:
    async with session.request(method, url) as response:
        await response.read()


async def test_a_tap_sees_misses_hops_and_validations_but_no_hits(origin: Origin, session: CachedSession) -> None:
    def validated(received: Received) -> bytes:
        headers = {"ETag": '"1"', "Cache-Control": "no-cache"}
        if "If-None-Match" in received.headers:
            return answer(status=304, headers={**headers, "Content-Length": None})
        return answer("a", headers=headers)

    origin.on("/old", answer(status=301, headers={"Location": "/new"}))
    origin.on("/new", answer("new"))
    origin.on("/validated", validated)
    notes: list[str] = []
    with through_tap(Listener("tap", notes)):
        for path in ("/old", "/old", "/new", "/validated", "/validated"):
            await read(session, origin.url + path)

    assert notes == [
        "tap GET /old",
        "tap GET /new",
        "tap GET /validated",
        "tap GET /validated if-none-match",
    ]


async def test_a_tap_sees_what_passes_the_cache_by(origin: Origin, session: CachedSession) -> None:
    url = origin.on("/a", answer("a"))
    notes: list[str] = []
    with through_tap(Listener("tap", notes)):
        await read(session, url, "POST")
        async with session.disabled():
            await read(session, url)
        async with ClientSession(middlewares=(CacheMiddleware(),)) as plain:
            await read(plain, url)

    assert notes == ["tap POST /a", "tap GET /a", "tap GET /a"]


async def test_the_tap_that_came_last_is_the_outermost_and_each_goes_by_itself(
    origin: Origin, session: CachedSession
) -> None:
    url = origin.on("/a", answer("a", headers={"Cache-Control": "no-store"}))
    notes: list[str] = []
    with through_tap(Listener("inner", notes)):
        with through_tap(Listener("outer", notes)):
            await read(session, url)
        await read(session, url)
    await read(session, url)

    assert [note.partition(" ")[0] for note in notes] == ["outer", "inner", "inner"]
    assert TAPS == []
