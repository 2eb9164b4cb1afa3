"""Digests of secrets are keyed: with the user's key, or with one that the store keeps for all its processes."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import uuid
from collections.abc import Sequence
from contextlib import closing
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest

from aiohttp_cache_di import CachedSession
from aiohttp_cache_di.backends import CacheBackend
from aiohttp_cache_di.backends.memory import MemoryStore
from aiohttp_cache_di.backends.redis import RedisBackend
from aiohttp_cache_di.backends.sqlite import SQLiteBackend
from aiohttp_cache_di.backends.sqlite.file.schema import KEPT, META
from aiohttp_cache_di.backends.store import Record, Written
from aiohttp_cache_di.backends.wrap import secret
from aiohttp_cache_di.backends.wrap.items import StackCache
from aiohttp_cache_di.backends.wrap.stack import SECRET_KEY, StoreStack
from aiohttp_cache_di.entries.secrets import digest_key_of
from aiohttp_cache_di.rfc9111.messages import StoredResponse
from tests.backends.proof import ProofStore
from tests.origin import Origin, Received, answer
from tests.storages import CustomBackend
from tests.valkey import ValkeyServer

TOKEN = {"Authorization": "Bearer 1234"}


class Place:
    """A store, and backends on it as several processes make them."""

    def __init__(self, kind: str, directory: Path, server: ValkeyServer) -> None:
        self.kind, self.path, self.server = kind, directory / "secret.sqlite", server
        self.name = f"secret-{os.getpid()}-{directory.name}"
        self.proof = ProofStore()

    def backend(self, **options: Any) -> CacheBackend:
        if self.kind == "sqlite":
            return SQLiteBackend(str(self.path), **options)
        if self.kind == "redis":
            return RedisBackend(self.name, self.server.url, **options)
        backend = CacheBackend(**options)
        backend.use(StackCache(StoreStack(self.proof)))
        return backend


@pytest.fixture(params=["sqlite", "redis", "records"])
def place(request: pytest.FixtureRequest, tmp_path: Path, valkey: ValkeyServer) -> Place:
    return Place(request.param, tmp_path, valkey)


def numbered(request: Received) -> bytes:
    return answer(str(request.number), headers={"Vary": "Accept-Language"})


async def text(backend: CacheBackend, url: str, **options: Any) -> str:
    async with CachedSession(cache=backend) as session, session.get(url, **options) as response:
        return await response.text()


async def test_all_processes_of_a_store_come_to_the_same_digests(place: Place, origin: Origin) -> None:
    url = origin.on("/report", numbered)
    backends = [place.backend(), place.backend()]

    for backend in (*backends, *backends):
        assert await text(backend, url, headers=TOKEN) == "1"
        assert await text(backend, url) == "2"
        assert await backend.has_url(url, headers=TOKEN)

    first, second = (backend.digest_key for backend in backends)
    assert len(first) == 32
    assert bytes(first) == bytes(second)
    assert (await place_of(backends[0])).isdisjoint({SECRET_KEY})
    assert await backends[0].responses.size() == 2
    for backend in backends:
        await backend.close()


async def place_of(backend: CacheBackend) -> set[str]:
    return {key for face in (backend.responses, backend.redirects) async for key in face.keys()}  # noqa: SIM118  # asynchronous


async def test_it_outlives_a_restart_and_a_clear(place: Place, origin: Origin) -> None:
    url = origin.on("/report", numbered)
    old = place.backend()
    assert await text(old, url, headers=TOKEN) == "1"
    await old.clear()
    assert await text(old, url, headers=TOKEN) == "2"
    await old.close()
    new = place.backend()

    assert await text(new, url, headers=TOKEN) == "2"

    assert bytes(new.digest_key) == bytes(old.digest_key)
    await new.close()


async def drop_secret(place: Place) -> None:
    """Have the store lose its secret, as one does that is emptied or has to evict."""
    if place.kind == "sqlite":
        with closing(sqlite3.connect(place.path)) as connection, connection:
            connection.execute(f"DELETE FROM {META} WHERE name = ?", (KEPT,))  # noqa: S608  # ours
    elif place.kind == "redis":
        await asyncio.to_thread(place.server.command, "UNLINK", f"{place.name}:responses-secret:")
    else:
        await place.proof.delete((SECRET_KEY,))


async def has_secret(place: Place) -> bool:
    if place.kind == "sqlite":
        with closing(sqlite3.connect(place.path)) as connection:
            found = connection.execute(f"SELECT 1 FROM {META} WHERE name = ?", (KEPT,)).fetchone()  # noqa: S608  # ours
            return found is not None
    if place.kind == "redis":
        name = f"{place.name}:responses-secret:"
        return bool(int(await asyncio.to_thread(place.server.command, "EXISTS", name)))
    (found,) = await place.proof.get((SECRET_KEY,))
    return found is not None


async def test_processes_that_run_while_the_store_loses_it_agree_with_those_that_start_later(
    place: Place, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secret, "CHECK_AFTER_S", 0.05)
    url, other = origin.on("/report", numbered), origin.on("/other", numbered)
    running, idle = place.backend(), place.backend()
    for backend in (running, idle):
        assert await backend.learn_secret()
    before = bytes(running.digest_key)

    await drop_secret(place)
    await asyncio.sleep(0.06)
    async with asyncio.timeout(10):
        while not await has_secret(place):
            await text(running, f"{other}?{uuid.uuid4()}")
            await asyncio.sleep(0.01)
    new = place.backend()
    assert await text(running, url, headers=TOKEN) == "1"
    assert await text(new, url, headers=TOKEN) == "1"
    assert bytes(new.digest_key) == before

    await drop_secret(place)
    newer = place.backend()
    assert await text(newer, url, headers=TOKEN) == "2"
    async with asyncio.timeout(10):
        while bytes(idle.digest_key) != bytes(newer.digest_key):
            await text(idle, f"{other}?{uuid.uuid4()}")
            await asyncio.sleep(0.01)
    assert await text(idle, url, headers=TOKEN) == "2"
    for backend in (running, idle, new, newer):
        await backend.close()


async def test_many_at_once_come_to_one(place: Place) -> None:
    backends = [place.backend() for _ in range(5)]

    assert all(await asyncio.gather(*(backend.learn_secret() for backend in backends for _ in range(3))))

    assert len({bytes(backend.digest_key) for backend in backends}) == 1
    for backend in backends:
        await backend.close()


async def test_a_clear_by_another_process_while_it_is_written_is_no_failure_of_the_store() -> None:
    class Cleared(ProofStore):
        is_cleared = False

        async def put(self, records: Sequence[Record]) -> Sequence[Written]:
            written = await super().put(records)
            if not self.is_cleared:
                self.is_cleared = True
                await self.clear()
            return written

    backend = CacheBackend()
    backend.use(StackCache(StoreStack(Cleared())))
    assert await backend.learn_secret()
    assert backend.stats.store_errors == {}
    await backend.close()


async def test_two_stores_have_two(place: Place, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    other = Place(place.kind, tmp_path / "b", place.server)
    backends = [place.backend(), other.backend()]
    for backend in backends:
        assert await backend.learn_secret()
        await backend.close()

    assert bytes(backends[0].digest_key) != bytes(backends[1].digest_key)


@pytest.mark.parametrize("kept", [b"short", bytes(60_000_000)], ids=["short", "huge"])
async def test_what_is_kept_and_is_no_secret_is_replaced(kept: bytes, tmp_path: Path, valkey: ValkeyServer) -> None:
    place = Place("redis", tmp_path, valkey)
    name = f"{place.name}:responses-secret:"

    await asyncio.to_thread(valkey.command, "SET", name, kept)
    backends = [place.backend(), place.backend()]
    for backend in backends:
        assert await backend.learn_secret()
        await backend.close()

    assert bytes(backends[0].digest_key) == bytes(backends[1].digest_key) != kept


async def test_a_secret_key_needs_none(place: Place) -> None:
    backend = place.backend(secret_key="a secret of sixteen")

    assert not backend.is_secret_open
    assert bytes(backend.digest_key) == bytes(digest_key_of("a secret of sixteen"))
    await backend.close()


async def test_in_memory_a_process_has_one_of_its_own(origin: Origin) -> None:
    url = origin.on("/report", numbered)
    backend = CacheBackend()

    assert not backend.is_secret_open
    assert len(backend.digest_key) == 32
    assert [await text(backend, url, headers=TOKEN) for _ in range(2)] == ["1", "1"]


async def test_a_short_password_cannot_be_guessed_from_what_is_stored(origin: Origin) -> None:
    url = origin.on("/report", numbered)
    backend = CacheBackend()
    await text(backend, url, headers=TOKEN)

    store = backend.stack.store
    assert isinstance(store, MemoryStore)
    (key,) = store.data
    entry: StoredResponse = store.item(key)
    guesses = (f"13:authorization{len(text)}:{text}" for text in (f"Bearer {number:04}" for number in range(10_000)))
    digests = {blake2b(guess.encode(), digest_size=16).hexdigest() for guess in guesses}
    assert entry.partition
    assert entry.partition not in digests


async def test_while_it_is_not_known_no_one_is_given_anothers_response(
    own_valkey: ValkeyServer, origin: Origin
) -> None:
    url = origin.on("/report", lambda request: answer(request.headers.get("Authorization", "none")))
    backend, other = RedisBackend("late", own_valkey.url), RedisBackend("late", own_valkey.url)
    for token in ("a", "b"):
        assert await text(other, url, headers={"Authorization": token}) == token
    await asyncio.to_thread(own_valkey.kill)

    for token in ("a", "b", "a", "b"):
        assert await text(backend, url, headers={"Authorization": token}) == token
    assert backend.is_secret_open
    await asyncio.to_thread(own_valkey.start)
    async with asyncio.timeout(10):
        while backend.is_secret_open:
            for token in ("a", "b"):
                assert await text(backend, url, headers={"Authorization": token}) == token

    assert await text(backend, url, headers={"Authorization": "a"}) == "a"
    await backend.close()
    await other.close()


async def test_two_storages_of_a_users_own_keep_nothing_but_what_users_put_there(origin: Origin) -> None:
    url = origin.on("/report", numbered)
    backend = CustomBackend()

    assert [await text(backend, url, headers=TOKEN) for _ in range(2)] == ["1", "1"]

    assert not backend.is_secret_open
    assert await backend.responses.size() + await backend.redirects.size() == 1


async def test_a_store_that_takes_no_writes_still_answers_reads(own_valkey: ValkeyServer, origin: Origin) -> None:
    url = origin.on("/plain", lambda request: answer(str(request.number)))
    old, new = RedisBackend("replica", own_valkey.url), RedisBackend("replica", own_valkey.url)
    assert await text(old, url) == "1"
    await old.close()
    name = "replica:responses-secret:"
    await asyncio.to_thread(own_valkey.command, "DEL", name)
    await asyncio.to_thread(own_valkey.command, "REPLICAOF", "127.0.0.1", "1")

    assert [await text(new, url) for _ in range(5)] == ["1"] * 5

    assert new.is_secret_open
    assert new.stats.hits == 5
    await new.close()
