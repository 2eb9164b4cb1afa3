"""The store in files fulfils the contracts of stores and of storages."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest

from aiohttp_cache_di.backends.filesystem import FileCache
from aiohttp_cache_di.backends.filesystem.places import directory
from tests.backends.contract import MakeStorage, StorageContract
from tests.backends.filesystem.places import make_store
from tests.backends.store_contract import MakeStore, StoreContract
from tests.without_posix import refused_while_open


class TestStore(StoreContract):
    @pytest.fixture
    def make(self, tmp_path: Path) -> MakeStore:
        return partial(make_store, tmp_path / "cache")


class TestStoreWithoutLocks(StoreContract):
    @pytest.fixture
    def make(self, tmp_path: Path) -> MakeStore:
        return partial(make_store, tmp_path / "cache", use_locks=False)


class TestStoreWithoutPosix(StoreContract):
    @pytest.fixture
    def make(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeStore:
        monkeypatch.setattr(directory, "_HAS_DESCRIPTORS", False)
        monkeypatch.setattr(directory, "FCNTL", None)
        for name in ("replace", "unlink"):
            monkeypatch.setattr(os, name, refused_while_open(getattr(os, name)))
        return partial(make_store, tmp_path / "cache", use_locks=False)


class TestStorage(StorageContract):
    @pytest.fixture
    def make(self, tmp_path: Path) -> MakeStorage:
        return partial(FileCache, tmp_path / "cache")
