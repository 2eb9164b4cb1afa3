"""A SQLite file as its users see it: items by key."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Final, Unpack, cast

from aiohttp_cache_di.arguments import refuse_unknown
from aiohttp_cache_di.backends.options.values import BACKEND_OPTIONS, codec_of
from aiohttp_cache_di.backends.sqlite.options import OWN_OPTIONS, SQLiteOptions, near_bytes, open_database
from aiohttp_cache_di.backends.sqlite.store import SQLiteStore
from aiohttp_cache_di.backends.storage import ResponseOrKey
from aiohttp_cache_di.backends.store.sizes import record_bytes
from aiohttp_cache_di.backends.wrap import upkeep
from aiohttp_cache_di.backends.wrap.items import StackCache
from aiohttp_cache_di.backends.wrap.stack import StoreStack
from aiohttp_cache_di.signatures import OptionsSignature

__all__ = ["SQLiteCache", "make_stack"]

MAX_IN_BULK: Final = 1_000  # writes that a block of `bulk_commit` has on their way at once

_in_bulk: ContextVar[tuple[SQLiteCache, set[asyncio.Task[None]]] | None] = ContextVar("in_bulk", default=None)


def make_stack(
    filename: str | os.PathLike[str],
    table_name: str,
    use_temp: bool,
    fast_save: bool,
    options: SQLiteOptions,
    body_bytes: Callable[[], int] | None = None,
) -> StoreStack:
    """Make a store in a table of *filename*, with what is around it; nothing is opened yet.

    Args:
        body_bytes: tells how large the body of a response may be that is stored.
    """
    serializer = options.get("serializer")
    value_bytes = record_bytes(serializer, body_bytes)
    database = open_database(filename, table_name, use_temp, fast_save, options, value_bytes)
    file_name = os.path.basename(filename).removesuffix(".sqlite")  # a file that is moved keeps it
    codec = codec_of(options, file_name, table_name)
    near = 0 if database.file.is_memory else near_bytes(options)
    return StoreStack(SQLiteStore(database, codec), codec, serializer, near_bytes=near)


class SQLiteCache(StackCache):
    """Entries in a table of a SQLite file.

    The file is opened when it is used first, in the loop that uses it; each event loop and each forked child opens
    connections of its own. Several processes may use one file. ``max_bytes`` is of the file in use (1 GiB by default),
    ``max_entries`` of a table.
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
            filename: path of the file, ``~`` allowed; ``.sqlite`` is added where there is no suffix. ``":memory:"``
                for a database in memory, which is gone when its loop or the storage is closed.
            table_name: name of the table.
            use_temp: keep the file in the directory for temporary files.
            fast_save: do not wait for the disk; a power cut may then damage the file, and a damaged one is begun anew.
            kwargs: further options, each with a docstring of its own; those of a backend that a storage does not need
                are passed over.

        Raises:
            TypeError: an option is not known.
        """
        refuse_unknown(type(self).__name__, kwargs, BACKEND_OPTIONS | OWN_OPTIONS)
        super().__init__(make_stack(filename, table_name, use_temp, fast_save, kwargs))

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} in table {self.table_name!r} of {self._store.database.file.name or ':memory:'!r}>"
        )

    @property
    def filename(self) -> str:
        """The path of the file; before it is opened, and if it is not absolute, a look at the file system."""
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
        """Store *item* under *key*, as every storage does; within `bulk_commit`, without waiting for the file."""
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

        The block ends once all of them are in the file, and raises the first error that one of them has met.
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
        count = await self._store.count(leads_on=self._leads_on)
        return count if self._leads_on else count - await upkeep.count_marks(self.stack)

    @property
    def _store(self) -> SQLiteStore:
        return cast("SQLiteStore", self.stack.store)


async def _written(writes: set[asyncio.Task[None]]) -> None:
    """Wait for all of *writes*, then raise the first error of one."""
    waited = list(writes)
    writes.clear()
    for outcome in await asyncio.gather(*waited, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
