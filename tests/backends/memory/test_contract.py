"""The storage in memory fulfils the contract of storages."""

from __future__ import annotations

import pytest

from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.backends.memory import DictCache
from aiohttp_cache_di.backends.store.inspecting import Usage
from tests.backends.contract import MakeStorage, StorageContract


class TestMemory(StorageContract):
    @pytest.fixture
    def make(self) -> MakeStorage:
        return DictCache


async def test_an_item_that_is_none_leaves_nothing_behind_when_it_is_deleted() -> None:
    backend = CacheBackend()
    for storage in (backend.responses, backend.redirects):
        await storage.write("k", None)
        await storage.delete("k")
    assert await backend.responses.size() == await backend.redirects.size() == 0
    assert await backend.delete_expired_responses() == 0
    assert await backend.usage() == Usage(0, 0)
