"""Storages and backends as users write them, among them the example of the documentation, over a dict of bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from aiohttp_cache_di.backends import BaseCache, CacheBackend, ResponseOrKey
from aiohttp_cache_di.backends.wrap.items import StackCache
from aiohttp_cache_di.backends.wrap.stack import StoreStack
from tests.backends.proof import ProofStore

__all__ = ["CustomBackend", "CustomStorage", "ProofBackend"]


class ProofBackend(CacheBackend):
    """A backend on the minimal store."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.use(StackCache(StoreStack(ProofStore())))


class CustomStorage(BaseCache):
    """Keeps serialised items in a dict; each operation yields to the loop once, as with a remote store."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.items: dict[str, bytes] = {}
        self.reads = 0

    async def contains(self, key: str) -> bool:
        """Check whether a key is stored."""
        await asyncio.sleep(0)
        return key in self.items

    async def clear(self) -> None:
        """Delete everything."""
        await asyncio.sleep(0)
        self.items.clear()

    async def delete(self, key: str) -> None:
        """Delete an item."""
        await asyncio.sleep(0)
        self.items.pop(key, None)

    async def keys(self) -> AsyncIterator[str]:
        """Iterate over all keys."""
        for key in list(self.items):
            await asyncio.sleep(0)
            yield key

    async def read(self, key: str) -> ResponseOrKey:
        """Read an item."""
        self.reads += 1
        await asyncio.sleep(0)
        return self.deserialize(self.items.get(key), key)

    async def size(self) -> int:
        """Count the items."""
        await asyncio.sleep(0)
        return len(self.items)

    async def values(self) -> AsyncIterator[ResponseOrKey]:
        """Iterate over all items."""
        for key, item in list(self.items.items()):
            await asyncio.sleep(0)
            yield self.deserialize(item, key)

    async def write(self, key: str, item: ResponseOrKey) -> None:
        """Store an item."""
        await asyncio.sleep(0)
        stored = self.serialize(item, key)
        assert stored is not None
        self.items[key] = stored


class CustomBackend(CacheBackend):
    """A backend that only sets its storages."""

    responses: CustomStorage  # pyright: ignore[reportIncompatibleVariableOverride]  # the tests look inside
    redirects: CustomStorage  # pyright: ignore[reportIncompatibleVariableOverride]  # the tests look inside

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.redirects = CustomStorage()  # pyright: ignore[reportIncompatibleVariableOverride]  # the tests look inside
        self.responses = CustomStorage()  # pyright: ignore[reportIncompatibleVariableOverride]  # the tests look inside
