"""Lookups that also acquire the lease on a miss, in one hop to a thread."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from aiohttp_cache_di import CachedSession, FileBackend
from aiohttp_cache_di.backends.filesystem import leases
from aiohttp_cache_di.backends.filesystem.records import files
from aiohttp_cache_di.backends.filesystem.store import FileStore
from aiohttp_cache_di.backends.store import Found, Lease, Record
from aiohttp_cache_di.backends.store.capabilities import LookingOrLeasing
from aiohttp_cache_di.errors import StorageError
from tests.backends.entries import make_entry
from tests.backends.filesystem.places import make_store
from tests.origin import Origin, answer

HELD_S = 30.0


def record(key: str, *, leased: bool = False) -> Record:
    entry = make_entry(key)
    return Record(key, entry, entry.store_until, leased=leased)


@pytest.fixture(params=["locks", "files"])
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[FileStore, FileStore]]:
    """Two stores on the same files, as in two processes."""
    made = tuple(make_store(tmp_path / "cache", use_locks=request.param == "locks") for _ in range(2))
    yield made[0], made[1]
    for store in made:
        await store.close()


async def test_a_look_that_finds_nothing_brings_the_lease(stores: tuple[FileStore, FileStore]) -> None:
    one, two = stores
    assert isinstance(one, LookingOrLeasing)
    assert await one.get_or_acquire("k", HELD_S) is Lease.GRANTED
    assert await two.get_or_acquire("k", HELD_S) is Lease.REFUSED
    assert await two.get_or_acquire("j", HELD_S) is Lease.GRANTED
    await one.put([record("k", leased=True)])
    assert isinstance(await two.get_or_acquire("k", HELD_S), Found)
    assert await one.acquire("k", HELD_S) is Lease.GRANTED_LATE, "a look that finds something holds nothing"


async def test_a_look_finds_what_was_stored_before_it_had_the_lease(
    stores: tuple[FileStore, FileStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = stores
    assert await two.acquire("k", HELD_S)
    acquire = one._leases.acquire

    def dawdle(key: str, ttl_s: float) -> bool:
        two._writer.put([record("k", leased=True)])  # the holder stores and releases
        return acquire(key, ttl_s)

    monkeypatch.setattr(one._leases, "acquire", dawdle)
    assert isinstance(await one.get_or_acquire("k", HELD_S), Found)
    assert await two.acquire("k", HELD_S), "and holds nothing"


async def test_a_look_that_is_cancelled_holds_nothing(stores: tuple[FileStore, FileStore]) -> None:
    one, two = stores
    await one.get(["opened"])
    asking = [asyncio.ensure_future(one.get_or_acquire(key, HELD_S)) for key in "abcd"]
    await asyncio.sleep(0)
    for each in asking:
        each.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    async with asyncio.timeout(10):
        for key in "abcd":
            while not await two.acquire(key, HELD_S):  # noqa: ASYNC110  # there is no event for a release
                await asyncio.sleep(0)


async def test_a_look_that_fails_as_its_caller_leaves_is_cancelled(
    stores: tuple[FileStore, FileStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = stores

    def fail(key: str, ttl_s: float) -> Lease:
        raise StorageError("the disk is gone")

    monkeypatch.setattr(one, "_look_or_lease", fail)
    asking = asyncio.ensure_future(one.get_or_acquire("k", HELD_S))
    run = one._readers.run

    def run_and_leave(*args: Any) -> asyncio.Future[Any]:
        future = run(*args)
        future.add_done_callback(lambda _: asking.cancel())  # before the caller gets the answer
        return future

    monkeypatch.setattr(one._readers, "run", run_and_leave)
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_a_look_tells_what_is_there_though_no_lease_can_be_had(
    stores: tuple[FileStore, FileStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = stores
    await one.put([record("k")])

    def refuse(key: str, ttl_s: float) -> bool:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(one._leases, "acquire", refuse)
    assert await one.get_or_acquire("j", HELD_S) is None
    assert isinstance(await one.get_or_acquire("k", HELD_S), Found)


async def test_a_cache_that_cannot_be_written_still_gives_what_it_has(
    tmp_path: Path, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = origin.on("/", answer("body"))
    async with CachedSession(cache=FileBackend(tmp_path / "cache")) as session:
        await (await session.get(url)).read()

    def refuse(*_: object) -> bool:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(leases.Leases, "acquire", refuse)
    monkeypatch.setattr(files, "create", refuse)
    async with CachedSession(cache=FileBackend(tmp_path / "cache")) as session:
        for number in range(5):
            assert await (await session.get(f"{url}?{number}")).text() == "body"
        async with session.get(url) as response:
            assert response.from_cache
        assert "read" not in session.cache.stats.circuits
