"""The public storage of a SQLite file: items by key."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Final, Unpack, cast

from aiohttp_cache_di.arguments import refuse_unknown
from aiohttp_cache_di.backends.options.values import BACKEND_OPTIONS, NearArguments, refuse_unusable
from aiohttp_cache_di.backends.sqlite.database import Database
from aiohttp_cache_di.backends.sqlite.file.files import CacheFile
from aiohttp_cache_di.backends.sqlite.file.schema import Table
from aiohttp_cache_di.backends.sqlite.options import DEFAULT_NEAR_BYTES, OWN_OPTIONS, SQLiteOptions
from aiohttp_cache_di.backends.sqlite.store import SQLiteStore
from aiohttp_cache_di.backends.storage import ResponseOrKey
from aiohttp_cache_di.backends.store.sizes import Bounds
from aiohttp_cache_di.backends.wrap.items import StackCache
from aiohttp_cache_di.backends.wrap.making import make_stack
from aiohttp_cache_di.signatures import OptionsSignature

__all__ = ["SQLiteCache"]

MAX_IN_BULK: Final = 1_000  # concurrent writes of one `bulk_commit` block

_in_bulk: ContextVar[tuple[SQLiteCache, set[asyncio.Task[None]]] | None] = ContextVar("in_bulk", default=None)


class SQLiteCache(StackCache):
    """Entries in a table of a SQLite file.

    The file is opened when it is first used, in the loop that uses it; each event loop and each forked child opens
    connections of its own. Several processes may use one file. ``max_bytes`` bounds the used part of the file (1 GiB by
    default), ``max_entries`` each table.
    """

    __signature__: OptionsSignature = OptionsSignature("aiohttp_cache_di.backends.sqlite.options:SQLiteOptions")

    def __init__(
        self,
        filename: str | os.PathLike[str],
        table_name: str = "aiohttp-cache",
        use_temp: bool = False,
        fast_save: bool = False,
        **kwargs: Unpack[SQLiteOptions],
    ) -> None:
        """Make a storage; nothing is opened yet.

        Args:
            filename: path of the file, ``~`` allowed; ``.sqlite`` is added if it has no suffix. ``":memory:"`` for a
                database in memory, which is gone when its loop or the storage is closed.
            table_name: name of the table.
            use_temp: keep the file in the directory for temporary files.
            fast_save: do not wait for the disk; a power cut may then damage the file; a damaged one is replaced.
            kwargs: further options, each with a docstring of its own; options that only a backend uses are ignored.

        Raises:
            TypeError: an option is not known.
            ConfigurationError: an option has a value that cannot be used.
        """
        refuse_unknown(type(self).__name__, kwargs, BACKEND_OPTIONS | OWN_OPTIONS)
        refuse_unusable({"use_temp": use_temp, "fast_save": fast_save, **kwargs})
        file, table, bounds = CacheFile.resolve(filename, use_temp, kwargs), Table(table_name), Bounds.of(kwargs)
        has_copies = kwargs.get("near_tier", True) and not file.is_memory
        near_bytes = kwargs.get("near_tier_bytes", DEFAULT_NEAR_BYTES) if has_copies else 0
        super().__init__(
            make_stack(
                lambda codec, value_bytes: SQLiteStore(
                    Database(file, table, codec, bounds, fast_save=fast_save, value_bytes=value_bytes)
                ),
                kwargs,
                os.path.basename(filename).removesuffix(".sqlite"),  # without the directory: it may be moved
                table_name,
                near=NearArguments(near_bytes=near_bytes, near_lifetime_s=math.inf),
            )
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} in table {self.table_name!r} of {self._store.database.file.name!r}>"

    @property
    def filename(self) -> str:
        """The absolute path of the file; reads the file system if a relative path has not been resolved yet."""
        return self._store.database.file.path

    @property
    def table_name(self) -> str:
        """The name of the table."""
        return self._store.database.table.name

    @property
    def fast_save(self) -> bool:
        """Whether writes do not wait for the disk."""
        return self._store.database.fast_save

    async def write(self, key: str, item: ResponseOrKey) -> None:
        """Store *item* under *key*; within `bulk_commit`, return before it is committed."""
        bulk = _in_bulk.get()
        if bulk is None or bulk[0] is not self:
            await super().write(key, item)
            return
        writes = bulk[1]
        writes.add(asyncio.create_task(super().write(key, item)))
        if len(writes) >= MAX_IN_BULK:
            await _written(writes)

    @asynccontextmanager
    async def bulk_commit(self) -> AsyncGenerator[None]:
        """Write many items in few transactions: ``async with cache.bulk_commit():``, and `write` in the block.

        The block ends once all items are committed, and raises the first error of a write.
        """
        writes: set[asyncio.Task[None]] = set()
        before = _in_bulk.set((self, writes))
        try:
            yield
        finally:
            _in_bulk.reset(before)
            await _written(writes)

    async def size(self) -> int:
        """Count the items."""
        await self.stack.settle(None)
        return await self._store.count(leads_on=self._leads_on)

    @property
    def _store(self) -> SQLiteStore:
        return cast("SQLiteStore", self.stack.store)


async def _written(writes: set[asyncio.Task[None]]) -> None:
    """Wait for all of *writes*, then raise the first error if there is one."""
    waited = list(writes)
    writes.clear()
    for outcome in await asyncio.gather(*waited, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
