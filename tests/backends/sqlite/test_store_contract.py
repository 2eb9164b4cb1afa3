"""The SQLite store fulfils the contract of stores: with a file, and in memory."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from aiohttp_cache_di.backends.sqlite.database import Database
from aiohttp_cache_di.backends.sqlite.file.files import CacheFile
from aiohttp_cache_di.backends.sqlite.file.schema import Table
from aiohttp_cache_di.backends.sqlite.store import SQLiteStore
from aiohttp_cache_di.backends.sqlite.writing import statements
from aiohttp_cache_di.backends.store.sizes import Bounds, RecordLimit
from aiohttp_cache_di.entries.codec import EntryCodec
from tests.backends.store_contract import MakeStore, StoreContract


def make_store(filename: str | Path, codec: EntryCodec | None = None) -> SQLiteStore:
    file = CacheFile.resolve(filename, False, {})
    parts = Table("responses"), codec or EntryCodec(), Bounds(None, None)
    return SQLiteStore(Database(file, *parts, fast_save=False, value_bytes=RecordLimit()))


class TestFile(StoreContract):
    @pytest.fixture
    def make(self, tmp_path: Path) -> MakeStore:
        return partial(make_store, tmp_path / "cache")


class TestLargeFile(StoreContract):
    """A file that is not emptied in one step."""

    @pytest.fixture
    def make(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeStore:
        monkeypatch.setattr(statements, "AT_ONCE_PAGES", 0)
        monkeypatch.setattr(statements, "CHUNK_ROWS", 20)
        return partial(make_store, tmp_path / "cache")


class TestMemory(StoreContract):
    is_shared = False
    outlives_loops = False

    @pytest.fixture
    def make(self) -> MakeStore:
        return partial(make_store, ":memory:")
