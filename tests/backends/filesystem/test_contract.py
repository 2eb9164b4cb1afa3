"""Files keep to the contracts of stores and of storages."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from aiohttp_cache_di.backends.filesystem import FileCache
from tests.backends.contract import MakeStorage, StorageContract
from tests.backends.filesystem.places import make_store
from tests.backends.store_contract import MakeStore, StoreContract


class TestStore(StoreContract):
    @pytest.fixture
    def make(self, tmp_path: Path) -> MakeStore:
        return partial(make_store, tmp_path / "cache")


class TestStoreWithoutLocks(StoreContract):
    @pytest.fixture
    def make(self, tmp_path: Path) -> MakeStore:
        return partial(make_store, tmp_path / "cache", use_locks=False)


class TestStorage(StorageContract):
    @pytest.fixture
    def make(self, tmp_path: Path) -> MakeStorage:
        return partial(FileCache, tmp_path / "cache")
