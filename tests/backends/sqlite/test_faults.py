"""A SQLite file that is damaged, missing, locked, full or read-only: hits continue where possible, nothing hangs."""

# ruff: noqa: ASYNC220, ASYNC240  # tests may block: they do to files and processes what others would do
from __future__ import annotations

import asyncio
import errno
import importlib
import logging
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import closing, contextmanager
from pathlib import Path

import aiosqlite
import pytest

from aiohttp_cache_di.backends.sqlite import SQLiteCache
from aiohttp_cache_di.backends.sqlite.file import inspection
from aiohttp_cache_di.backends.sqlite.file.schema import Table
from aiohttp_cache_di.backends.sqlite.writing import writes
from aiohttp_cache_di.errors import StorageError
from tests.backends.entries import make_entry
from tests.backends.processes import PREAMBLE, ROOT, run_program
from tests.posix import needs_proc, posix_only

NOBODY = 65534
COUNT = 200
QUICK_S = 1.0  # far longer than promised, for busy machines


@pytest.fixture
async def cache(tmp_path: Path) -> AsyncIterator[SQLiteCache]:
    storage = SQLiteCache(tmp_path / "cache", "responses", near_tier=False)
    yield storage
    await storage.close()


async def fill(cache: SQLiteCache, count: int = COUNT) -> None:
    await asyncio.gather(*(cache.write_entry(make_entry(f"k{n}", b"%d " % n * 1000)) for n in range(count)))


async def read_all(cache: SQLiteCache, count: int = COUNT) -> int:
    """Read all entries; return how many were found. Asserts that no body is wrong; only StorageError may be raised."""
    found = 0
    for n in range(count):
        try:
            entry = await cache.read_entry(f"k{n}")
        except StorageError:
            continue
        if entry is not None:
            assert entry.body == b"%d " % n * 1000
            found += 1
    return found


def overwrite(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def random_middle(path: Path) -> None:
    overwrite(path, path.stat().st_size // 3, os.urandom(100_000))


def no_header(path: Path) -> None:
    overwrite(path, 0, bytes(200))


def foreign(path: Path) -> None:
    path.write_bytes(b"this is not a database\n" * 1000)


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 + 7)


def empty(path: Path) -> None:
    os.truncate(path, 0)


DAMAGES: list[Callable[[Path], None]] = [random_middle, no_header, foreign, truncated, empty]


async def test_a_table_whose_name_is_damaged_is_damage(cache: SQLiteCache, tmp_path: Path) -> None:
    await fill(cache, 3)
    await cache.close()
    path = tmp_path / "cache.sqlite"
    path.write_bytes(path.read_bytes().replace(b'cache:responses" (id', b'cach\x80:responses" (id'))
    assert await cache.read_entry("k1") is None
    await fill(cache)
    assert await read_all(cache) == COUNT


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_file_damaged_while_closed_is_set_aside_or_read_around(
    cache: SQLiteCache, tmp_path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    await fill(cache)
    await cache.close()
    damage(tmp_path / "cache.sqlite")
    caplog.set_level(logging.WARNING)
    await read_all(cache)
    await fill(cache)
    assert await read_all(cache) == COUNT
    aside = [name for name in os.listdir(tmp_path) if "corrupt" in name]
    assert len(caplog.records) == len([name for name in aside if name[-1].isdigit()])
    if damage in (no_header, foreign, truncated):
        assert "cache.sqlite.corrupt-1" in aside
        assert "damaged" in caplog.text


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_file_damaged_while_open_is_set_aside_or_read_around(
    cache: SQLiteCache, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    await fill(cache)
    # Move everything from the log into the file, and empty the log.
    connection = sqlite3.connect(tmp_path / "cache.sqlite")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    damage(tmp_path / "cache.sqlite")
    await read_all(cache)
    for n in range(COUNT):
        try:
            await cache.write_entry(make_entry(f"k{n}", b"%d " % n * 1000))
        except StorageError:
            await cache.write_entry(make_entry(f"k{n}", b"%d " % n * 1000))
    assert await read_all(cache) == COUNT
    await cache.close()
    assert await read_all(cache) == COUNT


@pytest.mark.parametrize("column", ["key", "frame"])
async def test_a_row_with_text_that_is_none_fails_no_other(cache: SQLiteCache, tmp_path: Path, column: str) -> None:
    await fill(cache)
    await cache.close()
    connection = sqlite3.connect(tmp_path / "cache.sqlite")
    with connection:
        connection.execute(f"UPDATE \"cache:responses\" SET {column} = CAST(x'ff80' AS TEXT) WHERE key = 'k1'")  # noqa: S608
    connection.close()
    found = await asyncio.gather(*(cache.read_entry(f"k{n}") for n in range(COUNT)))
    assert [n for n in range(COUNT) if found[n] is None] == [1]
    assert cache.stack.stats.unreadable == (column == "frame")
    keys = cache.keys()
    assert len([key async for key in keys]) == COUNT


async def test_several_damaged_files_are_kept_apart_and_the_oldest_go(cache: SQLiteCache, tmp_path: Path) -> None:
    for _ in range(3):
        await cache.write_entry(make_entry("k"))
        await cache.close()
        foreign(tmp_path / "cache.sqlite")
    assert await cache.read_entry("k") is None
    aside = sorted(name for name in os.listdir(tmp_path) if name[-1].isdigit())
    assert aside == [f"cache.sqlite.corrupt-{n}" for n in (2, 3)]


@contextmanager
def another_process_finds_it_too(path: Path) -> Generator[subprocess.Popen[str]]:
    code = (
        "async def main():\n"
        "    cache = SQLiteCache(sys.argv[1], 'responses')\n"
        "    await cache.read_entry('k')\n"
        "    print('open', flush=True)\n"
        "    sys.stdin.readline()\n"
        "    for n in range(50):\n"
        "        try:\n"
        "            await cache.write_entry(make_entry(f'peer{n}'))\n"
        "        except Exception as exc:\n"
        "            print(repr(exc))\n"
        "    await cache.close()\n"
        "asyncio.run(main())"
    )
    command = [sys.executable, "-c", PREAMBLE + code, str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        yield process


async def test_a_process_that_has_the_old_file_open_does_no_harm_to_the_new_one(
    cache: SQLiteCache, tmp_path: Path
) -> None:
    await fill(cache)
    with another_process_finds_it_too(tmp_path / "cache") as peer:
        for suffix in ("", "-wal", "-shm"):
            os.unlink(tmp_path / f"cache.sqlite{suffix}")
        await asyncio.sleep(0.15)
        await fill(cache)
        output, _ = peer.communicate("go\n", timeout=20)
    assert output == ""
    assert await read_all(cache) == COUNT
    assert await cache.read_entry("peer49") is not None
    await cache.close()
    assert await read_all(cache) == COUNT


@pytest.mark.parametrize("companions", [True, False])
async def test_a_file_deleted_while_open_is_begun_anew(cache: SQLiteCache, tmp_path: Path, companions: bool) -> None:
    await fill(cache)
    for suffix in ("", "-wal", "-shm") if companions else ("",):
        os.unlink(tmp_path / f"cache.sqlite{suffix}")
    await asyncio.sleep(0.15)  # until the next check of the file
    assert await read_all(cache) == 0
    await fill(cache)
    assert await read_all(cache) == COUNT
    await cache.close()
    assert await read_all(cache) == COUNT


async def test_a_file_that_takes_the_place_of_the_open_one_is_read(cache: SQLiteCache, tmp_path: Path) -> None:
    other = SQLiteCache(tmp_path / "other", "responses")
    await other.write_entry(make_entry("new"))
    await other.close()
    await fill(cache, 5)
    os.replace(tmp_path / "other.sqlite", tmp_path / "cache.sqlite")
    for suffix in ("-wal", "-shm"):
        os.unlink(tmp_path / f"cache.sqlite{suffix}")
    await asyncio.sleep(0.15)
    assert await cache.read_entry("new") is not None
    assert await cache.read_entry("k1") is None


def open_files(directory: Path) -> list[str]:
    """The files in *directory* that this process has open, deleted ones too."""
    needs_proc()
    found: list[str] = []
    for number in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:  # the descriptor of the listing itself
            continue
    return sorted(name for name in found if name.startswith(str(directory)))


def deleted(path: Path) -> None:
    for each in path.parent.glob(path.name + "*"):
        each.unlink()


def replaced(path: Path) -> None:
    other = path.with_name("other")
    sqlite3.connect(other).close()
    other.replace(path)


@pytest.mark.parametrize("near_tier", [True, False])
@pytest.mark.parametrize("loss", [deleted, replaced])
async def test_a_lost_file_leaves_nothing_open_and_takes_nothing_from_the_next(
    tmp_path: Path, loss: Callable[[Path], None], near_tier: bool, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "cache.sqlite"
    cache = SQLiteCache(path, near_tier=near_tier)
    await fill(cache)
    now_open = open_files(tmp_path)
    for losses in range(1, 4):
        loss(path)
        async with asyncio.timeout(20):
            while cache.stack.stats.unreadable < losses:
                await cache.read_entry("not in memory")
        assert cache.stack.stats.unreadable == losses, "a loss counts once"
        await fill(cache)
        async with asyncio.timeout(20):
            # A thread closes the remaining files.
            while open_files(tmp_path) != now_open:  # noqa: ASYNC110  # there is no event for it
                await asyncio.sleep(0.01)
        other = SQLiteCache(path)
        assert await read_all(other) == COUNT, "the log of the new file is there"
        await other.close()
    await cache.close()
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 1, "and is logged once a minute"
    assert "deleted or replaced" in messages[0]


async def test_closing_takes_nothing_from_the_file_that_has_taken_the_place(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    cache = SQLiteCache(path)
    await fill(cache)
    deleted(path)
    other = SQLiteCache(path)
    await fill(other)
    await cache.close()
    third = SQLiteCache(path)
    assert await read_all(third) == COUNT
    await third.close()
    await other.close()
    assert open_files(tmp_path) == []


async def test_while_another_process_holds_the_lock_hits_go_on_and_writes_fail_soon(
    cache: SQLiteCache, tmp_path: Path
) -> None:
    await fill(cache)
    locker = sqlite3.connect(tmp_path / "cache.sqlite", isolation_level=None)
    locker.execute("BEGIN EXCLUSIVE")
    assert await read_all(cache) == COUNT
    begun = time.monotonic()
    with pytest.raises(StorageError, match="locked"):
        await cache.write_entry(make_entry("new"))
    with pytest.raises(StorageError, match="locked"):
        await cache.delete("k1")
    assert time.monotonic() - begun < QUICK_S
    opened_meanwhile = SQLiteCache(tmp_path / "cache", "responses")
    assert await opened_meanwhile.read_entry("k1") is not None
    await opened_meanwhile.close()
    locker.execute("ROLLBACK")
    locker.close()
    await cache.write_entry(make_entry("new"))
    assert await cache.read_entry("new") is not None


async def test_without_a_right_to_write_nothing_can_be_made(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    cache = SQLiteCache(blocked / "cache", "responses")
    for _ in range(2):
        with pytest.raises(StorageError):
            await cache.read_entry("k")
        with pytest.raises(StorageError):
            await cache.write_entry(make_entry("k"))
    await cache.close()


@pytest.fixture
def reachable() -> Generator[Path]:
    """A directory that other users may enter; pytest's lose that permission whenever another pytest starts."""
    with tempfile.TemporaryDirectory() as made:
        path = Path(made)
        path.chmod(0o755)
        yield path
        path.chmod(0o700)


@posix_only
@pytest.mark.parametrize("read_only", ["file", "directory"])
async def test_a_file_that_cannot_be_written_still_serves_hits(reachable: Path, read_only: str) -> None:
    cache = SQLiteCache(reachable / "cache", "responses", near_tier=False)
    await fill(cache, 20)
    await cache.close()
    (reachable / "cache.sqlite").chmod(0o444)
    if read_only == "file" and os.getuid() == 0:
        reachable.chmod(0o777)
    elif read_only == "directory":
        reachable.chmod(0o555)
    program = f"""
from aiohttp_cache_di.errors import StorageError
async def main():
    if os.getuid() == 0:
        os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
    cache = SQLiteCache(sys.argv[1], "responses")
    for n in range(20):
        assert await cache.read_entry(f"k{{n}}") is not None
    begun = time.monotonic()
    for n in range(20):
        try:
            await cache.write_entry(make_entry("new"))
        except StorageError as exc:
            pass
        else:
            print("written")
    print(time.monotonic() - begun < {QUICK_S}, await cache.size(), len([k async for k in cache.keys()]))
    await cache.close()
asyncio.run(main())
"""
    result = await asyncio.to_thread(run_program, program, reachable / "cache")
    assert (result.stdout, result.stderr) == ("True 20 20\n", "")


@posix_only
async def test_a_full_disk_fails_writes_and_no_hits() -> None:
    program = f"""
import resource, tempfile
from aiohttp_cache_di.errors import StorageError
async def main(directory):
    cache = SQLiteCache(directory + "/cache", "responses", near_tier=False)
    for n in range(20):
        await cache.write_entry(make_entry(f"k{{n}}", bytes(10_000)))
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    failed = 0
    slowest = 0.0
    for n in range(60):
        begun = time.monotonic()
        try:
            await cache.write_entry(make_entry(f"new{{n}}", bytes(10_000)))
        except StorageError:
            failed += 1
        slowest = max(slowest, time.monotonic() - begun)
        assert await cache.read_entry(f"k{{n % 20}}") is not None
    assert failed > 20, failed
    assert slowest < {QUICK_S}, slowest
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, hard))
    await cache.write_entry(make_entry("after"))
    assert await cache.read_entry("after") is not None
    await cache.close()
with tempfile.TemporaryDirectory() as directory:
    asyncio.run(main(directory))
"""
    resource = importlib.import_module("resource")
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    result = await asyncio.to_thread(run_program, program)
    assert (result.returncode, result.stderr) == (0, "")


async def test_writers_that_are_killed_leave_a_sound_file(cache: SQLiteCache, tmp_path: Path) -> None:
    code = """
async def main():
    cache = SQLiteCache(sys.argv[1], "responses")
    n = 0
    while True:
        await asyncio.gather(*(cache.write_entry(make_entry(f"k{i}", b"%d " % i * 1000)) for i in range(200)))
        print(n, flush=True)
        n += 1
asyncio.run(main())
"""
    for _ in range(3):
        command = [sys.executable, "-c", PREAMBLE + code, str(tmp_path / "cache")]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            process.stdout.readline()
            process.kill()
        assert await read_all(cache) == COUNT
    await cache.close()
    connection = sqlite3.connect(tmp_path / "cache.sqlite")
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


async def test_several_processes_begin_a_file_and_write_at_once(cache: SQLiteCache, tmp_path: Path) -> None:
    code = """
async def main():
    cache = SQLiteCache(sys.argv[1], "responses", timeout=20)  # for a machine that has much else to do
    name = sys.argv[2]
    async def work(task):
        for n in range(40):
            key = f"{name}-{task}-{n}"
            await cache.write_entry(make_entry(key, key.encode()))
            assert (await cache.read_entry(key)).body == key.encode()
    await asyncio.gather(*(work(task) for task in range(8)))
    await cache.close()
asyncio.run(main())
"""
    command = [sys.executable, "-c", PREAMBLE + code, str(tmp_path / "cache")]
    processes = [subprocess.Popen([*command, str(n)], cwd=ROOT, stderr=subprocess.PIPE) for n in range(4)]
    errors = [(await asyncio.to_thread(process.communicate))[1] for process in processes]
    assert errors == [b""] * 4
    assert await cache.size() == 4 * 8 * 40


async def test_a_file_that_can_be_written_again_is_written_again(cache: SQLiteCache) -> None:
    await cache.write_entry(make_entry("k"))
    here = cache._store.database.here()
    assert here is not None
    here.connections._checked_file.is_writable = False
    with pytest.raises(StorageError, match="read-only"):
        await cache.write_entry(make_entry("new"))
    here.connections.made_at -= 60  # a while later
    await cache.write_entry(make_entry("new"))
    assert await cache.read_entry("new") is not None


async def test_a_new_file_that_another_process_holds_is_opened_when_that_lets_go(
    cache: SQLiteCache, tmp_path: Path
) -> None:
    locker = sqlite3.connect(tmp_path / "cache.sqlite", isolation_level=None)
    locker.execute("BEGIN EXCLUSIVE")
    reading = asyncio.ensure_future(cache.read_entry("k"))
    await asyncio.sleep(0.3)
    assert not reading.done()
    locker.execute("ROLLBACK")
    locker.close()
    assert await reading is None
    await cache.write_entry(make_entry("k"))


@posix_only
@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOTSUP])
async def test_a_file_system_without_locks_is_told_from_a_file_that_others_hold(
    cache: SQLiteCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refused(*arguments: object) -> None:
        raise OSError(code, os.strerror(code))

    # To SQLite, such a file system looks like this, for good.
    with closing(sqlite3.connect(tmp_path / "cache.sqlite", isolation_level=None)) as locker:
        locker.execute("BEGIN EXCLUSIVE")
        monkeypatch.setattr("fcntl.fcntl", refused)
        with pytest.raises(StorageError, match=f"refuses the locks.*{os.strerror(code)}.*backend filesystem"):
            await cache.write_entry(make_entry("k"))
    assert os.listdir(tmp_path) == ["cache.sqlite"]
    monkeypatch.undo()
    await cache.write_entry(make_entry("k"))
    assert await cache.read_entry("k") is not None


async def test_not_more_is_kept_for_a_locked_file_than_memory_should_bear(
    cache: SQLiteCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writes, "MAX_WAITING_BYTES", 50_000)
    await cache.write_entry(make_entry("k"))
    locker = sqlite3.connect(tmp_path / "cache.sqlite", isolation_level=None)
    locker.execute("BEGIN IMMEDIATE")
    asked = [asyncio.ensure_future(cache.write_entry(make_entry(f"k{n}", bytes(10_000)))) for n in range(20)]
    await asyncio.sleep(0)
    refused = [write for write in asked if write.done()]
    assert len(refused) == 14  # one is being written, and five more exceed the bound
    assert all("wait to be written" in str(write.exception()) for write in refused)
    locker.execute("ROLLBACK")
    locker.close()
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert results.count(None) == 6


async def test_a_table_that_somebody_dropped_is_made_anew(cache: SQLiteCache, tmp_path: Path) -> None:
    await cache.write_entry(make_entry("k"))
    connection = sqlite3.connect(tmp_path / "cache.sqlite")
    with connection:
        connection.execute('DROP TABLE "cache:responses"')
        connection.execute('DELETE FROM "aiohttp_cache_di"')
    connection.close()
    (found,) = await asyncio.gather(cache.read_entry("k"), return_exceptions=True)
    assert found is None or "no such table" in str(found)  # None: the periodic check came first
    assert await cache.read_entry("k") is None
    await cache.write_entry(make_entry("k"))
    assert await cache.read_entry("k") is not None


async def test_a_release_of_aiosqlite_that_runs_no_job_is_an_error_and_no_hang(
    cache: SQLiteCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run_nothing(connection: aiosqlite.Connection, script: object) -> None:
        """Return as if the script had run."""

    monkeypatch.setattr(aiosqlite.Connection, "executescript", run_nothing)
    async with asyncio.timeout(10):
        for _ in range(2):
            with pytest.raises(StorageError, match="has not run the jobs"):
                await cache.read_entry("k")
        await cache.close()


@pytest.mark.parametrize("name", ["executescript", "__aenter__"])
async def test_a_release_of_aiosqlite_that_has_changed_is_an_error_and_no_hang(
    cache: SQLiteCache, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delattr(aiosqlite.Connection, name)
    async with asyncio.timeout(10):
        for _ in range(2):
            with pytest.raises(StorageError, match=f"{name}|asynchronous context manager"):
                await cache.read_entry("k")
        await cache.close()


async def test_a_file_is_opened_as_soon_as_there_are_file_descriptors_again(
    cache: SQLiteCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_loop() -> asyncio.AbstractEventLoop:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    async with asyncio.timeout(10):
        with monkeypatch.context() as patch:
            patch.setattr(asyncio, "SelectorEventLoop", no_loop)
            with pytest.raises(StorageError, match="Too many open files"):
                await cache.read_entry("k")
        await cache.write_entry(make_entry("k"))
        assert await cache.read_entry("k") is not None


def test_an_error_that_ends_the_transaction_is_the_one_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(connection: sqlite3.Connection, _: Table) -> bool:
        connection.execute("ROLLBACK")  # as SQLite does by itself after a disk error
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(inspection, "_is_prepared", fail)
    with (
        closing(sqlite3.connect(":memory:", isolation_level=None)) as connection,
        pytest.raises(sqlite3.OperationalError, match="disk I/O error"),
    ):
        inspection.is_prepared(connection, Table("cache"))
