"""Sessions that connect to Unix sockets: the same URL is a different resource on each socket."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import ClientSession, UnixConnector, web

from aiohttp_cache_di import CachedSession, CacheMiddleware
from aiohttp_cache_di.backends.base import CacheBackend

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no Unix sockets")

URL = "http://localhost/name"

Open = Callable[[CacheBackend, str], ClientSession]


def cached(backend: CacheBackend, socket: str) -> ClientSession:
    return CachedSession(cache=backend, connector=UnixConnector(socket))


def with_middleware(backend: CacheBackend, socket: str) -> ClientSession:
    return ClientSession(connector=UnixConnector(socket), middlewares=(CacheMiddleware(backend),))


@pytest.fixture
async def sockets() -> AsyncIterator[list[str]]:
    """The sockets of two services, each of which answers with the path of its socket."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))  # pytest's path may be too long for a socket
        places = [str(folder / name) for name in "ab"]
        for place in places:
            app = web.Application()
            app.router.add_get("/{any:.*}", _named(place))
            runner = web.AppRunner(app)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.UnixSite(runner, place).start()
        yield places


def _named(place: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(text=place, headers={"Cache-Control": "max-age=60"})

    return handler


@pytest.mark.parametrize("opened", [cached, with_middleware])
async def test_services_behind_two_sockets_do_not_get_each_others_responses(sockets: list[str], opened: Open) -> None:
    backend = CacheBackend(cache_control=True)
    async with AsyncExitStack() as stack:
        sessions = [await stack.enter_async_context(opened(backend, place)) for place in sockets]
        for _ in range(3):
            for session, place in zip(sessions, sockets, strict=True):
                async with session.get(URL) as response:
                    assert await response.text() == place
        async with sessions[0].get(URL + "/other") as response:  # the origin is known by now
            assert await response.text() == sockets[0]
        async with sessions[1].get(URL + "/other") as response:
            assert await response.text() == sockets[1]
    assert (backend.stats.hits, backend.stats.misses) == (4, 4)
    await backend.close()


async def test_a_socket_is_asked_about_by_its_path(sockets: list[str]) -> None:
    async with cached(CacheBackend(cache_control=True), sockets[0]) as session:
        assert isinstance(session, CachedSession)
        async with session.get(URL):
            pass
        assert await session.has_url(URL)
        assert await session.cache.has_url(URL, socket=sockets[0])
        assert not await session.cache.has_url(URL)
        assert not await session.cache.has_url(URL, socket=sockets[1])
        assert await session.delete_url(URL) == 1
