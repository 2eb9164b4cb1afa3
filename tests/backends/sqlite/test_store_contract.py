"""The SQLite store fulfils the contract of stores: with a file, and in memory."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from aiohttp_cache_di.backends.sqlite.options import SQLiteOptions, open_database
from aiohttp_cache_di.backends.sqlite.store import SQLiteStore
from aiohttp_cache_di.backends.store.sizes import record_bytes
from aiohttp_cache_di.entries.codec import EntryCodec
from tests.backends.store_contract import MakeStore, StoreContract


def make_store(filename: str | Path, codec: EntryCodec | None = None) -> SQLiteStore:
    return SQLiteStore(
        open_database(filename, "responses", False, False, SQLiteOptions(), record_bytes()), codec or EntryCodec()
    )


class TestFile(StoreContract):
    @pytest.fixture
    def make(self, tmp_path: Path) -> MakeStore:
        return partial(make_store, tmp_path / "cache")


class TestMemory(StoreContract):
    is_shared = False
    outlives_loops = False

    @pytest.fixture
    def make(self) -> MakeStore:
        return partial(make_store, ":memory:")
