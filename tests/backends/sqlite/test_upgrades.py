"""A file of an earlier version: what is in it stays, where its tables can be made those of this version."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from aiohttp_cache_di.backends.sqlite import SQLiteBackend, SQLiteCache
from aiohttp_cache_di.entries.codec import EntryCodec
from aiohttp_cache_di.entries.info import info_of, pack_info
from tests.backends.entries import make_entry

WATCHED = """\
WHEN (SELECT is_ours FROM "aiohttp_cache_di:generation") = 0 \
BEGIN UPDATE "aiohttp_cache_di:generation" SET tie = tie + 1; END;"""
SHARED = """
CREATE TABLE "aiohttp_cache_di" (name TEXT PRIMARY KEY, version INTEGER NOT NULL);
CREATE TABLE "aiohttp_cache_di:leases" (key PRIMARY KEY, owner BLOB NOT NULL, until REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE "aiohttp_cache_di:generation" (one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER NOT NULL, \
tie INTEGER NOT NULL, is_ours INTEGER NOT NULL, softened INTEGER NOT NULL);
INSERT INTO "aiohttp_cache_di" VALUES ('', 5);
INSERT INTO "aiohttp_cache_di:generation" VALUES (1, 1, 5006266944538542080, 0, 0);
"""
OWN = """
CREATE TABLE "cache:NAME" (id INTEGER PRIMARY KEY AUTOINCREMENT, key NOT NULL UNIQUE, store_until INTEGER, \
used INTEGER NOT NULL, leads_on INTEGER, info BLOB, frame BLOB NOT NULL);
CREATE INDEX "cache-index:until:NAME" ON "cache:NAME" (store_until) WHERE store_until IS NOT NULL;
CREATE INDEX "cache-index:used:NAME" ON "cache:NAME" (used);
CREATE INDEX "cache-index:leads_on:NAME" ON "cache:NAME" (leads_on) WHERE leads_on;
CREATE TABLE "cache-softened:NAME" (row INTEGER PRIMARY KEY, at REAL NOT NULL);
CREATE TRIGGER "cache-trigger:INSERT:NAME" AFTER INSERT ON "cache:NAME" WATCHED
CREATE TRIGGER "cache-trigger:UPDATE:NAME" AFTER UPDATE OF id, key, store_until, leads_on, info, frame \
ON "cache:NAME" WATCHED
CREATE TRIGGER "cache-trigger:DELETE:NAME" AFTER DELETE ON "cache:NAME" WATCHED
INSERT INTO "aiohttp_cache_di" VALUES ('NAME', 5);
"""
"""As version 5 has made them, word for word."""

NAMES = ["responses", "others"]
ENTRY = make_entry("a" * 40, b"body" * 1000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of version 5, with an entry in each of two tables."""
    file = tmp_path / "cache.sqlite"
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(
            SHARED + "".join(OWN.replace("NAME", name).replace("WATCHED", WATCHED) for name in NAMES)
        )
        row = bytes.fromhex(ENTRY.key), pack_info(info_of(ENTRY)), EntryCodec().pack(ENTRY, ENTRY.key)
        for name in NAMES:
            columns = "(key, used, leads_on, info, frame)"
            connection.execute(f'INSERT INTO "cache:{name}" {columns} VALUES (?, 1, 0, ?, ?)', row)  # noqa: S608
    return file


@asynccontextmanager
async def opened(path: Path) -> AsyncGenerator[SQLiteBackend]:
    backend = SQLiteBackend(str(path))
    yield backend
    await backend.close()


@pytest.mark.parametrize("name", NAMES)
async def test_what_the_last_version_has_stored_is_read_and_told_of(path: Path, name: str) -> None:
    for table in (name, *NAMES):
        cache = SQLiteCache(path, table)
        assert await cache.read_entry(ENTRY.key) == ENTRY
        await cache.close()
    async with opened(path) as backend:
        assert [info async for info in backend.entries()] == [info_of(ENTRY)]
    assert not list(path.parent.glob("*corrupt*"))


async def test_a_file_that_was_upgraded_is_written_and_watched_like_a_new_one(path: Path) -> None:
    async with opened(path) as backend:
        another = make_entry("b" * 40, b"another")
        await backend.responses.write_entry(another)
        assert await backend.responses.read_entry(another.key) == another
        with closing(sqlite3.connect(path)) as connection, connection:
            tie = 'SELECT tie FROM "aiohttp_cache_di:generation"'
            before = connection.execute(tie).fetchone()[0]
            connection.execute("UPDATE \"cache:responses\" SET body = x'00' WHERE body IS NOT NULL")
            assert connection.execute(tie).fetchone()[0] == before + 1
        assert await backend.responses.read_entry(another.key) is None


async def test_a_file_of_the_last_version_with_something_of_its_own_is_set_aside(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript('CREATE TRIGGER t AFTER INSERT ON "cache:responses" BEGIN SELECT 1; END')
    async with opened(path) as backend:
        assert await backend.responses.read_entry(ENTRY.key) is None
    assert list(path.parent.glob("*corrupt*"))
