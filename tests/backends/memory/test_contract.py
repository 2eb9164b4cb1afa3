"""The storage in memory keeps to what all storages keep to."""

from __future__ import annotations

import pytest

from aiohttp_cache_di.backends.memory import DictCache
from tests.backends.contract import MakeStorage, StorageContract


class TestMemory(StorageContract):
    @pytest.fixture
    def make(self) -> MakeStorage:
        return DictCache
