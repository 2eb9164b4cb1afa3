"""The counters say exactly how much was stored, invalidated and purged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from aiohttp_cache_di import CachedSession
from aiohttp_cache_di.backends import CacheBackend, FileBackend, SQLiteBackend
from aiohttp_cache_di.response import AnyResponse
from tests.origin import Origin, Received, answer
from tests.storages import CustomBackend

BACKENDS = {"memory": CacheBackend, "sqlite": SQLiteBackend, "files": FileBackend, "custom": CustomBackend}


@asynccontextmanager
async def caching(made: str, tmp_path: Path, **options: Any) -> AsyncGenerator[CachedSession]:
    place: dict[str, Any] = {"cache_name": str(tmp_path / "cache")} if made in ("sqlite", "files") else {}
    async with CachedSession(cache=BACKENDS[made](autoclose=True, **place, **options)) as session:
        yield session


async def fetch(session: CachedSession, url: str, method: str = "GET", **options: Any) -> str:
    async with session.request(method, url, **options) as response:
        await response.read()
    await session.cache.settle()
    return response.cache_status


def by_language(request: Received) -> bytes:
    fields = {"Cache-Control": "max-age=60", "Vary": "Accept-Language", "Content-Location": None}
    return answer(request.headers.get("Accept-Language", ""), headers=fields)


@pytest.mark.parametrize("made", BACKENDS)
async def test_each_response_that_says_that_it_is_stored_counts_once(origin: Origin, tmp_path: Path, made: str) -> None:
    url = origin.on("/x", by_language)
    async with caching(made, tmp_path, cache_control=True) as session:
        stats = session.cache.stats
        for number, language in enumerate(("de", "en", "fr"), 1):
            status = await fetch(session, url, headers={"Accept-Language": language})
            assert (status.endswith("; stored"), stats.stored) == (True, number)


async def test_what_a_304_confirms_counts_when_it_says_that_it_is_stored(origin: Origin) -> None:
    fields = {"Cache-Control": "max-age=0", "ETag": '"a"'}

    def script(request: Received) -> bytes:
        return answer("" if request.number > 1 else "text", status=304 if request.number > 1 else 200, headers=fields)

    async with caching("memory", Path(), cache_control=True) as session:
        url = origin.on("/x", script)
        said = [await fetch(session, url) for _ in range(3)]
        assert [status.endswith("; stored") for status in said] == [True] * 3
        assert session.cache.stats.stored == 3


@pytest.mark.parametrize("made", BACKENDS)
async def test_what_a_request_has_changed_is_counted_by_entries(origin: Origin, tmp_path: Path, made: str) -> None:
    url = origin.on("/x", by_language)
    async with caching(made, tmp_path, cache_control=True) as session:
        stats = session.cache.stats
        await fetch(session, url, "POST", data=b"x")
        assert stats.invalidated == 0
        for language in ("de", "en"):
            await fetch(session, url, headers={"Accept-Language": language})
        await fetch(session, url, "POST", data=b"x")
        assert (stats.invalidated, await session.cache.responses.size()) == (2, 0)
        await fetch(session, url, "POST", data=b"x")
        assert stats.invalidated == 2


@pytest.mark.parametrize("made", BACKENDS)
async def test_changes_that_are_made_at_the_same_time_are_all_counted(
    origin: Origin, tmp_path: Path, made: str
) -> None:
    urls = [origin.on(f"/{number}", answer("text")) for number in range(8)]
    async with caching(made, tmp_path, cache_control=True) as session:
        await asyncio.gather(*(fetch(session, url) for url in urls))
        await asyncio.gather(*(fetch(session, url, "POST", data=b"x") for url in urls))
        assert session.cache.stats.invalidated == len(urls)


async def test_what_a_method_of_the_user_s_deletes_after_a_change_is_counted(origin: Origin) -> None:
    class Own(CacheBackend):
        async def delete(self, key: str) -> None:
            await super().delete(key)

    url = origin.on("/x", answer("text"))
    async with CachedSession(cache=Own(cache_control=True)) as session:
        await fetch(session, url)
        await fetch(session, url, "DELETE")
        assert session.cache.stats.invalidated == 1


PURGES: list[dict[str, Any]] = [
    {"match": "*/one"},
    {"match": "*", "soft": True},
    {"tags": "a"},
    {"tags": "a", "soft": True},
    {"all": True},
    {"all": True, "soft": True},
]


@pytest.mark.parametrize("selectors", PURGES, ids=str)
@pytest.mark.parametrize("made", BACKENDS)
async def test_what_is_purged_is_counted_by_entries(
    origin: Origin, tmp_path: Path, made: str, selectors: dict[str, Any]
) -> None:
    async with caching(made, tmp_path, cache_control=True) as session:
        cache = session.cache
        for name in ("one", "two"):
            url = origin.on(f"/{name}", answer("text", headers={"Cache-Control": "max-age=60"}))
            await fetch(session, url, tags=["a"])
        told = await cache.purge(**selectors, dry_run=True)
        assert cache.stats.purged == 0
        assert await cache.purge(**selectors) == told
        assert cache.stats.purged == cache.stats.snapshot().purged == told.entries > 0


async def test_what_is_deleted_by_its_url_is_counted(origin: Origin) -> None:
    url = origin.on("/x", answer("text"))
    async with caching("memory", Path(), expire_after=60) as session:
        await fetch(session, url)
        assert await session.delete_url(url) == session.cache.stats.purged == 1
        assert await session.delete_url(url) == 0
        assert session.cache.stats.purged == 1


@pytest.mark.parametrize("made", BACKENDS)
async def test_what_has_expired_or_is_refused_is_counted_where_it_is_pruned(
    origin: Origin, tmp_path: Path, made: str
) -> None:
    def refuse(response: AnyResponse) -> bool:
        return False

    async with caching(made, tmp_path, expire_after=60) as session:
        for name in ("one", "two"):
            await fetch(session, origin.on(f"/{name}", answer("text")))
        session.cache.filter_fn = refuse
        assert await session.cache.delete_expired_responses() == session.cache.stats.purged == 2
