"""A SQLite cache file as a program sees it: a link to it per event loop, and a new one when that is lost."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import time
import weakref
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from aiohttp_cache_di.backends.sqlite.connections import Link, LinkLostError
from aiohttp_cache_di.backends.sqlite.eviction import Bounds, Evictor
from aiohttp_cache_di.backends.sqlite.files import CacheFile
from aiohttp_cache_di.backends.sqlite.schema import Table

__all__ = ["Database"]

logger = logging.getLogger(__name__)

LOG_INTERVAL_S: Final = 60.0
READ_ONLY_RETRY_S: Final = 2.0  # after which a file that could not be written is tried again

T = TypeVar("T")

_databases: weakref.WeakSet[Database] = weakref.WeakSet()


class Connected:
    """A link and what belongs to it."""

    __slots__ = ("evictor", "link")

    def __init__(self, link: Link, evictor: Evictor) -> None:
        self.link = link
        self.evictor = evictor


class Database:
    """One file with the tables of one or several caches.

    Args:
        file: where it is.
        bounds: what it may hold.
        near_bytes: what each table's near tier may hold in memory, per event loop.
        fast_save: do not wait for the disk.
    """

    def __init__(self, file: CacheFile, bounds: Bounds, *, near_bytes: int, fast_save: bool) -> None:
        self.file = file
        self.bounds = bounds
        self.tables: list[Table] = []
        self.on_evicted: dict[Table, Callable[[int], None]] = {}
        self.on_lost: Callable[[], None] = _ignore
        """Called when the file was damaged, deleted or replaced, and another one takes its place."""
        self._logged_at = -math.inf
        self._near_bytes = near_bytes
        self._fast_save = fast_save
        self._links: dict[asyncio.AbstractEventLoop, Connected] = {}
        self._latest: Connected | None = None
        _databases.add(self)

    def add(self, table: Table) -> Table:
        """Have *table* in the file."""
        self.tables.append(table)
        return table

    def here(self) -> Connected | None:
        """The running loop's link if there is one and it works; never waits."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return None
        latest = self._latest
        if latest is not None and latest.link.loop is loop and not latest.link.closed:
            return latest
        latest = self._links.get(loop)
        if latest is None or latest.link.closed or not latest.link.opened.done():
            return None
        self._latest = latest
        return latest

    async def use(self, operation: Callable[[Connected], Awaitable[T]]) -> T:
        """Run *operation* on the running loop's link, and once more on a new one if that is lost meanwhile.

        Raises:
            StorageError: the file cannot be opened, or not be asked.
        """
        try:
            return await operation(self.here() or await self.connected())
        except LinkLostError:
            return await operation(await self.connected())

    def use_writing(self, operation: Callable[[Connected], Awaitable[T]]) -> Awaitable[T]:
        """Run *operation*, which writes; see `use`."""
        connected = self.here()
        if connected is not None and not connected.link.writable:
            link = connected.link
            if not self.file.read_only and link.loop.time() - link.made_at > READ_ONLY_RETRY_S:
                link.retire()
        return self.use(operation)

    async def close(self) -> None:
        """Close the running loop's link, and those of loops that do not run; may be called twice."""
        loop = asyncio.get_running_loop()
        self._latest = None
        for owner, connected in list(self._links.items()):
            if owner is loop:
                await connected.link.close()
            elif not owner.is_running():
                connected.link.retire()
            else:
                continue
            self._links.pop(owner, None)

    def abandon(self) -> None:
        """Forget all links, in a forked child: they are the parent's."""
        for connected in list(self._links.values()):
            connected.link.abandon()
        self._links = {}
        self._latest = None

    async def connected(self) -> Connected:
        """The running loop's link, opened if it is not.

        Raises:
            StorageError: the file cannot be opened.
        """
        connected = self._opening()
        try:
            # Shielded: others wait for the same opening.
            await asyncio.shield(connected.link.opened)
        except LinkLostError:  # what was damaged has been set aside
            connected = self._opening()
            await asyncio.shield(connected.link.opened)
        return connected

    def _opening(self) -> Connected:
        loop = asyncio.get_running_loop()
        connected = self._links.get(loop)
        if connected is None or connected.link.closed:
            if connected is not None and connected.link.lost is not None:
                self._note_loss(connected.link.lost)
            self._drop_dead()
            connected = self._links[loop] = self._new()
        return connected

    def _new(self) -> Connected:
        link = Link(self.file, list(self.tables), near_bytes=self._near_bytes, fast_save=self._fast_save)
        evictor = Evictor(link, self.bounds, self._evicted)
        link.writes.after_commit = evictor.after_commit
        link.open()
        return Connected(link, evictor)

    def _note_loss(self, what: str) -> None:
        self.on_lost()
        now = time.monotonic()
        if what == "replaced" and now - self._logged_at > LOG_INTERVAL_S:  # of damage, another message tells
            self._logged_at = now
            logger.warning("The cache file %s was deleted or replaced while it was open", self.file.path)

    def _evicted(self, table: Table, count: int) -> None:
        self.on_evicted[table](count)

    def _drop_dead(self) -> None:
        """Stop the threads of loops that ended without closing."""
        for loop, connected in list(self._links.items()):
            if loop.is_closed():
                connected.link.retire()
                self._links.pop(loop, None)


def _ignore() -> None:
    """Nobody counts."""


def _abandon_all() -> None:
    for database in list(_databases):
        database.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)
