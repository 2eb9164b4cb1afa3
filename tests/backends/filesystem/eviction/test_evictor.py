"""A cache within its bounds: what is evicted, in which order, and what is swept."""

# ruff: noqa: ASYNC110, ASYNC240  # no event says that nothing happens; and tests may block
from __future__ import annotations

import asyncio
import errno
import time
from math import inf
from pathlib import Path

import pytest

from aiohttp_cache_di.backends.filesystem import FileCache
from aiohttp_cache_di.backends.filesystem.backend import DEFAULT_MAX_BYTES
from aiohttp_cache_di.backends.filesystem.eviction import counting, evictor
from aiohttp_cache_di.backends.filesystem.places.directory import Directory
from aiohttp_cache_di.backends.filesystem.places.names import name_of
from aiohttp_cache_di.backends.filesystem.records import files, uses
from aiohttp_cache_di.backends.filesystem.records.files import disk_bytes
from aiohttp_cache_di.backends.filesystem.records.packing import APART_FROM_BYTES
from aiohttp_cache_di.backends.filesystem.store import FileStore
from aiohttp_cache_di.backends.store import Record
from aiohttp_cache_di.backends.wrap.marks import LAST_PURGE_KEY, key_of
from aiohttp_cache_di.backends.wrap.upkeep import purge_tags
from aiohttp_cache_di.errors import StorageError
from tests.backends.contract import all_keys
from tests.backends.entries import make_entry
from tests.backends.filesystem.places import age, body_file, entry_file, files_in
from tests.backends.store_contract import keep, walk


@pytest.fixture(autouse=True)
def no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scan all directories without a pause, so that tests need not wait."""
    monkeypatch.setattr(evictor, "SHARE", 0)
    monkeypatch.setattr(evictor, "MIN_REST_S", 0)


def store_of(cache: FileCache) -> FileStore:
    assert isinstance(cache.stack.store, FileStore)
    return cache.stack.store


async def settled(cache: FileCache) -> None:
    """Wait until no count or eviction is running."""
    while store_of(cache)._eviction._under_way_in is not None:
        await asyncio.sleep(0.001)


async def write_until(cache: FileCache, names: set[str]) -> None:
    """Write an entry until only the files of these *names* are left; on a busy machine, a step counts few leaves."""
    async with asyncio.timeout(20):
        while True:
            await cache.write_entry(make_entry("another"))
            await settled(cache)
            if files_in(Path(cache.cache_dir)) == names:
                return


def weight(folder: Path) -> int:
    """The disk space that the files of records take."""
    return sum(disk_bytes(path.stat().st_size) for path in folder.glob("?/?/*"))


async def test_no_more_entries_are_kept_than_are_allowed(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, max_entries=10)
    for n in range(50):
        await cache.write_entry(make_entry(f"k{n}"))
        age(entry_file(tmp_path, f"k{n}"), 100 - n)
        await settled(cache)
    assert await all_keys(cache) == {f"k{n}" for n in range(40, 50)}
    assert cache.stack.stats.evicted == 40
    await cache.close()


async def test_records_of_purges_are_not_evicted_before_entries(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, max_entries=10)
    await purge_tags(cache.stack, {"a", "b"}, soft=True)
    for n in range(50):
        await cache.write_entry(make_entry(f"k{n}"))
        age(entry_file(tmp_path, f"k{n}"), 100 - n)
        await settled(cache)
    assert await all_keys(cache) == {f"k{n}" for n in range(40, 50)}
    marks = [LAST_PURGE_KEY, key_of("a", soft=True), key_of("b", soft=True)]
    assert None not in await cache.stack.store.get(marks)
    await cache.close()


async def test_records_of_purges_are_evicted_if_nothing_else_is_left(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, max_bytes=150_000)
    for n in range(40):
        await purge_tags(cache.stack, {f"{n}-{m}" for m in range(4)})
        await settled(cache)
    assert weight(tmp_path) <= 150_000
    await cache.close()


async def test_records_of_purges_that_are_gone_make_no_room_for_entries(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, max_entries=10)
    await purge_tags(cache.stack, {str(n) for n in range(40)})
    for n in range(15):
        await cache.write_entry(make_entry(f"k{n}"))
        await settled(cache)
    await cache.stack.store.delete([f"k{n}" for n in range(15)])
    await cache.stack.store.clear()
    for n in range(30):
        await cache.write_entry(make_entry(f"k{n}"))
        await settled(cache)
    assert await cache.size() == 10
    await cache.close()


async def test_no_record_of_a_purge_is_evicted_while_there_are_entries_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evictor, "SAMPLE", 4)
    other, cache = FileCache(tmp_path), FileCache(tmp_path, max_entries=10)  # as two processes
    tags = {str(n) for n in range(60)}
    await purge_tags(other.stack, tags)
    for n in range(40):
        await cache.write_entry(make_entry(f"k{n}"))
        await settled(cache)
    marks = [LAST_PURGE_KEY, *(key_of(tag, soft=False) for tag in tags)]
    assert None not in await cache.stack.store.get(marks)
    assert await cache.size() <= 10
    await cache.close()
    await other.close()


async def test_what_was_used_last_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uses, "NOTED_EVERY_S", 0)
    cache = FileCache(tmp_path, max_entries=10)
    for n in range(10):
        await cache.write_entry(make_entry(f"k{n}"))
        age(entry_file(tmp_path, f"k{n}"), 100 - n)
    await cache.read_entry("k0")
    for n in range(10, 18):
        await cache.write_entry(make_entry(f"k{n}"))
        await settled(cache)
    assert "k0" in await all_keys(cache)
    assert await cache.size() == 10
    await cache.close()


async def test_a_use_is_noted_once_a_minute_at_most(tmp_path: Path) -> None:
    cache = FileCache(tmp_path)
    await cache.write_entry(make_entry("k"))
    path = entry_file(tmp_path, "k")
    age(path, 1000)
    before = path.stat().st_mtime
    await cache.read_entry("k")
    assert path.stat().st_mtime == before  # this process wrote it a moment ago
    await cache.close()
    other = FileCache(tmp_path)
    await other.read_entry("k")
    assert path.stat().st_mtime > before + 900
    age(path, 1000)
    await other.read_entry("k")
    assert path.stat().st_mtime < before + 900
    await other.close()


async def test_a_walk_is_no_use(tmp_path: Path) -> None:
    cache = FileCache(tmp_path)
    await cache.write_entry(make_entry("k"))
    await cache.close()
    age(entry_file(tmp_path, "k"), 1000)
    before = entry_file(tmp_path, "k").stat().st_mtime
    other = FileCache(tmp_path)
    assert len([item async for item in other.values()]) == 1
    assert entry_file(tmp_path, "k").stat().st_mtime == before
    await other.close()


async def test_what_has_expired_goes_first_and_then_what_cannot_be_read(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, max_entries=10)
    for n in range(10):
        until = time.time() - 10 if n in (7, 8) else time.time() + 99
        await cache.write_entry(make_entry(f"k{n}", store_until=until))
        age(entry_file(tmp_path, f"k{n}"), 100 - n)
    entry_file(tmp_path, "k9").write_bytes(b"torn")
    for n in range(10, 13):
        await cache.write_entry(make_entry(f"k{n}"))
        await settled(cache)
    assert await all_keys(cache) == {f"k{n}" for n in range(13) if n not in (7, 8, 9)}
    await cache.close()


async def test_bytes_are_bounded_bodies_included(tmp_path: Path) -> None:
    bound = 20 * APART_FROM_BYTES
    cache = FileCache(tmp_path, max_bytes=bound)
    for n in range(60):
        await cache.write_entry(make_entry(f"k{n}", bytes(APART_FROM_BYTES + n)))
        await settled(cache)
        assert weight(tmp_path) <= bound
    assert weight(tmp_path) > bound * 0.8
    assert len(files_in(tmp_path)) == 2 * await cache.size()
    await cache.close()


async def test_the_bound_holds_with_more_entries_than_a_sample(tmp_path: Path) -> None:
    bound = 600 * 4096
    cache = FileCache(tmp_path, max_bytes=bound)
    store = store_of(cache)
    for first in range(0, 2000, 50):
        await store.put([Record(f"k{n}", make_entry(f"k{n}"), 1e12) for n in range(first, first + 50)])
        await settled(cache)
    assert bound * 0.8 < weight(tmp_path) <= bound
    kept = await all_keys(cache)
    newest = {f"k{n}" for n in range(1700, 2000)}
    assert len(kept & newest) > len(newest) * 0.6  # 600 entries fit; a random choice would keep half as many
    await cache.close()


async def test_writing_the_same_again_and_again_evicts_nothing(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, max_bytes=10 * APART_FROM_BYTES)
    await cache.write_entry(make_entry("other"))
    for _ in range(100):
        await cache.write_entry(make_entry("k", bytes(APART_FROM_BYTES)))
        await settled(cache)
    assert await all_keys(cache) == {"other", "k"}
    assert cache.stack.stats.evicted == 0
    await cache.close()


async def test_entries_that_another_process_wrote_count_too(tmp_path: Path) -> None:
    cache, other = FileCache(tmp_path, max_entries=20), FileCache(tmp_path)
    await cache.write_entry(make_entry("first"))
    await settled(cache)
    for n in range(50):
        await other.write_entry(make_entry(f"o{n}"))
    async with asyncio.timeout(10):
        while await cache.size() > 20:
            await cache.write_entry(make_entry("last"))
            await settled(cache)
    assert await cache.size() == 20
    assert await cache.contains("last")
    await cache.close()
    await other.close()


async def test_what_is_written_while_its_leaf_is_counted_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = FileCache(tmp_path)
    await cache.write_entry(make_entry("k"))
    await settled(cache)
    store, really_list = store_of(cache), counting._files

    def listed(leaf: Directory) -> object:
        found = really_list(leaf)
        monkeypatch.setattr(counting, "_files", really_list)
        store._writer.put([Record("k", make_entry("k", bytes(50_000)), inf)])
        return found

    monkeypatch.setattr(counting, "_files", listed)
    await asyncio.to_thread(store._eviction._evictor.counts.count, name_of("k")[:2], time.time())
    assert store._eviction._evictor.counts.total == (weight(tmp_path), 1)
    await cache.close()


async def test_what_is_larger_than_the_bound_does_not_stay(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, max_bytes=100_000)
    await cache.write_entry(make_entry("k", bytes(200_000)))
    await settled(cache)
    assert files_in(tmp_path) == set()
    await cache.close()


async def test_a_gibibyte_is_the_bound_unless_another_is_given(tmp_path: Path) -> None:
    assert store_of(FileCache(tmp_path))._eviction._evictor._bounds == (DEFAULT_MAX_BYTES, None)
    assert store_of(FileCache(tmp_path, max_bytes=None))._eviction._evictor._bounds == (None, None)


# ---- remnants


async def test_what_a_process_left_over_is_removed_when_it_is_old(tmp_path: Path) -> None:
    cache = FileCache(tmp_path)
    await cache.write_entry(make_entry("k", bytes(APART_FROM_BYTES)))
    entry, body = entry_file(tmp_path, "k"), body_file(tmp_path, "k")
    young, old = {".tmp": 200, "": 200, ".lease": 3000}, {".tmp": 400, "": 400, ".lease": 4000}
    remnants: dict[bool, set[str]] = {False: set(), True: set()}
    for is_old, ages in enumerate((young, old)):
        for n, (suffix, seconds) in enumerate(ages.items()):
            for name in (entry.name, "f" * 40):  # of an existing entry, and of none
                path = entry.with_name(f"{name}.{is_old}{n:015}{suffix}")
                path.touch()
                age(path, seconds)
                remnants[bool(is_old)].add(path.name)
    age(body, 1_000_000)
    await settled(cache)
    await write_until(cache, {entry.name, body.name, entry_file(tmp_path, "another").name} | remnants[False])
    assert await cache.read_entry("k") is not None
    await cache.close()


async def test_two_that_replace_an_entry_at_once_leave_a_body_that_is_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = FileCache(tmp_path)
    await cache.write_entry(make_entry("k", bytes(APART_FROM_BYTES)))
    real = files.see

    def see_nothing(leaf: Directory, name: str) -> None:
        """Hide the entry of the other writer."""

    monkeypatch.setattr(files, "see", see_nothing)
    await cache.write_entry(make_entry("k", bytes(2 * APART_FROM_BYTES)))
    monkeypatch.setattr(files, "see", real)
    assert len(files_in(tmp_path)) == 3
    for path in tmp_path.glob("?/?/*.*"):
        age(path, 1000)
    names = {
        path.name for path in (entry_file(tmp_path, "k"), body_file(tmp_path, "k"), entry_file(tmp_path, "another"))
    }
    await write_until(cache, names)
    entry = await cache.read_entry("k")
    assert entry is not None
    assert len(entry.body) == 2 * APART_FROM_BYTES
    await cache.close()


async def test_expired_records_go_with_their_bodies_when_asked_for(tmp_path: Path) -> None:
    cache = FileCache(tmp_path)
    now = time.time()
    for n in range(300):
        until = now + (10 if n % 2 else 1000)
        await keep(store_of(cache), f"k{n}", make_entry(f"k{n}", store_until=until), until=until)
    until = now + 10
    await keep(store_of(cache), "body", make_entry("body", bytes(APART_FROM_BYTES), until), until=until)
    assert await cache.delete_expired(now + 100) == 151
    assert len(await walk(store_of(cache))) == len(files_in(tmp_path)) == 150
    await cache.close()


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The size of the disk in bytes, in a list; writes beyond it fail as on a full disk."""
    size = [400_000]
    write_all = files.write_all

    def write(fd: int, data: bytes) -> None:
        if weight(tmp_path) + disk_bytes(len(data)) > size[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_all(fd, data)

    monkeypatch.setattr(files, "write_all", write)
    return size


async def test_a_disk_that_is_full_before_a_bound_is_passed_keeps_what_is_used(
    tmp_path: Path, disk: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evictor, "FULL_EVERY_S", 0)
    cache = FileCache(tmp_path)
    refused = 0
    for n in range(120):
        entry = make_entry(f"k{n}", bytes(10_000))
        try:
            await cache.write_entry(entry)
        except StorageError:
            refused += 1
            await settled(cache)
            await cache.write_entry(entry)
        age(entry_file(tmp_path, f"k{n}"), 1000 - n)
        await settled(cache)
    assert 0 < refused <= 90
    kept = await all_keys(cache)
    assert "k119" in kept
    assert len(kept) >= 20
    assert cache.stack.stats.evicted >= 90
    await cache.close()


async def test_what_is_too_large_for_a_full_disk_does_not_cost_all_that_is_kept(
    tmp_path: Path, disk: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evictor, "FULL_EVERY_S", 1000)
    cache = FileCache(tmp_path)
    for n in range(30):
        await cache.write_entry(make_entry(f"k{n}", bytes(10_000)))
    for _ in range(20):
        with pytest.raises(StorageError, match="No space left"):
            await cache.write_entry(make_entry("large", bytes(500_000)))
        await settled(cache)
    assert len(await all_keys(cache)) >= 25
    await cache.close()


async def test_what_has_expired_goes_first_where_the_disk_is_full(tmp_path: Path, disk: list[int]) -> None:
    cache = FileCache(tmp_path)
    for n in range(25):
        await cache.write_entry(make_entry(f"k{n}", bytes(10_000), store_until=1 if n % 5 else inf))
    disk[0] = 0
    with pytest.raises(StorageError, match="No space left"):
        await cache.write_entry(make_entry("new", bytes(10_000)))
    await settled(cache)
    kept = await all_keys(cache)
    assert kept >= {f"k{n}" for n in range(0, 25, 5)}
    assert len(kept) < 25
    await cache.close()
