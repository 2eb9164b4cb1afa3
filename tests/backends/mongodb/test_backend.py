"""MongoDBBackend and MongoDBCache: what users see, on a real server."""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from pymongo import AsyncMongoClient

from aiohttp_cache_di import CachedSession, ConfigurationError, MissingDependencyError, MongoDBBackend, MongoDBCache
from aiohttp_cache_di.response import CachedResponse
from tests.backends.contract import MakeStorage, StorageContract
from tests.backends.entries import make_entry
from tests.origin import Origin, Received, answer
from tests.secantus import SecantusServer

MakeBackend = Callable[..., MongoDBBackend]


class TestContract(StorageContract):
    """All that every storage keeps to."""

    @pytest.fixture
    def make(self, secantus: SecantusServer) -> MakeStorage:
        name = uuid.uuid4().hex
        return partial(MongoDBCache, name, "responses", host=secantus.url)


@pytest.fixture
def make_backend(secantus: SecantusServer) -> MakeBackend:
    """Make backends on one database."""
    name = uuid.uuid4().hex
    return partial(MongoDBBackend, name, host=secantus.url, autoclose=True)


async def test_a_response_is_stored_once_for_all_processes(origin: Origin, make_backend: MakeBackend) -> None:
    url = origin.on("/a", answer("body"))
    seen: list[bool] = []
    for _ in range(2):
        async with CachedSession(cache=make_backend()) as session:
            async with session.get(url) as response:
                assert await response.text() == "body"
            seen.append(getattr(response, "from_cache", False))
            assert session.cache.stats.store_errors == {}
    assert (origin.hits, seen) == (1, [False, True])


async def test_redirects_and_responses_share_a_collection_and_are_shown_apart(
    origin: Origin, make_backend: MakeBackend
) -> None:
    origin.on("/a", answer("body"))
    url = origin.on("/redirect", answer(status=301, headers={"Location": "/a"}))
    async with CachedSession(cache=make_backend()) as session:
        async with session.get(url) as response:
            await response.read()
        cache = session.cache
        assert (await cache.responses.size(), await cache.redirects.size()) == (1, 1)
        await cache.redirects.clear()
        assert (await cache.responses.size(), await cache.redirects.size()) == (1, 0)


async def test_one_of_many_processes_fetches_what_all_ask_for(origin: Origin, make_backend: MakeBackend) -> None:
    async def slowly(request: Received) -> bytes:
        await asyncio.sleep(0.3)
        return answer(f"{request.number}")

    url = origin.on("/slow", slowly)
    sessions = [CachedSession(cache=make_backend()) for _ in range(4)]

    async def fetch(session: CachedSession) -> str:
        async with session.get(url) as response:
            return await response.text()

    bodies = await asyncio.gather(*(fetch(session) for session in sessions for _ in range(5)))
    for session in sessions:
        await session.close()
    assert set(bodies) == {"1"}


@pytest.mark.parametrize("size", [0, 399_000, 5_000_000, 17_000_000])
async def test_a_body_of_any_size_is_kept(make_backend: MakeBackend, size: int) -> None:
    backend = make_backend(storage_deadline=20.0)
    entry = make_entry("k", bytes(size))
    await backend.responses.write("k", CachedResponse.from_stored(entry))
    item = await backend.responses.read("k")
    assert isinstance(item, CachedResponse)
    assert item.stored == entry
    assert await backend.responses.size() == 1
    await backend.delete("k")
    assert await backend.stack.store.get(["k", "k\0chunk 0", "k\0chunk 1"]) == [None] * 3
    await backend.close()


async def test_a_copy_in_memory_is_dropped_when_another_process_changes_it(make_backend: MakeBackend) -> None:
    one, two = make_backend(near_tier_s=3600), make_backend()
    await two.responses.write("k", CachedResponse.from_stored(make_entry("k", b"old")))
    async with asyncio.timeout(20):
        while one.responses.peek("k") is None:  # until the change stream is open
            await one.stack.here().fetch("k")
            await asyncio.sleep(0.01)
        await two.delete("k")
        while one.responses.peek("k") is not None:
            await one.responses.contains("another")
    await one.close()
    await two.close()


async def test_a_client_may_be_handed_in(secantus: SecantusServer) -> None:
    async with AsyncMongoClient[dict[str, Any]](secantus.url) as client:
        backend = MongoDBBackend(uuid.uuid4().hex, client)
        await backend.responses.write("alias", "target")
        await backend.close()
        assert (await client.admin.command("ping"))["ok"] == 1


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"hots": "x"}, TypeError, "hots"),
        ({"near_tier_s": 0}, ConfigurationError, "near_tier_s"),
        ({"near_tier_s": 1, "near_tier_bytes": 0}, ConfigurationError, "near_tier_bytes"),
        ({"secret_key": ""}, ConfigurationError, "secret_key"),
        ({"host": "redis://h"}, ConfigurationError, "mongodb://"),
    ],
)
def test_an_option_that_cannot_be_used_is_an_error_at_once(options: Any, error: type[Exception], text: str) -> None:
    for make in (MongoDBBackend, partial(MongoDBCache, "db", "responses")):
        with pytest.raises(error, match=text):
            make(**options)


def test_a_backend_is_shown_without_credentials() -> None:
    backend = MongoDBBackend("db", host="mongodb://user:s3cr3t@h:1/?maxPoolSize=5")
    assert repr(backend) == "<MongoDBBackend 'db' at mongodb://h:1/>"
    assert repr(backend.responses) == "<MongoDBCache at mongodb://h:1/>"


def test_a_missing_driver_is_said_with_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("aiohttp_cache_di.backends.mongodb.")]:
        if not name.endswith("backend"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pymongo", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'aiohttp-cache-di\[mongodb\]'"):
        MongoDBBackend()
