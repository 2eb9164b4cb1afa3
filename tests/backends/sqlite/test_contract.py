"""SQLite fulfils the contract of storages: with a file, without the near tier, and in memory."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from aiohttp_cache_di.backends.sqlite import SQLiteCache
from tests.backends.contract import MakeStorage, StorageContract


class TestFile(StorageContract):
    @pytest.fixture
    def make(self, tmp_path: Path) -> MakeStorage:
        return partial(SQLiteCache, tmp_path / "cache", "responses")


class TestFileWithoutNearTier(StorageContract):
    @pytest.fixture
    def make(self, tmp_path: Path) -> MakeStorage:
        return partial(SQLiteCache, tmp_path / "cache", "responses", near_tier=False)


class TestMemory(StorageContract):
    @pytest.fixture
    def make(self) -> MakeStorage:
        return partial(SQLiteCache, ":memory:", "responses")
