"""A background validation is a request of its own."""

from __future__ import annotations

import asyncio

from aiohttp import ClientHandlerType, ClientRequest, ClientResponse, ClientSession

from aiohttp_cache_di import CachedResponse, CacheMiddleware
from aiohttp_cache_di.backends import CacheBackend
from aiohttp_cache_di.engine.runtime import Runtime
from tests.clients import is_hit
from tests.origin import CLOSE, Origin, Received, answer

STALE = {"Cache-Control": "max-age=0, stale-while-revalidate=60", "ETag": '"a"'}


async def test_it_leaves_the_request_of_the_caller_as_it_was(origin: Origin) -> None:
    """An outer middleware still has the caller's request, and may read it after the validation has ended."""
    seen: list[tuple[ClientRequest, dict[str, str]]] = []
    validated = asyncio.Event()

    async def look(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        seen.append((request, dict(request.headers)))
        return await handler(request)

    def script(request: Received) -> bytes:
        if request.number > 1:
            validated.set()
            assert "If-Modified-Since" not in request.headers
            assert request.headers["If-None-Match"] == '"a"'
            return answer(status=304, headers=STALE)
        return answer("text", headers=STALE)

    url = origin.on("/", script)
    backend = CacheBackend(cache_control=True)
    async with ClientSession(middlewares=(look, CacheMiddleware(backend))) as session:
        async with session.get(url) as response:
            await response.read()
        async with session.get(url, headers={"If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}) as response:
            assert is_hit(response)
        async with asyncio.timeout(10):
            await validated.wait()
            await Runtime.of(backend).finish(session)
    assert [dict(request.headers) for request, _ in seen] == [headers for _, headers in seen]
    assert (backend.stats.hits, backend.stats.misses) == (1, 1)


async def test_it_is_sent_again_if_the_origin_had_closed_an_idle_connection(origin: Origin) -> None:
    url = origin.on("/", lambda request: CLOSE if request.number == 2 else answer(str(request.number), headers=STALE))
    backend = CacheBackend(cache_control=True)
    async with ClientSession(middlewares=(CacheMiddleware(backend),)) as session:
        for _ in range(2):
            async with session.get(url) as response:
                assert await response.text() == "1"
        await Runtime.of(backend).finish(session)
        async with session.get(url) as response:
            assert is_hit(response)
            assert await response.text() == "3"


async def test_it_does_not_make_the_redirects_before_it_longer(origin: Origin) -> None:
    """The stored response has the redirect history of the call that started the validation."""
    url = origin.on("/", lambda request: answer(str(request.number), headers=STALE))
    backend = CacheBackend(cache_control=True)
    async with ClientSession(middlewares=(CacheMiddleware(backend),)) as session:
        for _ in range(2):
            async with session.get(url) as response:
                await response.read()
        await Runtime.of(backend).finish(session)
        async with session.get(url) as response:
            assert is_hit(response)
            assert await response.text() == "2"
    entries = [entry async for entry in backend.responses.values()]
    assert [entry.stored.history for entry in entries if isinstance(entry, CachedResponse)] == [()]
