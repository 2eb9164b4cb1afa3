"""SQLite files that hold anything: they are read, or set aside, and the next write is kept."""

# ruff: noqa: S608  # statements of a file's own
from __future__ import annotations

import asyncio
import os
import sqlite3
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from aiohttp_cache_di.backends.sqlite import SQLiteCache
from aiohttp_cache_di.backends.sqlite.file.opening import IN_USE_S
from aiohttp_cache_di.errors import StorageError
from tests.backends.entries import make_entry
from tests.fuzz.fuzzing import fuzzed

WITHIN_S = 20.0

TABLES = [
    '"cache:responses"',
    '"aiohttp_cache_di"',
    '"aiohttp_cache_di:leases"',
    '"aiohttp_cache_di:generation"',
    '"cache-softened:responses"',
]
COLUMNS = {
    TABLES[0]: ["id", "key", "store_until", "used", "leads_on", "info", "frame", "body"],
    TABLES[1]: ["name", "version"],
    TABLES[2]: ["key", "owner", "until"],
    TABLES[3]: ["one", "number", "tie", "is_ours", "softened"],
    TABLES[4]: ["row", "at"],
}
literals = st.one_of(
    st.sampled_from(["NULL", "0", "-1", "1.5", "1e999", "''", "'x'", "x''", "x'ff80'", "CAST(x'ff' AS TEXT)"]),
    st.integers(-(2**63), 2**63 - 1).map(str),
    st.sampled_from([str(2**63 - 1), str(2**62), str(2**47), "zeroblob(100000)", "'k1'", "3"]),
)


@st.composite
def statements(draw: st.DrawFn) -> str:
    """What another program could do to a table of ours."""
    table = draw(st.sampled_from(TABLES))
    column = draw(st.sampled_from(COLUMNS[table]))
    value = draw(literals)
    name = draw(st.sampled_from(["t", "endless", '"cache-trigger:INSERT:responses"', '"cache-index:used:responses"']))
    return draw(
        st.sampled_from(
            [
                f"UPDATE OR IGNORE {table} SET {column} = {value}",
                f"UPDATE OR IGNORE {table} SET {column} = {value} WHERE rowid = 1",
                f"INSERT OR IGNORE INTO {table} ({column}) VALUES ({value})",
                f"DELETE FROM {table}",
                f"DROP TABLE IF EXISTS {table}",
                f"CREATE TABLE IF NOT EXISTS {table} ({column})",
                f"CREATE VIEW IF NOT EXISTS {table} AS SELECT {value} AS {column}",
                f"CREATE TRIGGER {name} AFTER INSERT ON {table} BEGIN DELETE FROM {table}; END",
                f"CREATE TRIGGER {name} BEFORE DELETE ON {table} BEGIN SELECT RAISE(ABORT, 'no'); END",
                f"DROP TRIGGER IF EXISTS {name}",
                f"CREATE INDEX {name} ON {table} (hex({column}))",
                f"CREATE UNIQUE INDEX {name} ON {table} (length({column}))",
                f"DROP INDEX IF EXISTS {name}",
                f"ALTER TABLE {table} ADD COLUMN more DEFAULT {value}",
                f"ALTER TABLE {table} RENAME COLUMN {column} TO other",
                f"ALTER TABLE {table} RENAME TO {name}",
                f"UPDATE sqlite_sequence SET seq = {value}",
                f"PRAGMA user_version = {value}",
                "PRAGMA journal_mode = DELETE",
                "PRAGMA auto_vacuum = NONE; VACUUM",
                "CREATE TABLE IF NOT EXISTS users (name)",
            ]
        )
    )


@st.composite
def damages(draw: st.DrawFn) -> list[tuple[float, bytes]]:
    """Bytes, and where in the file they go."""
    return draw(st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=100)), max_size=4))


def change(path: Path, scripts: list[str], damage: list[tuple[float, bytes]]) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for script in scripts:
            with suppress(sqlite3.Error):
                connection.executescript(script)
    with path.open("r+b") as file:
        size = path.stat().st_size
        for share, data in damage:
            file.seek(int(share * size))
            file.write(data)


def age(path: Path) -> None:
    """Let the file and its log be last changed so long ago that no newer release can be using them."""
    changed_at = time.time() - IN_USE_S - 1
    for each in (path, path.with_name(path.name + "-wal")):
        with suppress(FileNotFoundError):
            os.utime(each, (changed_at, changed_at))


async def use(cache: SQLiteCache, path: Path, *, is_changed: bool) -> None:
    """Do what a program does; the last time that it is tried, all of it has to go well.

    Tables that claim to be of a newer release are left alone at first, so a minute passes between the tries.
    """
    for last in (False, False, True):
        try:
            for n in range(3):
                entry = await cache.read_entry(f"k{n}")
                assert entry is None or entry.body == b"%d" % n
            await cache.write_entry(make_entry("new", b"new"))
            entry = await cache.read_entry("new")
            assert entry is not None or (is_changed and not last), "what was written is there"
            keys, items = cache.keys(), cache.values()
            [key async for key in keys]
            [item async for item in items]
            await cache.size()
            await cache.delete("new")
            await cache.clear()
        except StorageError:
            if last:
                raise
            age(path)
        else:
            return


async def run(scripts: list[str], damage: list[tuple[float, bytes]], *, is_open: bool) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "cache.sqlite"  # a test may wait for a file
        cache = SQLiteCache(path, "responses", near_tier=False)
        for n in range(3):
            await cache.write_entry(make_entry(f"k{n}", b"%d" % n))
        if not is_open:
            await cache.close()
        change(path, scripts, damage)
        if is_open:
            await asyncio.sleep(0.11)  # after which the file is looked at again
        async with asyncio.timeout(WITHIN_S):
            await use(cache, path, is_changed=is_open)
            await cache.close()
        assert len({each.name for each in path.parent.glob("*.corrupt-?")}) <= 2


@fuzzed(50)
@given(st.lists(statements(), max_size=4))
def test_a_closed_file_of_any_schema_can_be_used(scripts: list[str]) -> None:
    asyncio.run(run(scripts, [], is_open=False))


@fuzzed(10)
@given(st.lists(statements(), max_size=3))
def test_an_open_file_of_any_schema_can_be_used_soon(scripts: list[str]) -> None:
    asyncio.run(run(scripts, [], is_open=True))


@fuzzed(40)
@given(damages())
def test_a_file_that_is_damaged_anywhere_can_be_used(damage: list[tuple[float, bytes]]) -> None:
    asyncio.run(run([], damage, is_open=False))
