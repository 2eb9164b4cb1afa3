"""What a program may write: both type checkers accept all of it, and know what it comes to."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, assert_type

from aiohttp import ClientResponse, ClientSession, ClientTimeout

from aiohttp_cache_di import CachedResponse, CachedSession, CacheMiddleware, UrlExpiration
from aiohttp_cache_di.backends import CacheBackend
from aiohttp_cache_di.rfc9111.messages import Request
from aiohttp_cache_di.session import CacheMixin


async def takes_a_session(session: ClientSession) -> int:
    """A function that was written for aiohttp."""
    async with session.get("https://example.org/", timeout=ClientTimeout(total=1)) as response:
        return response.status


async def requests(session: CachedSession) -> None:
    """Every option of a request, in each form that it has."""
    await takes_a_session(session)
    async with session.get("https://example.org/", expire_after=60, refresh=True, params={"a": "b"}) as response:
        assert_type(response.status, int)
        assert_type(response.from_cache, bool)
        assert_type(response.expires, datetime | None)
        assert_type(response.cache_status, str)
        plain: ClientResponse = response
        assert plain.ok
    await session.post("https://example.org/", json={"a": 1}, expire_after=timedelta(minutes=1))
    await session.request("GET", "https://example.org/", expire_after="Sat, 21 Nov 2026 08:00:00 GMT")
    await session.head("https://example.org/", only_if_cached=True, stale_if_error="1h")
    await session.get("https://example.org/", principal="tenant-7")
    await session.put("https://example.org/", expire_after=None, stale_if_error=True)
    async with session.disabled():
        await session.delete("https://example.org/")
    with session.disabled():
        await session.options("https://example.org/")
    async with session.ws_connect("https://example.org/") as socket:
        assert_type(await socket.receive_str(), str)
    await session.delete_expired_responses()


async def sessions() -> None:
    """Every way to make a session."""

    async def may_keep(response: ClientResponse) -> bool:
        return response.ok

    def whose(request: Request) -> str | None:
        return request.headers.get("X-User")

    backend = CacheBackend(
        "name",
        60,
        urls_expire_after={"*.org": 60, "*/never": UrlExpiration(0)},
        allowed_codes=(200, 404),
        filter_fn=may_keep,
        cache_control=True,
        max_entries=1000,
        principal=whose,
        principals={"*.org": "all"},
        shared_credentials=["*.amazonaws.com"],
    )
    async with CachedSession(cache=backend, headers={"A": "b"}, principal=whose) as session:
        assert_type(session, CachedSession)
        assert_type(session.cache, CacheBackend)
        assert_type(await session.has_url("/", headers={"A": "b"}), bool)
        assert_type(await session.delete_url("/", "HEAD"), int)
    async with CachedSession("https://example.org/", expire_after=60) as session:
        await requests(session)
    async with ClientSession(middlewares=(CacheMiddleware(backend),)) as plain:
        await takes_a_session(plain)


class OwnSession(CacheMixin, ClientSession):
    """A session class of a user's."""


async def backends(backend: CacheBackend) -> None:
    """What a backend is asked for."""
    assert_type(await backend.has_url("https://example.org/", params={"a": "b"}), bool)
    assert_type([url async for url in backend.get_urls()], list[str])
    found = await backend.get_response(backend.create_key("GET", "https://example.org/"))
    assert_type(found, CachedResponse | None)
    if found is not None:
        body: Any = await found.json()
        assert body
    assert_type(await backend.delete_url("https://example.org/"), int)
    assert_type(await backend.delete_url("https://example.org/", everywhere=True), int)
