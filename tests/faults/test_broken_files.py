"""A SQLite file that is locked, damaged, deleted, read-only or on a full disk: no request fails."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import sqlite3
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from yarl import URL

from aiohttp_cache_di.backends.sqlite import SQLiteBackend
from tests.faults.conftest import Note
from tests.faults.load import DEADLINE_S, RESUMES_WITHIN_S, SLACK_S, Traffic, hits_resume
from tests.faults.origin import Origin
from tests.faults.processes import Workers
from tests.stores import Store, make_store

LOCKER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA locking_mode=" + sys.argv[2])
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.readline()
connection.execute("ROLLBACK")
connection.close()
"""


@pytest.fixture(autouse=True)
def warnings_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of a cache file that does not exist yet."""
    return tmp_path / "cache.sqlite"


@asynccontextmanager
async def locked(path: Path) -> AsyncGenerator[None]:
    """Let another process hold the file's write lock."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", LOCKER, str(path), "NORMAL"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"locked\n"
        yield
    finally:
        await process.communicate(b"\n")


@pytest.mark.parametrize("seconds", [3, pytest.param(12, marks=pytest.mark.slow)])
async def test_a_file_that_another_process_has_locked(
    path: Path, origin: Origin, note: Note, caplog: pytest.LogCaptureFixture, seconds: int
) -> None:
    backend = SQLiteBackend(str(path))
    async with Traffic(backend, origin) as traffic:
        async with locked(path):
            hits = traffic.hits
            await asyncio.sleep(seconds)
            assert traffic.hits > hits, "what is stored is still served"
            assert backend.stats.health().status == "degraded"
        resumed_s = await hits_resume(traffic)
    note(**traffic.figures, resumed_s=resumed_s)
    await backend.close()
    traffic.check()
    assert backend.stats.store_errors
    assert 1 <= len(caplog.records) <= len(backend.stats.store_errors)
    assert resumed_s < RESUMES_WITHIN_S


async def test_a_file_that_is_locked_at_the_start(path: Path, origin: Origin, note: Note) -> None:
    sqlite3.connect(path).close()
    backend = SQLiteBackend(str(path))
    async with locked(path), Traffic(backend, origin) as traffic:
        await asyncio.sleep(0.5)
    async with Traffic(backend, origin) as later:
        resumed_s = await hits_resume(later)
    note(**traffic.figures, resumed_s=resumed_s)
    await backend.close()
    traffic.check()
    later.check()
    assert resumed_s < RESUMES_WITHIN_S


# ---- damage


def middle(path: Path) -> None:
    """Random bytes overwrite most of the file, but not its first page."""
    chance = random.Random(3)
    size = path.stat().st_size
    with path.open("r+b") as file:
        for _ in range(200):
            file.seek(chance.randrange(4096, max(4097, size - 512)))
            file.write(chance.randbytes(400))


def header(path: Path) -> None:
    """The header of another file overwrites its own."""
    with path.open("r+b") as file:
        file.write(b"\x7fELF" + bytes(200))


def truncated(path: Path) -> None:
    """Half of the file is gone."""
    os.truncate(path, path.stat().st_size // 2 // 4096 * 4096 - 100)


def emptied(path: Path) -> None:
    """Nothing is left in it."""
    os.truncate(path, 0)


def text(path: Path) -> None:
    """It is replaced by text."""
    path.write_text("not a database\n" * 1000)


def deleted(path: Path) -> None:
    """The file and its log are deleted."""
    for each in path.parent.glob(path.name + "*"):
        each.unlink()


def deleted_alone(path: Path) -> None:
    """The file is deleted, but not its log."""
    path.unlink()


def log_damaged(path: Path) -> None:
    """The log is overwritten in random places."""
    log = path.with_name(path.name + "-wal")
    if log.exists():
        with log.open("r+b") as file:
            file.seek(32)
            file.write(random.Random(4).randbytes(max(0, log.stat().st_size - 32)))


def replaced(path: Path) -> None:
    """Another cache file was moved over it."""
    other = path.with_name("other")
    sqlite3.connect(other).close()
    other.replace(path)


def is_sound(path: Path) -> bool:
    """Whether SQLite finds nothing wrong with the file."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def fold_log(path: Path) -> None:
    """Move everything from the log into the file, so that there is something to damage."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)")


DAMAGES: list[Callable[[Path], None]] = [
    middle,
    header,
    truncated,
    emptied,
    text,
    deleted,
    deleted_alone,
    log_damaged,
    replaced,
]
SET_ASIDE = {middle, header, text}
NOTICED = {deleted, deleted_alone, replaced}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_file_that_is_damaged_while_it_is_open(
    path: Path, origin: Origin, note: Note, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    backend = SQLiteBackend(str(path), near_tier=False)
    async with Traffic(backend, origin, urls=200, clients=32) as traffic:
        await asyncio.sleep(0.1)
        fold_log(path)
        damage(path)
        await asyncio.sleep(0.3)
        resumed_s = await hits_resume(traffic)
    aside = len(list(path.parent.glob("*corrupt*[0-9]")))
    note(**traffic.figures, unreadable=backend.stats.unreadable, resumed_s=resumed_s, set_aside=aside)
    await backend.close()
    traffic.check()
    assert resumed_s < RESUMES_WITHIN_S
    if aside or damage in NOTICED:  # pages in memory and in the log may hide other damage
        assert backend.stats.unreadable >= 1
        assert caplog.records


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_file_that_is_damaged_before_it_is_opened(
    path: Path, origin: Origin, note: Note, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    before = SQLiteBackend(str(path))
    async with Traffic(before, origin, urls=200, clients=0):
        pass
    await before.close()
    damage(path)
    backend = SQLiteBackend(str(path))
    async with Traffic(backend, origin, urls=200, clients=8) as traffic:
        resumed_s = await hits_resume(traffic)
    aside = sorted(file.name for file in path.parent.glob("*corrupt*"))
    note(**traffic.figures, unreadable=backend.stats.unreadable, resumed_s=resumed_s, set_aside=len(aside))
    await backend.close()
    traffic.check()
    assert resumed_s < RESUMES_WITHIN_S
    if damage in SET_ASIDE:
        assert aside, "the damaged file is kept"
        assert backend.stats.unreadable >= 1
        assert any("damaged" in record.getMessage() for record in caplog.records)
    assert is_sound(path)


# ---- what cannot be written


async def stored_by(store: Store, origin: Origin) -> list[str]:
    """Store responses, and return their URLs."""
    backend = store.backend()
    async with Traffic(backend, origin, clients=0):
        pass
    await backend.close()
    return [f"{origin.url}/old/{number}" for number in range(20)]


@pytest.fixture
def public_path() -> Iterator[Path]:
    """A directory that other users of the machine can reach, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)


@pytest.mark.parametrize("what", ["file", "file and directory"])
async def test_a_file_that_may_only_be_read_keeps_serving_hits(
    public_path: Path, origin: Origin, note: Note, what: str
) -> None:
    store = make_store("sqlite", public_path, None, "cache")
    old = await stored_by(store, origin)
    path = Path(store.options["cache_name"])
    new = [f"{origin.url}/new/{number}" for number in range(20)]
    job = {"kind": "sqlite", "options": store.options, "task": "fetch", "urls": old + new, "tasks": 2, "size": 2000}
    job |= {"unprivileged": True, "rounds": 2, "backend": {"storage_deadline": 5.0}}  # on a busy machine
    before = origin.total
    for each in path.parent.iterdir():
        each.chmod(0o444)
    path.parent.chmod(0o777 if what == "file" else 0o555)
    try:
        async with Workers(job) as workers:
            workers.go()
            (report,) = await workers.reports(within_s=40)
    finally:
        path.parent.chmod(0o700)
    note(**{name: report["stats"][name] for name in ("hits", "coalesced", "skipped", "store_errors", "circuit")})
    assert report["outcomes"] == {"ok": 160}
    assert {origin.hits[URL(url).raw_path_qs] for url in old} == {1}, "all of those that are in the file are hits"
    assert report["stats"]["hits"] >= 80
    assert origin.total - before <= 40, "two at the same time share one request"


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
async def test_a_disk_that_is_full(store: Store, origin: Origin, note: Note) -> None:
    old = await stored_by(store, origin)
    size = max(file.stat().st_size for file in Path(store.options["cache_name"]).parent.iterdir())
    new = [f"{origin.url}/new/{number}" for number in range(300)]
    job = {"kind": "sqlite", "options": store.options, "task": "fetch", "urls": old + new, "tasks": 1, "size": 2000}
    job["file_size_limit"] = size + 64 * 1024
    async with Workers(job) as workers:
        workers.go()
        (report,) = await workers.reports(within_s=40)
    note(outcomes=report["outcomes"], hits=report["stats"]["hits"], errors=report["stats"]["store_errors"])
    assert report["outcomes"] == {"ok": 320}
    assert report["stats"]["hits"] >= 20
    assert report["stats"]["store_errors"]
    assert report["slowest_s"] < 20 * (DEADLINE_S + SLACK_S)
    assert is_sound(Path(store.options["cache_name"]))


async def test_a_directory_that_cannot_be_made(tmp_path: Path, origin: Origin, note: Note) -> None:
    (tmp_path / "file").write_text("in the way")
    backend = SQLiteBackend(str(tmp_path / "file" / "cache.sqlite"))
    async with Traffic(backend, origin) as traffic:
        await asyncio.sleep(0.3)
    note(**traffic.figures, circuit=backend.stats.circuit)
    await backend.close()
    traffic.check()
    assert backend.stats.health().status == "degraded"
