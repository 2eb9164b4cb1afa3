"""The storage in memory fulfils the contract of storages."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.backends.memory import DictCache
from aiohttp_cache_di.backends.store.inspecting import Usage
from aiohttp_cache_di.response import CachedResponse
from tests.backends.contract import MakeStorage, StorageContract
from tests.backends.entries import make_entry


class TestMemory(StorageContract):
    @pytest.fixture
    def make(self) -> MakeStorage:
        return DictCache


async def test_as_a_dict_it_has_the_items_that_it_has_as_a_storage() -> None:
    storage = DictCache()
    storage["k"] = CachedResponse.from_stored(make_entry("k", b"body"))
    storage["alias"] = "k"
    for item in (
        storage["k"],
        storage.get("k"),
        storage.data["k"],
        dict(storage.items())["k"],
        await storage.read("k"),
    ):
        assert isinstance(item, CachedResponse)
        assert await item.read() == b"body"
    assert storage["alias"] == await storage.read("alias") == "k"


COPIES: list[Callable[[DictCache], DictCache]] = [
    DictCache.copy,
    copy.copy,
    lambda storage: storage | {},
    lambda storage: {} | storage,
]


@pytest.mark.parametrize("copied", COPIES)
async def test_a_copy_has_the_same_items_and_changes_alone(copied: Callable[[DictCache], DictCache]) -> None:
    storage = DictCache(max_entries=3, max_bytes=10_000)
    await storage.write_entry(make_entry("k", b"body"))
    await storage.write("alias", "k")
    other = copied(storage)
    assert (list(storage), list(other)) == (["k", "alias"], ["k", "alias"])
    assert type(other) is DictCache
    read = await other.read_entry("alias")
    assert read is not None
    assert read.body == b"body"
    await other.clear()
    await storage.write("more", "k")
    assert (await storage.size(), await other.size()) == (3, 0)
    for key in "abcd":
        await other.write(key, "k")
    assert await other.size() == 3


async def test_it_can_be_united_with_other_items_as_a_dict_can() -> None:
    storage = DictCache()
    storage["a"] = "1"
    assert (storage | {"a": "2", "b": "3"}).data == {"a": "2", "b": "3"}
    assert ({"a": "2", "b": "3"} | storage).data == {"a": "1", "b": "3"}
    assert storage.data == {"a": "1"}
    before = storage
    storage |= {"b": "3"}
    assert storage is before
    storage.data = storage.data
    assert storage.data == {"a": "1", "b": "3"}
    wrong: Any = 1
    with pytest.raises(TypeError):
        _ = storage | wrong
    with pytest.raises(TypeError):
        _ = wrong | storage


async def test_to_write_none_deletes_what_was_stored() -> None:
    storage = DictCache()
    for item in ("other", None):
        await storage.write("k", item)
    assert (await storage.size(), "k" in storage) == (0, False)


async def test_an_item_that_is_none_leaves_nothing_behind_when_it_is_deleted() -> None:
    backend = CacheBackend()
    for storage in (backend.responses, backend.redirects):
        assert isinstance(storage, DictCache)
        storage["k"] = None
        await storage.delete("k")
    assert await backend.responses.size() == await backend.redirects.size() == 0
    assert await backend.delete_expired_responses() == 0
    assert await backend.usage() == Usage(0, 0)
