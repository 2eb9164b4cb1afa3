"""The public behaviour of FileBackend and FileCache."""

from __future__ import annotations

import asyncio
import inspect
import os
import stat
import tempfile
import threading
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from aiohttp_cache_di import CachedSession, ConfigurationError, FileBackend, FileCache
from aiohttp_cache_di.backends.filesystem.pool import Pool
from aiohttp_cache_di.backends.filesystem.records.packing import APART_FROM_BYTES
from aiohttp_cache_di.backends.store import sizes
from aiohttp_cache_di.backends.tasks import FINISH_WITHIN_S
from aiohttp_cache_di.backends.wrap.guarding import guard
from aiohttp_cache_di.errors import StorageError
from aiohttp_cache_di.response import CachedResponse
from tests.backends.entries import make_entry
from tests.backends.filesystem.places import entry_file, files_in
from tests.origin import Origin, answer

MakeBackend = Callable[..., FileBackend]


@pytest.fixture
def make_backend(tmp_path: Path) -> MakeBackend:
    """Make backends on one directory."""
    return partial(FileBackend, tmp_path / "cache")


def test_parameters_and_defaults_are_the_documented_ones() -> None:
    def parameters(made: type[Any]) -> dict[str, Any]:
        _, *found = inspect.signature(made.__init__).parameters.values()
        return {each.name: each.default for each in found if each.kind is not each.VAR_KEYWORD}

    assert parameters(FileBackend) == {"cache_name": "http_cache", "use_temp": False, "autoclose": True}
    assert parameters(FileCache) == {"cache_name": inspect.Parameter.empty, "use_temp": False}


@pytest.mark.parametrize(
    "size", [0, APART_FROM_BYTES - 1, APART_FROM_BYTES, APART_FROM_BYTES + 1, 399_000, 5_000_000, 17_000_000]
)
@pytest.mark.parametrize("secret_key", [None, "sixteen characters"])
async def test_a_body_of_any_size_is_kept_and_goes_with_its_entry(
    tmp_path: Path, make_backend: MakeBackend, size: int, secret_key: str | None
) -> None:
    backend = make_backend(secret_key=secret_key)
    entry = make_entry("k", os.urandom(size))
    await backend.responses.write("k", CachedResponse.from_stored(entry))
    item = await backend.responses.read("k")
    assert isinstance(item, CachedResponse)
    assert item.stored == entry
    assert len(files_in(tmp_path / "cache")) == (1 if size < APART_FROM_BYTES else 2)
    await backend.responses.write("k", CachedResponse.from_stored(entry))
    assert len(files_in(tmp_path / "cache")) == (1 if size < APART_FROM_BYTES else 2)
    await backend.delete("k")
    assert files_in(tmp_path / "cache") == set()
    await backend.close()


@pytest.mark.shortcuts
async def test_look_ups_whose_callers_leave_are_no_failure_of_the_files(
    tmp_path: Path, origin: Origin, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    url = origin.on("/", answer("body"))
    monkeypatch.setattr(guard, "_SUSPECT", 0)  # however long they have taken
    async with CachedSession(cache=FileBackend(tmp_path / "cache", storage_deadline=30)) as session:
        await (await session.get(url)).read()
        await session.cache.settle()
        assert isinstance(session.cache.responses, FileCache)
        store = session.cache.responses._store
        may_go_on = threading.Event()
        for _ in range(store._readers.size):
            store._readers.run(partial(may_go_on.wait, 10))
        asking = [asyncio.ensure_future(session.get(f"{url}?{number}")) for number in range(20)]
        async with asyncio.timeout(20):
            while store._readers._queue.qsize() < 5:  # noqa: ASYNC110  # no thread takes any, and there is no event for it
                await asyncio.sleep(0)
        for each in asking:
            each.cancel()
        await asyncio.wait(asking)
        may_go_on.set()
        async with session.get(url) as response:
            assert response.from_cache
        assert session.cache.stats.store_errors == {}
        assert session.cache.stats.health().status == "ok"
    assert caplog.messages == []


async def test_closing_waits_once_for_all_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = FileCache(tmp_path / "cache")
    store, finish, waits = cache._store, Pool.finish, list[float]()

    async def noted(pool: Pool, within_s: float) -> None:
        waits.append(within_s)
        await finish(pool, within_s)

    monkeypatch.setattr(Pool, "finish", noted)
    answer = threading.Event()  # as of a file system that does not answer
    for pool in (store._readers, store._writers):
        for _ in range(pool.size):
            pool.run(partial(answer.wait, 60))
    await cache.close()
    answer.set()
    assert sum(waits[: len(store._pools)]) == pytest.approx(FINISH_WITHIN_S, abs=0.1)


async def test_the_paths_are_those_of_the_entries(tmp_path: Path) -> None:
    cache = FileCache(tmp_path / "cache")
    for key in ("one", "two"):
        await cache.write_entry(make_entry(key, bytes(2 * APART_FROM_BYTES)))
    assert {path async for path in cache.paths()} == {
        str(entry_file(tmp_path / "cache", key)) for key in ("one", "two")
    }
    await cache.close()


async def test_files_are_for_their_user_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        cache = FileCache(tmp_path / "above" / "cache")
        await cache.write_entry(make_entry("k", bytes(2 * APART_FROM_BYTES)))
        assert await cache.acquire_lease("k", 5)
        await cache.close()
    finally:
        os.umask(before)
    found = list((tmp_path / "above").rglob("*"))
    assert {stat.S_IMODE(path.stat().st_mode) for path in found if path.is_dir()} == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in found if path.is_file()} == {0o600}
    assert {path.name for path in found if path.is_file()} > {"leases"}


async def test_names_tell_nothing_but_a_digest(tmp_path: Path, origin: Origin) -> None:
    url = origin.on("/s3cr3t-path", answer("body"))
    async with CachedSession(cache=FileBackend(tmp_path / "cache")) as session, session.get(url) as response:
        await response.read()
    (path,) = (tmp_path / "cache").glob("?/?/*")
    assert len(path.name) == 40
    assert set(path.name) <= set("0123456789abcdef")
    assert path.parent == tmp_path / "cache" / path.name[0] / path.name[1]


async def test_a_temporary_cache_is_in_the_directory_for_such_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    cache = FileCache("name", use_temp=True)
    await cache.write_entry(make_entry("k"))
    assert cache.cache_dir == str(tmp_path / "name")
    assert entry_file(tmp_path / "name", "k").exists()
    await cache.close()
    assert FileCache(tmp_path / "whole", use_temp=True).cache_dir == str(tmp_path / "whole")


def test_a_relative_path_is_that_of_the_directory_in_which_it_was_given(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    cache = FileCache("name")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    assert cache.cache_dir == str(tmp_path / "name")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert FileCache("~/name").cache_dir == str(tmp_path / "name")


async def test_a_home_that_there_is_not_is_an_error_with_the_way_out_and_no_hang() -> None:
    cache = FileCache("~no-such-user/cache")  # in a loop, so a thread resolves it
    async with asyncio.timeout(30):
        for _ in range(2):
            with pytest.raises(
                StorageError, match=r"~no-such-user/cache.*: there is no such home directory; give a whole"
            ):
                await cache.read_entry("k")
        await cache.close()
    with pytest.raises(StorageError, match="no such home directory"):
        await asyncio.to_thread(FileCache, "~no-such-user/cache")


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"fsnyc": True}, TypeError, "fsnyc"),
        ({"secret_key": ""}, ConfigurationError, "secret_key"),
        ({"max_bytes": -1}, ConfigurationError, "max_bytes"),
        ({"max_entries": "x"}, ConfigurationError, "max_entries"),
        ({"fsync": "no"}, ConfigurationError, "fsync"),
    ],
)
def test_an_option_that_cannot_be_used_is_an_error_at_once(
    tmp_path: Path, options: Any, error: type[Exception], text: str
) -> None:
    for make in (FileBackend, FileCache):
        with pytest.raises(error, match=text):
            make(tmp_path, **options)


async def test_a_signature_is_for_one_cache(tmp_path: Path) -> None:
    one, two = (FileCache(tmp_path / name, secret_key="sixteen characters") for name in ("one", "two"))
    await one.write_entry(make_entry("k"))
    await two.write_entry(make_entry("k", b"another"))
    os.replace(entry_file(tmp_path / "one", "k"), entry_file(tmp_path / "two", "k"))
    assert await two.read_entry("k") is None
    assert two.stack.stats.unreadable == 1
    await one.close()
    await two.close()


def test_a_backend_says_where_it_is(tmp_path: Path) -> None:
    backend = FileBackend(tmp_path)
    assert repr(backend).startswith(f"<FileBackend {str(tmp_path)!r} at {tmp_path}:")
    assert repr(backend.responses) == f"<FileCache in {str(tmp_path)!r}>"


async def test_a_body_that_is_larger_than_any_that_is_kept_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sizes, "VALUE_BYTES", 1000)
    large, small = (FileBackend(tmp_path / "cache", max_body_bytes=size) for size in (10_000_000, 1000))
    body = bytes(6_000_000)
    await large.responses.write_entry(make_entry("k", body))
    entry = await large.responses.read_entry("k")
    assert entry is not None
    tracemalloc.start()
    try:
        assert await small.responses.read_entry("k") is None
        assert [url async for url in small.get_urls()] == []
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    with pytest.raises(StorageError):
        await small.responses.write_entry(make_entry("other", body))
    for backend in (large, small):
        await backend.close()
