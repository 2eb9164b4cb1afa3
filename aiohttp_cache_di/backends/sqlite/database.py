"""One SQLite cache file in this process: connections for each event loop, and new ones when they are lost."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeVar

from aiohttp_cache_di.backends.forks import note_forks
from aiohttp_cache_di.backends.sqlite.connections import Connections
from aiohttp_cache_di.backends.sqlite.eviction import Evictor, Uses
from aiohttp_cache_di.backends.sqlite.file.checked import CheckedFile
from aiohttp_cache_di.backends.sqlite.file.failing import ConnectionsLostError
from aiohttp_cache_di.backends.sqlite.file.files import CacheFile
from aiohttp_cache_di.backends.sqlite.file.opening import open_for_writing
from aiohttp_cache_di.backends.sqlite.file.schema import Table
from aiohttp_cache_di.backends.sqlite.looking.lease_queue import LeaseQueue
from aiohttp_cache_di.backends.sqlite.looking.reading import Reading
from aiohttp_cache_di.backends.sqlite.looking.waits import Waits
from aiohttp_cache_di.backends.sqlite.shared.generation import Generations
from aiohttp_cache_di.backends.sqlite.shared.leases import Leases
from aiohttp_cache_di.backends.store import StoreEvents
from aiohttp_cache_di.backends.store.sizes import Bounds
from aiohttp_cache_di.entries.codec import EntryCodec

__all__ = ["Database", "Here"]

logger: logging.Logger = logging.getLogger(__name__)

LOG_INTERVAL_S: Final = 60.0
READ_ONLY_RETRY_S: Final = 2.0  # after which a file that could not be written is opened to write again

T = TypeVar("T")


@dataclass(slots=True)
class Here:
    """One event loop's connections, and the parts that use them."""

    connections: Connections
    evictor: Evictor
    lease_queue: LeaseQueue
    waits: Waits


class Database:
    """One file with the table of a cache, for all event loops of the process.

    Args:
        file: where the file is and how it is opened.
        table: the cache's table.
        codec: encodes and decodes items, in the threads of the connections.
        bounds: limits of the file's size and the number of entries.
        fast_save: do not wait for the disk.
        value_bytes: returns the size of the largest value that is read or written.
    """

    def __init__(
        self,
        file: CacheFile,
        table: Table,
        codec: EntryCodec,
        bounds: Bounds,
        *,
        fast_save: bool,
        value_bytes: Callable[[], int],
    ) -> None:
        self.file: CacheFile = file
        self.table = table
        self.codec = codec
        self.bounds = bounds
        self.generations: Generations = Generations(file)
        self.leases: Leases = Leases(file, table.name)
        self.reading: Reading = Reading(table, codec, self.generations, self.leases)
        self.uses: Uses = Uses()
        self.events: StoreEvents = StoreEvents()
        """Reports evictions, and that the file was damaged, deleted or replaced."""
        self._logged_at = -math.inf
        self.fast_save = fast_save
        self.value_bytes = value_bytes
        self._here: dict[asyncio.AbstractEventLoop, Here] = {}
        self._latest: Here | None = None
        note_forks(self)

    def here(self) -> Here | None:
        """The running loop's connections if they are open; never waits."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return None
        latest = self._latest
        if latest is not None and latest.connections.loop is loop and not latest.connections.closed:
            return latest
        latest = self._here.get(loop)
        if latest is None or latest.connections.closed or not latest.connections.opened.done():
            return None
        self._latest = latest
        return latest

    async def use(self, operation: Callable[[Here], Awaitable[T]]) -> T:
        """Run *operation* on the running loop's connections, and once more on new ones if those are lost meanwhile.

        Raises:
            StorageError: the file cannot be opened, or the operation has failed.
        """
        try:
            return await operation(self.here() or await self.connected())
        except ConnectionsLostError:
            return await operation(await self.connected())

    def use_writing(self, operation: Callable[[Here], Awaitable[T]]) -> Awaitable[T]:
        """Run a writing *operation*, as `use`; a read-only connection is given up if it is time to try again."""
        here = self.here()
        if here is not None and not here.connections.writable:
            connections = here.connections
            if not self.file.read_only and connections.loop.time() - connections.made_at > READ_ONLY_RETRY_S:
                connections.retire()
        return self.use(operation)

    def only_read(self) -> None:
        """Open the file to read only from now on: no table is made, and a damaged file is not renamed."""
        self.file = replace(self.file, read_only=True)

    async def close(self) -> None:
        """Close the running loop's connections, and those of loops that do not run; may be called twice."""
        loop = asyncio.get_running_loop()
        self._latest = None
        for owner, here in list(self._here.items()):
            if owner is loop:
                await here.connections.close(with_leases=len(self._here) == 1)
            elif not owner.is_running():
                here.connections.retire()
            else:
                continue
            self._here.pop(owner, None)
        if not self._here:
            self.generations.distrust()
            if self.leases.are_open:  # left open by loops that have ended
                await asyncio.to_thread(self.leases.close)

    def after_fork(self) -> None:
        """Forget all connections in a forked child: they belong to the parent."""
        for here in list(self._here.values()):
            here.connections.after_fork()
        self._here = {}
        self._latest = None

    async def connected(self) -> Here:
        """The running loop's connections, opened if necessary.

        Raises:
            StorageError: the file cannot be opened.
        """
        here = self._opening()
        try:
            # Shielded: other tasks wait for the same future.
            await asyncio.shield(here.connections.opened)
        except ConnectionsLostError:  # a damaged file has been set aside
            here = self._opening()
            await asyncio.shield(here.connections.opened)
        return here

    def _opening(self) -> Here:
        loop = asyncio.get_running_loop()
        here = self._here.get(loop)
        if here is None or here.connections.closed:
            if here is not None and here.connections.lost is not None:
                self._note_loss(here.connections.lost)
            self._drop_dead()
            here = self._here[loop] = self._new()
        return here

    def _new(self) -> Here:
        connect = partial(
            open_for_writing, self.file, self.table, fast_save=self.fast_save, max_bytes=self.bounds.max_bytes
        )
        checked = CheckedFile(self.file, self.table, self.value_bytes)
        connections = Connections(self.file, checked, self.generations, self.leases, connect)
        evictor = Evictor(connections, self.bounds, self.uses, self.events.evicted)
        connections.writes.after_commit = evictor.after_commit
        connections.open()
        waits = Waits(connections, self.generations.version, self.leases)
        return Here(connections, evictor, LeaseQueue(connections, self.reading), waits)

    def _note_loss(self, what: str) -> None:
        self.events.lost()
        now = time.monotonic()
        if what == "replaced" and now - self._logged_at > LOG_INTERVAL_S:  # damage is logged when it is found
            self._logged_at = now
            logger.warning("The cache file %s was deleted or replaced while it was open", self.file.path)

    def _drop_dead(self) -> None:
        """Stop the threads of loops that were closed without closing their connections."""
        for loop, here in list(self._here.items()):
            if loop.is_closed():
                here.connections.retire()
                self._here.pop(loop, None)
