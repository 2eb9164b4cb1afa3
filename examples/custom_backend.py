"""A backend of your own: entries as files in a folder.

Two classes: a storage, which keeps items by key, and a backend, which says where responses and redirects are stored.
Select it in code, ``CachedSession(cache=FolderBackend("folder"))``, or by a variable,
``AIOHTTP_CACHE_BACKEND=examples.custom_backend:FolderBackend``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from aiohttp_cache_di import BaseCache, CacheBackend
from aiohttp_cache_di.backends import ResponseOrKey


class FolderStorage(BaseCache):
    """Keeps each item in a file named by its key (keys are hexadecimal digests)."""

    def __init__(self, folder: Path, **options: Any) -> None:
        super().__init__(**options)
        self.folder = folder

    async def read(self, key: str) -> ResponseOrKey:
        """Read an item; a damaged one counts as missing."""
        try:
            data = await asyncio.to_thread((self.folder / key).read_bytes)
        except FileNotFoundError:
            return None
        return self.deserialize(data, key)

    async def write(self, key: str, item: ResponseOrKey) -> None:
        """Write an item to a temporary file and rename it, so that no reader sees half of one."""
        data = self.serialize(item, key)
        if data is not None:
            await asyncio.to_thread(self._replace, key, data)

    async def delete(self, key: str) -> None:
        """Delete an item, if it exists."""
        await asyncio.to_thread((self.folder / key).unlink, missing_ok=True)

    async def clear(self) -> None:
        """Delete all items."""
        async for key in self.keys():
            await self.delete(key)

    async def contains(self, key: str) -> bool:
        """Whether the item exists."""
        return await asyncio.to_thread((self.folder / key).exists)

    async def size(self) -> int:
        """Count the items."""
        return len([key async for key in self.keys()])

    async def keys(self) -> AsyncIterator[str]:
        """List the keys."""
        for path in await asyncio.to_thread(lambda: list(self.folder.glob("*"))):
            if not path.name.startswith("."):
                yield path.name

    async def values(self) -> AsyncIterator[ResponseOrKey]:
        """List the items."""
        async for key in self.keys():
            yield await self.read(key)

    def _replace(self, key: str, data: bytes) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        aside = self.folder / f".{key}"
        aside.write_bytes(data)
        aside.replace(self.folder / key)


class FolderBackend(CacheBackend):
    """Keeps responses and redirects in two folders below *cache_name*."""

    def __init__(self, cache_name: str = "aiohttp-cache", **options: Any) -> None:
        super().__init__(cache_name=cache_name, **options)
        self.responses = FolderStorage(Path(cache_name) / "responses", **options)
        self.redirects = FolderStorage(Path(cache_name) / "redirects", **options)
