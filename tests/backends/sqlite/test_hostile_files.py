"""A SQLite file may contain SQL: none of it runs, nothing waits for it, and a file with foreign SQL is set aside."""

# ruff: noqa: ASYNC240, S608  # tests may block: they do to files what others would do, by table names of ours
from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from aiohttp_cache_di.backends.sqlite import SQLiteBackend, SQLiteCache, connections
from aiohttp_cache_di.backends.sqlite.file import checked, thread
from aiohttp_cache_di.backends.sqlite.file.files import CacheFile
from aiohttp_cache_di.backends.sqlite.file.inspection import is_prepared
from aiohttp_cache_di.backends.sqlite.file.opening import open_for_writing
from aiohttp_cache_di.backends.sqlite.file.schema import Table
from aiohttp_cache_di.backends.store import sizes
from aiohttp_cache_di.errors import StorageError
from tests.backends.entries import make_entry

TABLE = '"cache:responses"'
GENERATION = '"aiohttp_cache_di:generation"'
ENDLESS = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT {} FROM r"
ROW = "n AS id, 'k' || n AS key, n AS store_until, n AS used, 0 AS leads_on, x'00' AS frame"
MAX_ID = 2**63 - 1
QUICK_S = 5.0

NOT_OURS = {
    "an endless view for the table": (
        f"DROP TABLE {TABLE}; CREATE VIEW {TABLE} AS {ENDLESS.format(ROW)} WHERE n < 0"  #
    ),
    "an endless view for the list of tables": (
        'DROP TABLE "aiohttp_cache_di"; CREATE VIEW "aiohttp_cache_di" AS '
        + ENDLESS.format("'' AS name, 3 AS version")
        + " WHERE n < 0"
    ),
    "an endless view for the generation": (
        f"DROP TABLE {GENERATION}; CREATE VIEW {GENERATION} AS "
        + ENDLESS.format("1 AS one, 1 AS number, 1 AS tie, 0 AS is_ours")
        + " WHERE n < 0"
    ),
    "an endless trigger": (
        f"CREATE VIEW endless AS {ENDLESS.format('n')} WHERE n < 0; "
        f"CREATE TRIGGER t AFTER INSERT ON {TABLE} BEGIN SELECT count(*) FROM endless; END"
    ),
    "a trigger that copies": (
        f"CREATE TABLE loot (key, frame); CREATE TRIGGER t AFTER INSERT ON {TABLE} "
        "BEGIN INSERT INTO loot VALUES (new.key, new.frame); END"
    ),
    "a trigger by another spelling": (
        'CREATE TABLE loot (key); CREATE TRIGGER t BEFORE DELETE ON "CACHE:Responses" '
        "BEGIN INSERT INTO loot VALUES (old.key); END"
    ),
    "a trigger on the leases": (
        'CREATE TABLE loot (key); CREATE TRIGGER t AFTER INSERT ON "aiohttp_cache_di:leases" '
        "BEGIN INSERT INTO loot VALUES (new.key); END"
    ),
    "a trigger of ours that does something else": (
        'CREATE TABLE loot (key); DROP TRIGGER "cache-trigger:INSERT:responses"; '
        f'CREATE TRIGGER "cache-trigger:INSERT:responses" AFTER INSERT ON {TABLE} '
        "BEGIN INSERT INTO loot VALUES (new.key); END"
    ),
    "a trigger of ours that is gone": 'DROP TRIGGER "cache-trigger:INSERT:responses"',
    "an index that computes": f"CREATE INDEX i ON {TABLE} (hex(frame))",
    "an index that is gone": 'DROP INDEX "cache-index:used:responses"',
    "a table that is gone": f"DROP TABLE {TABLE}",
    "a shared table that is gone": 'DROP TABLE "aiohttp_cache_di:leases"',
    "another column": f"ALTER TABLE {TABLE} ADD COLUMN more",
    "a computed column": f"ALTER TABLE {TABLE} ADD COLUMN more AS (hex(frame))",
    "a column of another name": f"ALTER TABLE {TABLE} RENAME COLUMN used TO abused",
    "another table of the name": f"DROP TABLE {TABLE}; CREATE TABLE {TABLE} (key, value)",
    "a virtual table of the name": f"DROP TABLE {TABLE}; CREATE VIRTUAL TABLE {TABLE} USING fts5(key, frame)",
    "no generation": f"DELETE FROM {GENERATION}",
    "a generation of text": f"UPDATE {GENERATION} SET number = 'x'",
    "a last generation": f"UPDATE {GENERATION} SET number = {MAX_ID}",
    "a tie of bytes": f"UPDATE {GENERATION} SET tie = x'ff'",
    "a tie that overflows": f"UPDATE {GENERATION} SET tie = {MAX_ID}",
    "no row id left": f"UPDATE {TABLE} SET id = {MAX_ID} WHERE key = 'k1'",
    "no number left for a row": f"UPDATE sqlite_sequence SET seq = {MAX_ID}",
    "a list of tables with bytes": "INSERT INTO \"aiohttp_cache_di\" VALUES (x'00', 3)",
    "a version that is none": "UPDATE \"aiohttp_cache_di\" SET version = 'x' WHERE name = 'responses'",
    "a view in a file of another version": (
        f'UPDATE "aiohttp_cache_di" SET version = 1; DROP TABLE {TABLE}; '
        f"CREATE VIEW {TABLE} AS {ENDLESS.format(ROW)} WHERE n < 0"
    ),
    "a trigger in the way of ours": (
        "DELETE FROM \"aiohttp_cache_di\" WHERE name = 'responses'; "
        f"DROP TABLE {TABLE}; CREATE TABLE other (n); "
        'CREATE TRIGGER "cache-trigger:INSERT:responses" AFTER INSERT ON other BEGIN SELECT 1; END'
    ),
}


@pytest.fixture
async def cache(tmp_path: Path) -> AsyncIterator[SQLiteCache]:
    storage = SQLiteCache(tmp_path / "cache", "responses", near_tier=False)
    for n in range(3):
        await storage.write_entry(make_entry(f"k{n}"))
    yield storage
    await storage.close()


def run(path: Path, script: str) -> None:
    with closing(sqlite3.connect(path / "cache.sqlite")) as connection:
        connection.executescript(script)


def loot(path: Path) -> list[object]:
    with closing(sqlite3.connect(path)) as connection:
        try:
            return connection.execute("SELECT * FROM loot").fetchall()
        except sqlite3.OperationalError:  # the file has no such table
            return []


async def is_of_use(cache: SQLiteCache) -> bool:
    """Whether reads, writes, deletions, leases and listings work."""
    await cache.write_entry(make_entry("new", b"new"))
    entry = await cache.read_entry("new")
    lease = await cache._store.acquire("other", 1.0)
    await cache._store.release("other")
    await cache.delete("new")
    await cache.write_entry(make_entry("new", b"new"))
    keys = cache.keys()
    return entry is not None and entry.body == b"new" and bool(lease) and "new" in [key async for key in keys]


@pytest.mark.parametrize("what", NOT_OURS)
async def test_what_a_closed_file_has_in_place_of_ours_is_set_aside(
    cache: SQLiteCache, tmp_path: Path, what: str
) -> None:
    await cache.close()
    run(tmp_path, NOT_OURS[what])
    async with asyncio.timeout(QUICK_S):
        assert await cache.read_entry("k0") is None
        assert await is_of_use(cache)
    assert (tmp_path / "cache.sqlite.corrupt-1").exists()
    assert not (tmp_path / "cache.sqlite.corrupt-2").exists(), "once"
    assert loot(tmp_path / "cache.sqlite.corrupt-1") == [], "and nothing of it has run"


@pytest.mark.parametrize("what", NOT_OURS)
async def test_what_is_put_in_place_of_ours_while_the_file_is_open_is_found_out(
    cache: SQLiteCache, tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, NOT_OURS[what])
    await asyncio.sleep(checked.FILE_CHECK_S)
    async with asyncio.timeout(4 * QUICK_S):
        monkeypatch.setattr(thread, "JOB_S", 0.3)  # a machine that stalls interrupts own statements, too
        for _ in range(5):  # until SQLite or a check notices it
            try:
                assert await is_of_use(cache)
            except StorageError:
                continue
            break
        else:
            raise AssertionError("the file is never mended")
        monkeypatch.undo()
        await cache.close()
    async with asyncio.timeout(QUICK_S):
        assert await is_of_use(cache), "nor is it left to the next program"


@pytest.mark.parametrize("key", ["17", "1.5"])
async def test_a_key_that_is_none_is_damage(cache: SQLiteCache, tmp_path: Path, key: str) -> None:
    run(tmp_path, f"UPDATE {TABLE} SET key = {key} WHERE key = 'k1'")
    keys = cache.keys()
    assert [key async for key in keys] == []
    assert await is_of_use(cache)
    assert (tmp_path / "cache.sqlite.corrupt-1").exists()


@pytest.mark.parametrize(
    "change",
    [
        "frame = 17",
        "frame = 'text'",
        "store_until = 'text'",
        "store_until = x'00'",
        "used = 'text'",
        "leads_on = 'text'",
        "leads_on = 1e300",
        "id = -1",
    ],
)
async def test_a_row_of_wrong_types_fails_no_other(cache: SQLiteCache, tmp_path: Path, change: str) -> None:
    run(tmp_path, f"UPDATE {TABLE} SET {change} WHERE key = 'k1'")
    assert await cache.read_entry("k0") is not None
    await cache.read_entry("k1")
    assert await is_of_use(cache)
    assert len([item async for item in cache.values()]) in (3, 4)
    await cache._store.delete_expired(time.time())
    await cache.write_entry(make_entry("k1"))
    assert await cache.read_entry("k1") is not None
    await cache.clear()
    assert await cache.size() == 0


async def test_what_other_programs_have_in_the_file_is_their_affair(tmp_path: Path) -> None:
    run(
        tmp_path,
        "CREATE TABLE users (name); INSERT INTO users VALUES ('kept'); CREATE TABLE log (name);"
        "CREATE VIEW names AS SELECT name FROM users; CREATE INDEX i ON users (name);"
        "CREATE TRIGGER t AFTER INSERT ON users BEGIN INSERT INTO log VALUES (new.name); END; ANALYZE",
    )
    cache = SQLiteCache(tmp_path / "cache", "responses")
    assert await is_of_use(cache)
    await cache.close()
    other = SQLiteCache(tmp_path / "cache", 'a "name": of its own')
    assert await is_of_use(other)
    await other.close()
    assert await cache.read_entry("new") is not None
    await cache.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "cache.sqlite",
        "cache.sqlite-generations",
        "cache.sqlite-leases",
    ]


@pytest.mark.parametrize("name", ["responses:until", "responses:used", "responses:INSERT", "x:DELETE:responses"])
async def test_a_table_may_be_called_like_what_belongs_to_another(
    cache: SQLiteCache, tmp_path: Path, name: str
) -> None:
    other = SQLiteCache(tmp_path / "cache", name)
    assert await is_of_use(other)
    await other.close()
    assert await cache.read_entry("k0") is not None


async def test_tables_of_another_version_are_made_anew_in_place(cache: SQLiteCache, tmp_path: Path) -> None:
    await cache.close()
    run(tmp_path, 'UPDATE "aiohttp_cache_di" SET version = version - 2')
    assert await cache.read_entry("k0") is None
    assert await is_of_use(cache)
    assert not list(tmp_path.glob("*corrupt*"))


async def test_what_lasts_too_long_is_interrupted_and_closing_ends(
    cache: SQLiteCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thread, "JOB_S", 0.3)
    monkeypatch.setattr(checked, "FILE_CHECK_S", 60.0)  # no check notices it earlier
    run(tmp_path, NOT_OURS["an endless trigger"])
    begun = time.monotonic()
    with pytest.raises(StorageError, match="INTERRUPT"):
        await cache.write_entry(make_entry("new"))
    await cache.close()
    assert time.monotonic() - begun < QUICK_S


async def test_closing_interrupts_what_would_last(
    cache: SQLiteCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checked, "FILE_CHECK_S", 60.0)
    monkeypatch.setattr(connections, "CLOSE_S", 0.2)
    monkeypatch.setattr(thread, "STOP_S", 0.3)
    run(tmp_path, NOT_OURS["an endless trigger"])
    writing = asyncio.ensure_future(cache.write_entry(make_entry("new")))
    await asyncio.sleep(0.05)
    begun = time.monotonic()
    await cache.close()
    assert time.monotonic() - begun < QUICK_S < thread.JOB_S
    with pytest.raises(StorageError):
        await writing


async def test_closing_leaves_a_thread_behind_that_cannot_be_interrupted(
    cache: SQLiteCache, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(thread, "STOP_S", 0.1)
    monkeypatch.setattr(thread, "END_S", 0.1)
    here = cache._store.database.here()
    assert here is not None
    answer = threading.Event()  # as of a file system that does not answer
    waiting = here.connections.query(lambda connection: answer.wait())
    begun = time.monotonic()
    await cache.close()
    assert time.monotonic() - begun < QUICK_S
    assert "left behind" in caplog.text
    answer.set()
    await waiting


async def test_closing_waits_once_for_all_that_hangs(
    cache: SQLiteCache, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connections, "CLOSE_S", 0.2)
    monkeypatch.setattr(thread, "END_S", 0.1)
    here = cache._store.database.here()
    assert here is not None
    answer = threading.Event()  # as of a file system that does not answer
    waiting = [
        asyncio.ensure_future(here.connections.query(lambda connection: answer.wait())),
        asyncio.ensure_future(here.connections.call(lambda transaction: answer.wait())),
    ]
    begun = time.monotonic()
    await cache.close()
    assert time.monotonic() - begun < thread.STOP_S
    assert caplog.text.count("left behind") == 2
    answer.set()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_file_that_cannot_be_opened_in_time_can_be_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "CLOSE_S", 0.1)
    answer = threading.Event()

    def wait(file: CacheFile) -> None:
        answer.wait()

    monkeypatch.setattr(CacheFile, "create", wait)
    cache = SQLiteCache(tmp_path / "cache", "responses")
    reading = asyncio.ensure_future(cache.read_entry("k"))
    await asyncio.sleep(0.01)
    async with asyncio.timeout(QUICK_S):
        await cache.close()
    answer.set()
    with pytest.raises(StorageError):
        await reading


def test_looking_at_a_file_takes_next_to_no_time(tmp_path: Path) -> None:
    table = Table("responses")
    connection = open_for_writing(CacheFile.resolve(tmp_path / "cache", False, {}), table, fast_save=False)
    with closing(connection):
        times: list[float] = []
        for _ in range(20):
            begun = time.perf_counter()
            assert is_prepared(connection, table)
            times.append(time.perf_counter() - begun)
        assert min(times) < 0.005


BIG = 16_000_000


@pytest.fixture
async def bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SQLiteBackend]:
    """A backend with three entries that stores nothing as large as `BIG`."""
    monkeypatch.setattr(sizes, "VALUE_BYTES", 1000)
    backend = SQLiteBackend(str(tmp_path / "cache"), max_body_bytes=1000, near_tier=False)
    for n in range(3):
        await backend.write(make_entry(f"k{n}"))
    await backend.close()
    tracemalloc.start()
    try:
        yield backend
    finally:
        tracemalloc.stop()
        await backend.close()


def most_bytes() -> int:
    return tracemalloc.get_traced_memory()[1]


async def test_a_frame_that_is_larger_than_any_of_ours_is_not_read(bounded: SQLiteBackend, tmp_path: Path) -> None:
    run(tmp_path, f"UPDATE {TABLE} SET frame = zeroblob({BIG}) WHERE key = 'k1'")
    cache = bounded.responses
    entries = await asyncio.gather(*(cache.read_entry(f"k{n}") for n in range(3)))
    assert [entry and entry.key for entry in entries] == ["k0", None, "k2"]
    assert await cache.read_entry("k1") is None
    assert len([url async for url in bounded.get_urls()]) == 2
    assert await cache.size() == 3
    assert most_bytes() < BIG / 2
    await cache.write_entry(make_entry("k1"))
    assert await cache.read_entry("k1") is not None
    assert not list(tmp_path.glob("*.corrupt-*"))


@pytest.mark.parametrize(
    "statement",
    [
        f"INSERT INTO {TABLE} (id, key, used, frame) VALUES (99, zeroblob({BIG}), 1, x'00')",
        f"UPDATE {TABLE} SET frame = CAST(zeroblob({BIG}) AS TEXT) WHERE key = 'k1'",
        f'INSERT INTO "aiohttp_cache_di" VALUES (CAST(zeroblob({BIG}) AS TEXT), 3)',
        f"UPDATE {GENERATION} SET number = zeroblob({BIG})",
    ],
)
async def test_another_value_that_is_too_large_is_damage(
    bounded: SQLiteBackend, tmp_path: Path, statement: str
) -> None:
    run(tmp_path, statement)
    for _ in range(2):
        with contextlib.suppress(StorageError):
            [url async for url in bounded.get_urls()]
            keys = bounded.responses.keys()
            [key async for key in keys]
        await bounded.write(make_entry("new"))
    assert await bounded.responses.read_entry("new") is not None
    assert most_bytes() < BIG / 2
    assert len(list(tmp_path.glob("*.corrupt-1"))) == 1


async def test_no_entry_is_written_that_would_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "VALUE_BYTES", 1000)
    backend = SQLiteBackend(str(tmp_path / "cache"), max_body_bytes=1000, near_tier=False)
    await backend.responses.write_entry(make_entry("k", bytes(4 * 1024 * 1024)))
    for key, body in (("large", bytes(5 * 1024 * 1024)), ("k" * (2 * 1024 * 1024), b"")):
        with pytest.raises(StorageError):
            await backend.responses.write_entry(make_entry(key, body))
        assert await backend.responses.read_entry(key) is None
    assert await backend.responses.read_entry("k") is not None
    await backend.close()
    monkeypatch.setattr(sizes, "BESIDE_BODY_BYTES", 1024 * 1024)
    assert await backend.responses.read_entry("k") is None
    await backend.close()
    assert not list(tmp_path.glob("*.corrupt-*"))


async def test_tables_whose_names_differ_in_case_alone_are_apart(tmp_path: Path) -> None:
    names = ["app", "App", "APP", "^app", "^App", "\u00e4pp", "\u00c4pp"]
    caches = [SQLiteCache(tmp_path / "cache", name) for name in names]
    for cache in caches:
        await cache.write_entry(make_entry("k", cache.table_name.encode()))
    for cache in caches:
        entry = await cache.read_entry("k")
        assert entry is not None
        assert entry.body == cache.table_name.encode()
    await caches[1].clear()
    assert [await cache.size() for cache in caches] == [1, 0, 1, 1, 1, 1, 1]
    for cache in caches:
        await cache.close()
    again = SQLiteCache(tmp_path / "cache", "APP")
    assert await again.size() == 1
    await again.close()
    assert not list(tmp_path.glob("*.corrupt-*"))


async def test_a_file_whose_table_of_used_ids_is_damaged_is_begun_anew(tmp_path: Path) -> None:
    cache = SQLiteCache(tmp_path / "cache", "t")
    await cache.write_entry(make_entry("k"))
    await cache.close()
    file = tmp_path / "cache.sqlite"
    file.write_bytes(file.read_bytes().replace(b"sqlite_sequence(name,seq)", b"sqlite_sequence( ame,seq)"))
    cache = SQLiteCache(tmp_path / "cache", "t")
    assert await cache.size() == 0
    await cache.write_entry(make_entry("k"))
    assert await cache.size() == 1
    await cache.close()
    assert (tmp_path / "cache.sqlite.corrupt-1").exists()
