"""Leases on a SQLite file: by locks of the kernel, and by a table where the platform has none."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import sqlite3
import stat
import sys
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from aiohttp_cache_di.backends.disk import byte_locks
from aiohttp_cache_di.backends.sqlite import SQLiteCache
from aiohttp_cache_di.backends.sqlite.file.schema import MAX_BATCH
from aiohttp_cache_di.backends.sqlite.looking import waits
from aiohttp_cache_di.backends.sqlite.shared import leases as leases_module
from aiohttp_cache_di.backends.sqlite.store import SQLiteStore
from aiohttp_cache_di.backends.store import Found, Lease, Record
from tests.backends.entries import make_entry
from tests.backends.sqlite.test_store_contract import make_store
from tests.backends.store_contract import MakeStore, StoreContract
from tests.posix import posix_only
from tests.programs import started
from tests.times import in_time

needs_locks = pytest.mark.skipif(not byte_locks.ARE_THERE, reason="the platform has no locks of open files")
HELD_S = 60.0
HOLDER = """
import asyncio, sys
from aiohttp_cache_di.backends.sqlite import SQLiteCache
async def main():
    cache = SQLiteCache(sys.argv[1], "responses")
    print(int(await cache.acquire_lease("k", float(sys.argv[2]))), flush=True)
    sys.stdin.readline()
    await cache.close()
asyncio.run(main())
"""


@pytest.fixture(params=[pytest.param("locks", marks=needs_locks), "table"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The kind of leases: by locks or by a table."""
    kind: str = request.param
    if kind == "table":
        monkeypatch.setattr(byte_locks, "ARE_THERE", False)
    return kind


@pytest.fixture
async def cache(kind: str, tmp_path: Path) -> AsyncIterator[SQLiteCache]:
    storage = SQLiteCache(tmp_path / "cache", "responses")
    yield storage
    await storage.close()


@pytest.fixture
async def other(cache: SQLiteCache, tmp_path: Path) -> AsyncIterator[SQLiteCache]:
    storage = SQLiteCache(tmp_path / "cache", "responses")
    yield storage
    await storage.close()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SQLiteStore]:
    made = make_store(tmp_path / "cache")
    yield made
    await made.close()


def entry(key: str, *, leased: bool = False) -> Record:
    return Record(key, make_entry(key), math.inf, leased=leased)


class TestTable(StoreContract):
    """The contract of stores on a platform without locks of open files."""

    @pytest.fixture
    def make(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeStore:
        monkeypatch.setattr(byte_locks, "ARE_THERE", False)
        return partial(make_store, tmp_path / "cache")


# ---- both kinds


async def test_a_lease_has_one_holder_among_all_processes(cache: SQLiteCache, other: SQLiteCache) -> None:
    assert await cache.acquire_lease("k", 5)
    assert not await cache.acquire_lease("k", 5)
    assert not await other.acquire_lease("k", 5)
    await other.release_lease("k")
    assert not await other.acquire_lease("k", 5)
    await cache.release_lease("k")
    assert await other.acquire_lease("k", 5)


async def test_a_lease_that_was_not_given_back_ends(cache: SQLiteCache, other: SQLiteCache) -> None:
    async def ask_both(ttl_s: float) -> tuple[bool, bool]:
        key = f"k{ttl_s}"
        return bool(await cache.acquire_lease(key, ttl_s)), bool(await other.acquire_lease(key, 5))

    ttl_s, granted = await in_time(0.05, ask_both)
    assert granted == (True, False)
    await asyncio.sleep(ttl_s + 0.01)
    assert await other.acquire_lease(f"k{ttl_s}", 5)


async def test_leases_that_are_asked_for_together_are_each_answered_for_themselves(
    cache: SQLiteCache, other: SQLiteCache
) -> None:
    count = 2 * MAX_BATCH
    await asyncio.gather(*(other.acquire_lease(f"{number}", 5) for number in range(0, count, 3)))
    await cache.write_entry(make_entry("1"))
    async with asyncio.timeout(20):
        first, *answers = await asyncio.gather(
            cache.acquire_lease("first", 5),  # runs while the others are collected
            *(cache.acquire_lease(f"{number}", 5) for number in range(count)),
            *(cache.acquire_lease(f"{number}", 5) for number in range(count)),
        )
    assert first
    once = [Lease.REFUSED if number % 3 == 0 else Lease.GRANTED for number in range(count)]
    assert answers[count:] == [Lease.REFUSED] * count
    assert answers[:count] == [once[0], Lease.GRANTED_LATE, *once[2:]]
    await asyncio.gather(*(cache.release_lease(f"{number}") for number in range(count)))
    assert not await cache.acquire_lease("0", 5), "it is another's"
    assert await other.acquire_lease("2", 5)


async def test_a_lease_goes_back_with_what_is_written(cache: SQLiteCache, other: SQLiteCache) -> None:
    assert await cache.acquire_lease("k", HELD_S) is Lease.GRANTED
    await cache._store.put([entry("k", leased=True)])
    assert await other.acquire_lease("k", HELD_S) is Lease.GRANTED_LATE


async def test_a_lease_that_could_not_be_written_with_is_held_until_it_is_given_back(
    cache: SQLiteCache, other: SQLiteCache
) -> None:
    assert await cache.acquire_lease("k", HELD_S)
    blocker = sqlite3.connect(cache.filename, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(Exception, match="locked"):
        await cache._store.put([entry("k", leased=True)])
    blocker.execute("ROLLBACK")
    blocker.close()
    assert not await other.acquire_lease("k", HELD_S)
    await cache.release_lease("k")
    assert await other.acquire_lease("k", HELD_S)


async def test_who_waits_is_woken_by_what_is_stored(kind: str, cache: SQLiteCache, other: SQLiteCache) -> None:
    assert await cache.acquire_lease("k", HELD_S)
    assert not await other.acquire_lease("k", HELD_S)
    await other.write_entry(make_entry("another"))  # from now on it has versions
    waiting = asyncio.ensure_future(other._store.until_free("k", HELD_S))
    await asyncio.sleep(0.02)
    assert not waiting.done()
    await cache._store.put([entry("k", leased=True)])
    async with asyncio.timeout(HELD_S / 2):  # it is woken, not timed out
        await waiting


async def test_who_waits_waits_no_longer_than_told(cache: SQLiteCache) -> None:
    assert await cache.acquire_lease("k", HELD_S)
    async with asyncio.timeout(20):
        await cache._store.until_free("k", 0.01)


# ---- the table


@pytest.mark.parametrize("kind", ["table"], indirect=True)
async def test_a_lease_from_a_clock_that_was_wrong_is_void(cache: SQLiteCache) -> None:
    await cache.acquire_lease("k", 5)
    here = cache._store.database.here()
    assert here is not None
    await here.connections.call(
        lambda transaction: (
            transaction.connection.execute(
                'UPDATE "aiohttp_cache_di:leases" SET until = ?', (time.time() + 1e6,)
            ).rowcount
        )
    )
    assert await cache.acquire_lease("k", 5)


@pytest.mark.parametrize("kind", ["table"], indirect=True)
async def test_who_gets_a_lease_learns_of_what_is_written_in_the_same_commit(cache: SQLiteCache) -> None:
    await cache.acquire_lease("held", 5)
    _, late, _, written = await asyncio.gather(
        cache.contains("k"),
        cache.acquire_lease("held", 5),  # runs alone, and is refused
        cache._store.put([entry("held", leased=True)]),
        cache.acquire_lease("held", 5),
    )
    assert late is Lease.REFUSED
    assert written is Lease.GRANTED_LATE
    connection = sqlite3.connect(cache.filename)
    assert connection.execute('SELECT count(*) FROM "aiohttp_cache_di:leases"').fetchone() == (1,)
    connection.close()


@pytest.mark.parametrize("kind", ["table"], indirect=True)
async def test_a_look_leases_nothing_where_there_are_no_locks(cache: SQLiteCache) -> None:
    assert await cache._store.get_or_acquire("k", HELD_S) is None
    assert await cache.acquire_lease("k", HELD_S)
    await cache.write_entry(make_entry("k"))
    assert isinstance(await cache._store.get_or_acquire("k", HELD_S), Found)


# ---- locks


@needs_locks
async def test_a_look_that_finds_nothing_brings_the_lease(store: SQLiteStore, tmp_path: Path) -> None:
    two = make_store(tmp_path / "cache")
    assert await store.get_or_acquire("k", HELD_S) is Lease.GRANTED
    assert await two.get_or_acquire("k", HELD_S) is Lease.REFUSED
    assert await two.get_or_acquire("j", HELD_S) is Lease.GRANTED
    await store.put([entry("k", leased=True)])
    assert isinstance(await two.get_or_acquire("k", HELD_S), Found)
    assert await store.acquire("k", HELD_S) is Lease.GRANTED_LATE, "a look that finds something holds nothing"
    await two.close()


@needs_locks
async def test_a_look_sees_what_was_stored_before_it_had_the_lease(
    store: SQLiteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = make_store(tmp_path / "cache")
    assert await two.acquire("k", HELD_S)
    await store.put([entry("first")])
    loop, leases = asyncio.get_running_loop(), store.database.leases
    acquire = leases.acquire

    def dawdle(key: str, ttl_s: float) -> bool:
        # After the lookup and before the lock, the holder stores and releases.
        asyncio.run_coroutine_threadsafe(two_puts(), loop).result(5)
        return acquire(key, ttl_s)

    async def two_puts() -> None:
        await two.put([entry("k", leased=True)])

    monkeypatch.setattr(leases, "acquire", dawdle)
    assert isinstance(await store.get_or_acquire("k", HELD_S), Found)
    assert await two.acquire("k", HELD_S), "and holds nothing"
    await two.close()


@needs_locks
async def test_a_look_that_is_cancelled_holds_nothing(store: SQLiteStore, tmp_path: Path) -> None:
    await store.get(["opened"])
    asking = [asyncio.ensure_future(store.get_or_acquire(key, HELD_S)) for key in "abc"]
    await asyncio.sleep(0)
    for each in asking:
        each.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    two = make_store(tmp_path / "cache")
    async with asyncio.timeout(20):
        for key in "abc":
            while not await two.acquire(key, HELD_S):
                await two.until_free(key, HELD_S)
    await two.close()


@needs_locks
async def test_a_release_that_is_cancelled_before_its_turn_releases_all_the_same(
    store: SQLiteStore, tmp_path: Path
) -> None:
    assert await store.acquire("k", HELD_S)
    may_go_on = threading.Event()
    stuck = asyncio.ensure_future(store._query(lambda _: may_go_on.wait(20)))
    releasing = asyncio.ensure_future(store.release("k"))
    await asyncio.sleep(0)
    releasing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await releasing
    may_go_on.set()
    assert await stuck
    two = make_store(tmp_path / "cache")
    async with asyncio.timeout(20):
        while not await two.acquire("k", HELD_S):
            await two.until_free("k", HELD_S)
    await two.close()


@needs_locks
async def test_a_look_that_is_cancelled_when_its_answer_has_come_holds_nothing(
    store: SQLiteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.get_or_acquire("opened", HELD_S)
    here = store.database.here()
    assert here is not None
    done = here.lease_queue._done

    def done_and_cancel(*arguments: Any) -> None:
        done(*arguments)
        asking.cancel()  # before the waiting caller resumes

    monkeypatch.setattr(here.lease_queue, "_done", done_and_cancel)
    asking = asyncio.ensure_future(store.get_or_acquire("k", HELD_S))
    with pytest.raises(asyncio.CancelledError):
        await asking
    two = make_store(tmp_path / "cache")
    async with asyncio.timeout(20):
        while not await two.acquire("k", HELD_S):
            await two.until_free("k", HELD_S)
    await two.close()


@needs_locks
async def test_tables_of_one_file_have_leases_of_their_own(tmp_path: Path) -> None:
    one, two = SQLiteCache(tmp_path / "cache", "one"), SQLiteCache(tmp_path / "cache", "two")
    assert await one.acquire_lease("k", HELD_S)
    assert await two.acquire_lease("k", HELD_S)
    await one.close()
    await two.close()


@asynccontextmanager
async def holder(path: Path, ttl_s: float) -> AsyncGenerator[asyncio.subprocess.Process]:
    """A process that holds the lease on ``k``, and is killed in the end."""
    command, pipe = (sys.executable, "-c", HOLDER, str(path), str(ttl_s)), asyncio.subprocess.PIPE
    async with started(*command, stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        assert int(await asyncio.wait_for(process.stdout.readline(), 60)) == Lease.GRANTED
        yield process


@needs_locks
async def test_a_killed_holder_frees_those_who_wait_at_once(store: SQLiteStore, tmp_path: Path) -> None:
    async with holder(tmp_path / "cache", HELD_S):
        assert await store.acquire("k", HELD_S) is Lease.REFUSED
        waiting = asyncio.ensure_future(store.until_free("k", HELD_S))
        await asyncio.sleep(0.02)
        assert not waiting.done()
    async with asyncio.timeout(HELD_S / 3):
        await waiting
    assert await store.acquire("k", HELD_S) is Lease.GRANTED


@needs_locks
async def test_a_lock_is_asked_for_at_the_first_polls_of_each_waiter(
    store: SQLiteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The counter does not wake who has looked after it had grown and before the commit."""
    monkeypatch.setattr(waits, "CHECKS", 1_000_000)
    async with holder(tmp_path / "cache", HELD_S):
        assert await store.acquire("k", HELD_S) is Lease.REFUSED
        earlier = asyncio.ensure_future(store.until_free("k", HELD_S))
        await asyncio.sleep(20 * waits.WATCH_S)
        async with asyncio.timeout(HELD_S / 3):
            await store.until_free("free", HELD_S)
        assert not earlier.done()
        earlier.cancel()
        await asyncio.wait([earlier])


@needs_locks
async def test_a_holder_that_stands_still_is_not_waited_for_after_its_time(store: SQLiteStore, tmp_path: Path) -> None:
    async with holder(tmp_path / "cache", 0.1) as process:
        process.send_signal(signal.SIGSTOP)
        async with asyncio.timeout(HELD_S / 3):
            while not await store.acquire("k", HELD_S):
                await store.until_free("k", 0.05)
        two = make_store(tmp_path / "cache")
        assert await two.acquire("k", HELD_S) is Lease.REFUSED, "there is one heir"
        await store.release("k")
        assert await two.acquire("k", HELD_S) is Lease.REFUSED, "whose time is not over"
        await two.close()


@needs_locks
async def test_a_holder_that_renews_is_waited_for(store: SQLiteStore, tmp_path: Path) -> None:
    two = make_store(tmp_path / "cache")

    async def acquire_and_renew(ttl_s: float) -> tuple[Lease, bool]:
        return await store.acquire(f"k{ttl_s}", ttl_s), await store.renew(f"k{ttl_s}", HELD_S)

    ttl_s, answers = await in_time(0.05, acquire_and_renew)
    assert answers == (Lease.GRANTED, True)
    await asyncio.sleep(ttl_s + 0.01)
    assert await two.acquire(f"k{ttl_s}", HELD_S) is Lease.REFUSED
    assert not await two.renew(f"k{ttl_s}", HELD_S)
    await two.close()


@needs_locks
def test_two_loops_of_one_store_are_as_much_apart_as_two_processes(tmp_path: Path) -> None:
    store = make_store(tmp_path / "cache")
    answers: list[Lease] = []

    async def ask() -> None:
        answers.append(await store.acquire("k", HELD_S))
        await store.close()

    async def main() -> None:
        answers.append(await store.acquire("k", HELD_S))
        await asyncio.to_thread(asyncio.run, ask())
        two = make_store(tmp_path / "cache")
        assert await two.acquire("k", HELD_S) is Lease.REFUSED, "the other loop's end took nothing from this one"
        await two.close()
        await store.close()

    asyncio.run(asyncio.wait_for(main(), 20))
    assert answers == [Lease.GRANTED, Lease.REFUSED]


@needs_locks
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # the fork is what is tested
@posix_only
async def test_a_forked_child_neither_has_nor_keeps_its_parents_leases(store: SQLiteStore, tmp_path: Path) -> None:
    assert await store.acquire("k", HELD_S)
    two = make_store(tmp_path / "cache")
    assert await two.acquire("k", HELD_S) is Lease.REFUSED
    child_reads, parent_writes = os.pipe()
    parent_reads, child_writes = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(parent_writes)
        os.write(child_writes, b".")  # the hooks of the fork have run
        os.read(child_reads, 1)  # waits until the parent has checked
        os._exit(0)
    try:
        await asyncio.to_thread(os.read, parent_reads, 1)
        assert await two.acquire("k", HELD_S) is Lease.REFUSED, "the child's copy was closed, not unlocked"
        await store.close()
        assert await two.acquire("k", HELD_S) is Lease.GRANTED, "and does not keep the lock alive"
    finally:
        for end in (parent_writes, child_reads, parent_reads, child_writes):
            os.close(end)
        await asyncio.to_thread(os.waitpid, pid, 0)
    await two.close()


@needs_locks
async def test_a_file_system_without_locks_is_served_by_the_table(
    store: SQLiteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def take(fd: int, offset: int) -> bool:
        raise byte_locks.NoLocksError(37, "No locks available")

    monkeypatch.setattr(byte_locks, "take", take)
    two = make_store(tmp_path / "cache")
    assert await store.acquire("k", HELD_S) is Lease.GRANTED
    assert await two.get_or_acquire("k", HELD_S) is None
    assert await two.acquire("k", HELD_S) is Lease.REFUSED
    assert await store.renew("k", HELD_S)
    await store.put([entry("k", leased=True)])
    assert await two.acquire("k", HELD_S) is Lease.GRANTED_LATE
    await two.release("k")
    assert await store.acquire("k", HELD_S) is Lease.GRANTED_LATE
    await two.close()


@needs_locks
async def test_a_file_of_leases_that_cannot_be_used_is_no_failure(store: SQLiteStore, tmp_path: Path) -> None:
    (tmp_path / "cache.sqlite-leases").mkdir()
    assert await store.acquire("k", HELD_S) is Lease.GRANTED
    two = make_store(tmp_path / "cache")
    assert await two.acquire("k", HELD_S) is Lease.REFUSED
    await two.close()


@needs_locks
async def test_a_file_of_leases_that_was_deleted_is_made_anew(
    store: SQLiteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases_module, "CHECK_S", 0.0)
    assert await store.acquire("k", HELD_S)
    (tmp_path / "cache.sqlite-leases").unlink()
    assert await store.acquire("j", HELD_S)
    two = make_store(tmp_path / "cache")
    assert await two.acquire("j", HELD_S) is Lease.REFUSED
    await store.release("k")  # on the deleted file
    await two.close()


@needs_locks
async def test_the_file_of_leases_is_its_owners_alone(store: SQLiteStore, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        await store.acquire("k", HELD_S)
    finally:
        os.umask(before)
    path = tmp_path / "cache.sqlite-leases"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    await store.close()
    path.chmod(0o666)
    await store.acquire("k", HELD_S)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@needs_locks
@pytest.mark.skipif(sys.platform != "linux", reason="there is no list of descriptors")
async def test_opening_and_closing_leaks_no_descriptor_of_a_lock(tmp_path: Path) -> None:
    counts: list[int] = []
    for _ in range(3):
        store = make_store(tmp_path / "cache")
        await store.acquire("k", HELD_S)
        await store.close()
        counts.append(len(os.listdir("/proc/self/fd")))
    assert counts[-1] <= counts[0]  # descriptors of earlier tests may be closed meanwhile
