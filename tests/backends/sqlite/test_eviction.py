"""A file within its bounds: what is evicted, in which order, and that no caller has to wait for it."""

# ruff: noqa: ASYNC110, ASYNC240  # no event says that nothing happens; and tests may block
from __future__ import annotations

import asyncio
import math
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from aiohttp_cache_di.backends.sqlite import DEFAULT_MAX_BYTES, SQLiteBackend, SQLiteCache
from aiohttp_cache_di.backends.sqlite.eviction import _oldest, used_bytes
from aiohttp_cache_di.backends.sqlite.writing.writes import Transaction
from aiohttp_cache_di.backends.wrap.marks import LAST_PURGE_KEY, key_of
from aiohttp_cache_di.backends.wrap.upkeep import purge_tags
from tests.backends.contract import all_keys
from tests.backends.entries import make_entry


async def settled(cache: SQLiteCache) -> None:
    """Wait until no eviction is running."""
    here = cache._store.database.here()
    assert here is not None
    while here.evictor._running or not here.connections.writes.is_idle:
        await asyncio.sleep(0.001)


async def test_no_more_entries_are_kept_than_are_allowed(tmp_path: Path) -> None:
    cache = SQLiteCache(tmp_path / "cache", max_entries=10)
    for n in range(50):
        await cache.write_entry(make_entry(f"k{n}"))
    await settled(cache)
    assert await all_keys(cache) == {f"k{n}" for n in range(40, 50)}
    assert cache.stack.stats.evicted == 40
    await cache.close()


async def test_what_was_used_last_stays(tmp_path: Path) -> None:
    cache = SQLiteCache(tmp_path / "cache", max_entries=10)
    for n in range(10):
        await cache.write_entry(make_entry(f"k{n}"))
    await cache.read_entry("k0")
    assert cache.peek("k1") is not None
    for n in range(10, 18):
        await cache.write_entry(make_entry(f"k{n}"))
    await settled(cache)
    assert {"k0", "k1"} < await all_keys(cache)
    assert await cache.size() == 10
    await cache.close()


async def test_what_has_expired_goes_first(tmp_path: Path) -> None:
    cache = SQLiteCache(tmp_path / "cache", max_entries=10)
    for n in range(10):
        await cache.write_entry(
            make_entry(f"k{n}", store_until=time.time() - 10 if n in (7, 8, 9) else time.time() + 99)
        )
    for n in range(10, 13):
        await cache.write_entry(make_entry(f"k{n}"))
    await settled(cache)
    assert await all_keys(cache) == {f"k{n}" for n in range(13) if n not in (7, 8, 9)}
    await cache.close()


async def test_records_of_purges_are_not_evicted_before_entries(tmp_path: Path) -> None:
    cache = SQLiteCache(tmp_path / "cache", max_entries=10)
    await purge_tags(cache.stack, {"a", "b"}, soft=True)
    for n in range(50):
        await cache.write_entry(make_entry(f"k{n}"))
    await settled(cache)
    assert await all_keys(cache) == {f"k{n}" for n in range(40, 50)}
    marks = [LAST_PURGE_KEY, key_of("a", soft=True), key_of("b", soft=True)]
    assert None not in await cache.stack.store.get(marks)
    await cache.close()


async def test_records_of_purges_are_not_passed_over_to_find_what_is_evicted(tmp_path: Path) -> None:
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1

    def count(transaction: Transaction) -> int:
        transaction.connection.set_progress_handler(step, 10)
        try:
            return len(_oldest(transaction.connection, transaction.table, 5))
        finally:
            transaction.connection.set_progress_handler(None, 10)

    cache = SQLiteCache(tmp_path / "cache")
    for n in range(20):
        await purge_tags(cache.stack, {f"{n}-{m}" for m in range(100)})
    for n in range(10):
        await cache.write_entry(make_entry(f"k{n}"))
    here = cache._store.database.here()
    assert here is not None
    assert await here.connections.call(count) == 5
    assert steps < 100, "2,000 records of purges came first"
    await cache.close()


async def test_records_of_purges_are_evicted_if_nothing_else_is_left(tmp_path: Path) -> None:
    cache = SQLiteCache(tmp_path / "cache", max_bytes=150_000)
    for n in range(40):
        await purge_tags(cache.stack, {f"{n}-{m}" for m in range(32)})
    await settled(cache)
    here = cache._store.database.here()
    assert here is not None
    assert await here.connections.call(lambda transaction: used_bytes(transaction.connection)) <= 150_000
    await cache.close()


async def test_entries_that_another_process_wrote_count_too(tmp_path: Path) -> None:
    cache = SQLiteCache(tmp_path / "cache", max_entries=20)
    other = SQLiteCache(tmp_path / "cache")
    await cache.write_entry(make_entry("first"))
    await settled(cache)
    for n in range(50):
        await other.write_entry(make_entry(f"o{n}"))
    here = cache._store.database.here()
    assert here is not None
    here.evictor._counted_at -= 2  # a while later
    await cache.write_entry(make_entry("last"))
    await settled(cache)
    assert await cache.size() == 20
    assert await cache.contains("last")
    await cache.close()
    await other.close()


async def test_the_file_stays_within_its_bytes(tmp_path: Path) -> None:
    cache = SQLiteCache(tmp_path / "cache", max_bytes=2_000_000)
    for start in range(0, 1500, 50):
        await asyncio.gather(*(cache.write_entry(make_entry(f"k{n}", bytes(9000))) for n in range(start, start + 50)))
    await settled(cache)
    size = await cache.size()
    assert 150 < size < 215
    assert await cache.contains("k1499")
    assert not await cache.contains("k0")
    await cache.close()
    # Free pages are reused or returned to the file system.
    assert os.path.getsize(tmp_path / "cache.sqlite") < 2_000_000 + 1_200_000


async def test_both_storages_of_a_backend_share_the_bound_and_evictions_are_counted(tmp_path: Path) -> None:
    backend = SQLiteBackend(str(tmp_path / "cache"), max_bytes=1_000_000)
    assert isinstance(backend.responses, SQLiteCache)
    for n in range(300):
        await backend.responses.write_entry(make_entry(f"k{n}", bytes(9000)))
        await backend.redirects.write(f"alias{n}", f"k{n}")
    await settled(backend.responses)
    count = await backend.responses.size() + await backend.redirects.size()
    assert count < 300
    assert backend.stats.evicted == 600 - count
    await backend.close()


async def test_a_bound_that_nothing_fits_in_keeps_nothing_and_ends(tmp_path: Path) -> None:
    cache = SQLiteCache(tmp_path / "cache", max_bytes=1000)
    for n in range(20):
        await cache.write_entry(make_entry(f"k{n}"))
    await settled(cache)
    assert await cache.size() <= 1
    await cache.close()


async def test_an_unbounded_file_evicts_nothing_and_the_default_is_bounded(tmp_path: Path) -> None:
    assert SQLiteCache("x")._store.database.bounds.max_bytes == DEFAULT_MAX_BYTES
    cache = SQLiteCache(tmp_path / "cache", max_bytes=None, max_entries=None)
    await asyncio.gather(*(cache.write_entry(make_entry(f"k{n}")) for n in range(500)))
    await settled(cache)
    assert await cache.size() == 500
    await cache.close()


async def slowest_tick(stop: asyncio.Event) -> float:
    """The duration in seconds of the longest iteration of the loop until *stop* is set."""
    slowest = 0.0
    while not stop.is_set():
        begun = time.perf_counter()
        await asyncio.sleep(0)
        slowest = max(slowest, time.perf_counter() - begun)
    return slowest


def plant(path: Path, count: int, until: Callable[[int], float]) -> None:
    """Write rows as another process would, all in one transaction."""
    connection = sqlite3.connect(path)
    rows = [(b"%020d" % n, int(until(n) * 1000), n, bytes(2000)) for n in range(count)]
    with connection:
        connection.executemany('INSERT INTO "cache:t" (key, store_until, used, frame) VALUES (?, ?, ?, ?)', rows)
    connection.close()


async def test_expiring_half_is_quick_and_leaves_room_for_others(tmp_path: Path) -> None:
    cache = SQLiteCache(tmp_path / "cache", "t")
    await cache.write_entry(make_entry("kept"))
    now = time.time()
    await asyncio.to_thread(plant, tmp_path / "cache.sqlite", 20_000, lambda n: now + (-50 if n % 2 else 5000))
    before = os.path.getsize(tmp_path / "cache.sqlite")
    other = SQLiteCache(tmp_path / "cache", "t", timeout=2.0)  # more than all steps take, but on a busy machine
    expiring = asyncio.ensure_future(cache.delete_expired(now))
    writes = 0
    while not expiring.done():
        await other.write_entry(make_entry(f"other{writes}"))  # raises if it waits too long
        writes += 1
    assert await expiring == 10_000
    assert writes > 3
    assert await cache.size() == 10_001 + writes
    await other.close()
    await settled(cache)
    await cache.close()
    assert os.path.getsize(tmp_path / "cache.sqlite") < 0.75 * before  # half-filled pages remain


async def slowest_tick_of_evicting_and_clearing(folder: Path) -> float:
    cache = SQLiteCache(folder / "cache", "t", max_bytes=5_000_000)
    await cache.write_entry(make_entry("kept"))
    await asyncio.to_thread(plant, folder / "cache.sqlite", 10_000, lambda _: time.time() + 5000)
    stop = asyncio.Event()
    watching = asyncio.ensure_future(slowest_tick(stop))
    for n in range(30):
        await cache.write_entry(make_entry(f"k{n}", bytes(9000)))
    await settled(cache)
    assert await cache.size() < 2600
    await cache.clear()
    assert await cache.size() == 0
    stop.set()
    await cache.close()
    return await watching


async def test_evicting_and_clearing_never_hold_the_loop_up(tmp_path: Path) -> None:
    slowest = math.inf
    for n in range(3):  # the machine does not stall each time
        (folder := tmp_path / f"{n}").mkdir()
        slowest = min(slowest, await slowest_tick_of_evicting_and_clearing(folder))
        if slowest < 0.25:
            break
    assert slowest < 0.25  # 10 ms on an idle machine


async def test_what_is_written_while_all_is_cleared_stays(tmp_path: Path) -> None:
    cache = SQLiteCache(tmp_path / "cache", "t")
    await cache.write_entry(make_entry("old"))
    await asyncio.to_thread(plant, tmp_path / "cache.sqlite", 3000, lambda _: time.time() + 5000)
    clearing = asyncio.ensure_future(cache.clear())
    await asyncio.sleep(0)
    await cache.write_entry(make_entry("new"))
    await clearing
    assert await all_keys(cache) == {"new"}
    await cache.close()
