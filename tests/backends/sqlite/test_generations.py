"""Copies in memory are validated by shared counters, and never stale, whatever happens to a writer or to a file."""

# ruff: noqa: ASYNC240  # tests may block: they do to files what others would do
from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from aiohttp_cache_di.backends.disk.place import Place
from aiohttp_cache_di.backends.sqlite import SQLiteCache
from aiohttp_cache_di.backends.sqlite.file.files import CacheFile
from aiohttp_cache_di.backends.sqlite.shared.counters import SIZE_BYTES, CounterFile, stripe_of
from aiohttp_cache_di.backends.sqlite.shared.generation import CHECK_S, Generations
from aiohttp_cache_di.backends.wrap.loop import Failed
from tests.backends.entries import make_entry
from tests.backends.processes import PREAMBLE, ROOT, Peer, run_program

READS = 30_000
MANY_READS = 1_000_000


@pytest.fixture
async def cache(tmp_path: Path) -> AsyncIterator[SQLiteCache]:
    storage = SQLiteCache(tmp_path / "cache", "responses")
    yield storage
    await storage.close()


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "cache.sqlite-generations"


async def current(cache: SQLiteCache, key: str) -> bytes | None:
    """The body that the engine would use: of a valid copy, or else of the file."""
    entry = cache.peek(key)
    if entry is None:
        found = await cache.stack.here().fetch(key)
        assert not isinstance(found, Failed)
        entry = found
    return None if entry is None else entry.body


# ---- two processes and a checker

CHECKED = """
import mmap, random
from aiohttp_cache_di.backends.wrap.loop import Failed
KEYS = [f"k{n}" for n in range(12)]
# One word for each key: what its value is at least. A writer raises it when its write has returned, so that what a
# reader sees of a key may not be less than the word was before the reader began.
# Behind them, a word for each process says how far it is.
board = memoryview(mmap.mmap(os.open(sys.argv[2], os.O_RDWR), 8 * (len(KEYS) + 4))).cast("Q")
WRITER, *READERS = (len(KEYS) + seed for seed in (1, 2, 3))

async def write(cache, reads, seed):
    choose, value = random.Random(seed), 1
    while os.path.exists(sys.argv[2]):
        # Two reads for a write at least, whatever the machine gives to whom: else no copy may live to be read.
        if sum(board[each] for each in READERS) < 2 * (value - 24):
            await asyncio.sleep(0.0001)
            continue
        board[WRITER] = value - 1  # so many have returned
        value += 1
        n = choose.randrange(len(KEYS))
        action = choose.random()
        if action < 0.80:
            await cache.write_entry(make_entry(KEYS[n], b"%d" % value))
        elif action < 0.98:
            await cache.delete(KEYS[n])
        else:
            await cache.clear()
            for each in range(len(KEYS)):
                board[each] = value
            continue
        board[n] = value
        await asyncio.sleep(choose.choice([0, 0, 0.001]))

async def read(cache, reads, seed):
    choose, near = random.Random(seed), 0
    while not board[WRITER]:
        await asyncio.sleep(0.001)
    for count in range(reads):
        board[len(KEYS) + seed] = count
        n = choose.randrange(len(KEYS))
        least = board[n]
        entry = cache.peek(KEYS[n])
        if entry is None:
            entry = await cache.stack.here().fetch(KEYS[n])
            assert not isinstance(entry, Failed)
        else:
            near += 1
        # A key that is missing was deleted or cleared: right whenever that was.
        if entry is not None and int(entry.body) < least:
            print("STALE", KEYS[n], int(entry.body), least, flush=True)
            break
    print("near", near, flush=True)

async def main(path, role, reads, seed):
    cache = SQLiteCache(path, "responses")
    await (write if role == "write" else read)(cache, reads, seed)
    await cache.close()
asyncio.run(main(sys.argv[1], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])))
"""


def check(tmp_path: Path, reads: int, timeout_s: float) -> int:
    """Let one process write and two read; return how many of the reads were answered from memory."""
    board = tmp_path / "board"
    board.write_bytes(bytes(8 * 16))
    command = [sys.executable, "-c", PREAMBLE + CHECKED, str(tmp_path / "cache"), str(board)]
    with subprocess.Popen([*command, "write", "0", "1"], cwd=ROOT) as writer:
        readers = [
            subprocess.Popen(
                [*command, "read", str(reads // 2), str(seed)], cwd=ROOT, stdout=subprocess.PIPE, text=True
            )
            for seed in (2, 3)
        ]
        try:
            outputs = [reader.communicate(timeout=timeout_s)[0] for reader in readers]
        finally:
            board.unlink()
            for reader in readers:
                reader.kill()
        assert writer.wait(20) == 0
    assert all(output.startswith("near ") for output in outputs), outputs
    return sum(int(output.split()[1]) for output in outputs)


@pytest.mark.processes
def test_no_read_is_behind_a_write_of_another_process_that_has_returned(tmp_path: Path) -> None:
    assert check(tmp_path, READS, 90) > READS / 50


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_of_a_million_reads_none_is_behind(tmp_path: Path) -> None:
    assert check(tmp_path, MANY_READS, 800) > MANY_READS / 50


# ---- writers that are killed

STEPS = {
    "before the counters are set": ("Commit.publish", "before"),
    "after the counters are set, before the commit": ("Commit.publish", "after"),
    "after the commit": ("Transaction.end", "after"),
}
KILLED = """
import signal
from aiohttp_cache_di.backends.sqlite.shared import generation
from aiohttp_cache_di.backends.sqlite.writing import writes
owner, name = sys.argv[2].split(".")
owner = {"Commit": generation.Commit, "Transaction": writes.Transaction}[owner]
step = getattr(owner, name)
def killed(self):
    if sys.argv[3] == "after":
        step(self)
    os.kill(os.getpid(), signal.SIGKILL)
async def main():
    cache = SQLiteCache(sys.argv[1], "responses")
    await cache.read_entry("k")
    setattr(owner, name, killed)
    await cache.write_entry(make_entry("k", b"new"))
asyncio.run(main())
"""


def commits(directory: Path) -> int:
    connection = sqlite3.connect(directory / "cache.sqlite")
    number: int = connection.execute('SELECT number FROM "aiohttp_cache_di:generation"').fetchone()[0]
    connection.close()
    return number


@pytest.mark.parametrize(("step", "when"), STEPS.values(), ids=STEPS.keys())
async def test_a_writer_that_is_killed_leaves_no_copy_that_is_behind(
    cache: SQLiteCache, tmp_path: Path, step: str, when: str
) -> None:
    await cache.write_entry(make_entry("k", b"old"))
    assert await current(cache, "k") == b"old"
    before = commits(tmp_path)
    result = await asyncio.to_thread(run_program, KILLED, tmp_path / "cache", step, when)
    assert result.returncode == -signal.SIGKILL
    was_committed = commits(tmp_path) > before
    assert was_committed == (step == "Transaction.end")
    assert await current(cache, "k") == (b"new" if was_committed else b"old")
    for n in range(3):  # later commits reuse the number of the lost one, and are seen
        await cache.write_entry(make_entry("another", b"%d" % n))
        assert await current(cache, "another") == b"%d" % n
        assert await current(cache, "k") == (b"new" if was_committed else b"old")
    assert cache.peek("k") is not None, "a copy is believed again"


# ---- the file of counters is lost or damaged


def deleted(table: Path) -> None:
    table.unlink()


def of_another_database(table: Path) -> None:
    other = CounterFile.create(f"{table}-other", str(table))
    assert other.is_whole()
    os.replace(f"{table}-other", table)


def garbage(table: Path) -> None:
    table.with_name("garbage").write_bytes(b"\0" * SIZE_BYTES)
    table.with_name("garbage").replace(table)


def a_link(table: Path) -> None:
    table.unlink()
    table.with_name("elsewhere").write_bytes(bytes(SIZE_BYTES))
    table.symlink_to(table.with_name("elsewhere"))


def truncated(table: Path) -> None:
    os.truncate(table, SIZE_BYTES - 8)  # within the last page: otherwise an access is fatal (SIGBUS) before any check


HARMS: list[Callable[[Path], None]] = [deleted, of_another_database, garbage, a_link, truncated]


@pytest.mark.parametrize("harm", HARMS)
async def test_after_the_bound_changes_are_seen_although_the_counters_are_lost(
    cache: SQLiteCache, tmp_path: Path, table: Path, harm: Callable[[Path], None]
) -> None:
    await cache.write_entry(make_entry("k", b"old"))
    assert await current(cache, "k") == b"old"
    await asyncio.to_thread(harm, table)
    with Peer(tmp_path / "cache") as peer:  # opened after the damage, so it has other counters
        peer.do('cache.write_entry(make_entry("k", b"new"))')
        deadline = time.monotonic() + CHECK_S
        while time.monotonic() < deadline:
            cache.peek("k")  # in use
        assert await current(cache, "k") == b"new"
        peer.do('cache.write_entry(make_entry("k", b"newer"))')
        assert await current(cache, "k") == b"newer"
        async with asyncio.timeout(20):
            while cache.peek("k") is None:  # copies are used again
                await current(cache, "k")
        peer.do('cache.delete("k")')
        assert await current(cache, "k") is None
    assert table.stat().st_mode & 0o777 == 0o600
    assert not table.is_symlink()


@pytest.mark.parametrize("harm", HARMS)
async def test_counters_that_were_harmed_while_nothing_was_open_are_made_anew(
    cache: SQLiteCache, table: Path, harm: Callable[[Path], None]
) -> None:
    await cache.write_entry(make_entry("k"))
    await cache.close()
    await asyncio.to_thread(harm, table)
    assert await current(cache, "k") == b"body"
    assert cache.peek("k") is not None


async def test_a_writer_that_cannot_have_counters_is_seen_by_those_who_do(
    cache: SQLiteCache, tmp_path: Path, table: Path
) -> None:
    await cache.write_entry(make_entry("k", b"old"))
    assert await current(cache, "k") == b"old"
    table.unlink()
    table.mkdir()
    (table / "in the way").touch()
    with Peer(tmp_path / "cache") as peer:
        peer.do('cache.write_entry(make_entry("k", b"new"))')  # waits until no copy is used
        assert await current(cache, "k") == b"new"
        peer.do('cache.write_entry(make_entry("k", b"newer"))')
        assert await current(cache, "k") == b"newer"
        assert peer.do('cache.read_entry("another")') == "None"
    await cache.write_entry(make_entry("k", b"ours"))
    assert await current(cache, "k") == b"ours"


async def test_a_new_database_in_the_old_ones_place_voids_copies_at_once(
    cache: SQLiteCache, tmp_path: Path, table: Path
) -> None:
    await cache.write_entry(make_entry("k", b"old"))
    assert await current(cache, "k") == b"old"
    for suffix in ("", "-wal", "-shm"):
        os.unlink(tmp_path / f"cache.sqlite{suffix}")
    with Peer(tmp_path / "cache") as peer:
        peer.do('cache.write_entry(make_entry("k", b"new"))')
        assert cache.peek("k") is None


async def test_where_nothing_can_be_written_copies_are_believed_as_well(cache: SQLiteCache, tmp_path: Path) -> None:
    await cache.write_entry(make_entry("k", b"old"))
    reading = SQLiteCache("ignored", "responses", uri=f"file:{tmp_path}/cache.sqlite?mode=ro")
    assert await current(reading, "k") == b"old"
    assert reading.peek("k") is not None
    await cache.write_entry(make_entry("k", b"new"))
    assert reading.peek("k") is None
    assert await current(reading, "k") == b"new"
    await reading.close()


async def test_one_comparison_is_made_without_the_file(tmp_path: Path) -> None:
    """No statement, no system call: a number in shared memory is found by the digest of the key."""
    cache = SQLiteCache(tmp_path / "cache", "responses")
    await cache.write_entry(make_entry("k"))
    version, called = cache._store.version, list[str]()

    def note(_frame: FrameType, event: str, function: Any) -> None:
        if event == "c_call":
            called.append(function.__name__)

    sys.setprofile(note)
    try:
        found = version("k")
    finally:
        sys.setprofile(None)
    assert found is not None
    assert set(called) <= {"encode", "crc32", "monotonic", "setprofile"}
    await cache.close()


def test_keys_are_spread_over_the_stripes_alike_in_all_processes() -> None:
    assert stripe_of("k1") == 0x0A9
    counts = [0] * 4096
    for n in range(40_960):
        counts[stripe_of(f"{n:040x}")] += 1
    assert max(counts) < 40


def test_no_version_is_known_before_a_check(tmp_path: Path) -> None:
    generations = Generations(CacheFile(Place(tmp_path / "cache.sqlite")))
    assert generations.version("k") is None
    assert generations.version("\udc80") is None
