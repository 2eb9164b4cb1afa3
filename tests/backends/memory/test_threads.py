"""Event loops in several threads share the storage in memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from aiohttp_cache_di.backends.memory import DictCache
from aiohttp_cache_di.backends.memory.store import MemoryStore
from aiohttp_cache_di.backends.store import Found
from aiohttp_cache_di.response import CachedResponse
from tests.backends.entries import make_entry
from tests.interleaving import at_each_line


class Expired:
    """An object of the user's own, which the storage asks whether it has expired."""

    is_expired = True


class Turns:
    """Another thread, which stores and deletes an item by turns.

    Args:
        step: 0 if it begins by storing, 1 if by deleting.
    """

    def __init__(self, store: MemoryStore, key: str, make: Callable[[], object], step: int) -> None:
        self._store, self._key, self._make = store, key, make
        self.step = step

    def __call__(self) -> None:
        if self.step % 2:
            self._store.drop(self._key)
        else:
            self._store.set(self._key, self._make())
        self.step += 1


@pytest.mark.parametrize("first", [0, 1])
async def test_what_another_thread_deletes_during_a_look_up_is_found_or_not(first: int) -> None:
    store = MemoryStore()
    with at_each_line(other := Turns(store, "k", lambda: make_entry("k"), first)):
        for _ in range(5):
            (found,) = await store.get(["k"])
            assert found is None or isinstance(found, Found)
    assert other.step > 10


@pytest.mark.parametrize("first", [0, 1])
async def test_what_another_thread_changes_while_expired_items_are_deleted_stops_nothing(first: int) -> None:
    store = MemoryStore()
    for number in range(3):
        store.set(f"{number}", Expired())
    with at_each_line(other := Turns(store, "k", Expired, first)):
        await store.delete_expired(0.0)
    assert other.step > 10
    assert not {"0", "1", "2"} & store.data.keys()


@pytest.mark.parametrize("first", [0, 1])
async def test_what_another_thread_changes_while_a_storage_is_read_as_a_dict_stops_nothing(first: int) -> None:
    storage = DictCache()
    storage.put(make_entry("kept"))
    store = storage.stack.store
    assert isinstance(store, MemoryStore)
    with at_each_line(other := Turns(store, "k", lambda: make_entry("k"), first)):
        for _ in range(5):
            assert "kept" in list(storage)
            assert len([item async for item in storage.values()]) in (1, 2)
            assert isinstance(await storage.pop("k"), CachedResponse | None)
    assert other.step > 10
