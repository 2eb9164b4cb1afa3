"""A directory of files as a store."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from functools import partial
from typing import Final, TypeVar

from aiohttp_cache_di.backends.disk.place import Place
from aiohttp_cache_di.backends.filesystem.bodies.reading import Bodies
from aiohttp_cache_di.backends.filesystem.bodies.spool import FileSpool, Growing
from aiohttp_cache_di.backends.filesystem.eviction.evictor import Evictor
from aiohttp_cache_di.backends.filesystem.eviction.schedule import Schedule
from aiohttp_cache_di.backends.filesystem.leases import Leases
from aiohttp_cache_di.backends.filesystem.looking.reader import Reader
from aiohttp_cache_di.backends.filesystem.looking.walk import cleared, dropped, heads, info_rows, rows
from aiohttp_cache_di.backends.filesystem.places.names import leaf_of, name_of
from aiohttp_cache_di.backends.filesystem.places.tree import Tree
from aiohttp_cache_di.backends.filesystem.pool import Pool
from aiohttp_cache_di.backends.filesystem.records.files import see
from aiohttp_cache_di.backends.filesystem.records.packing import RecordCodec
from aiohttp_cache_di.backends.filesystem.records.uses import Uses
from aiohttp_cache_di.backends.filesystem.secret import keep_secret, kept_secret
from aiohttp_cache_di.backends.filesystem.writer import Writer
from aiohttp_cache_di.backends.store import (
    Found,
    Lease,
    Limits,
    Record,
    Row,
    StoreEvents,
    Written,
    is_mark,
)
from aiohttp_cache_di.backends.store.inspecting import InfoRow, Usage, Wanted
from aiohttp_cache_di.backends.store.messages import message_of
from aiohttp_cache_di.backends.store.sizes import Bounds, RecordLimit
from aiohttp_cache_di.backends.tasks import FINISH_WITHIN_S
from aiohttp_cache_di.entries.codec import EntryCodec
from aiohttp_cache_di.entries.filed import FiledBody
from aiohttp_cache_di.errors import StorageError

__all__ = ["FileStore"]

T = TypeVar("T")

BATCH: Final = 64
LINGER_S: Final = 0.003  # a thread that writes competes with the next miss for the interpreter: one hop for several
THREADS: Final = 2  # for reading, and as many for writing, so that slow writes delay no hit


class FileStore:
    """Records in files below one directory, for any number of processes.

    Args:
        place: the directory.
        codec: encodes and decodes items.
        bounds: limits of size and number of entries; kept approximately, see `counting`.
        fsync: call fsync for each record before it counts as written.
        value_bytes: returns the size of the largest body that is read into memory or written from it.
    """

    limits: Limits = Limits(batch=BATCH, parallel=THREADS, linger_s=LINGER_S)

    def __init__(
        self,
        place: Place,
        codec: EntryCodec,
        bounds: Bounds = Bounds(None, None),  # noqa: B008  # it cannot change
        *,
        fsync: bool = False,
        value_bytes: Callable[[], int] | None = None,
    ) -> None:
        self.place = place
        self.events: StoreEvents = StoreEvents()
        self._codec = RecordCodec(codec)
        self._fsync = fsync
        self._bounds = bounds
        self._tree = Tree(place)
        self._leases = Leases(self._tree)
        uses, largest = Uses(), value_bytes or RecordLimit()
        evictor = Evictor(self._tree, bounds)
        self._bodies = Bodies(self._tree, self.events)
        self._reader = Reader(self._codec, uses, self._bodies, largest)
        self._writer = Writer(self._codec, uses, self._bodies, evictor, self._leases, largest, fsync=fsync)
        self._readers, self._writers = Pool(THREADS), Pool(THREADS)
        self._pools = (self._readers, self._writers, self._bodies.pool)
        self._eviction = Schedule(evictor, self._writers, self.events)
        self._losses = 0

    @property
    def where(self) -> str:
        """The path of the directory if it has been resolved, else its name as given."""
        return self.place.known_path

    def told_of(self, error: BaseException) -> str:
        """The message of *error*: a path holds no credentials."""
        return message_of(error)

    def path_of(self, key: str) -> str:
        """The path of the file for the entry under *key*, whether it exists or not."""
        name = name_of(key)
        return os.path.join(self.place.path, leaf_of(name), name)

    # ---- Store

    async def get(self, keys: Sequence[str]) -> Sequence[Found | None]:
        """Look all *keys* up in one job of a thread."""
        found = await self._readers.run(partial(self._look_up, keys))
        self._report_loss()
        return found

    async def put(self, records: Sequence[Record]) -> Sequence[Written]:
        """Store *records*, one after the other in one job of a thread."""
        self._eviction.is_closing = False
        try:
            written = await self._writers.run(partial(self._writer.put, records))
        finally:  # also after an error: the disk may be full, and eviction makes room
            self._eviction.go_on()
        self._report_loss()
        return written

    async def delete(self, keys: Collection[str]) -> None:
        """Delete *keys*."""
        await self._writers.run(partial(self._writer.delete, keys))

    def pages(self, *, items: bool) -> AsyncIterator[Sequence[Row]]:
        """Iterate over all records, directory by directory."""
        return self._steps(rows(self._tree, self._reader, items=items))

    def infos(self, wanted: Wanted) -> AsyncIterator[Sequence[InfoRow]]:
        """Find records by the files of their entries; bodies in files of their own are not read."""
        return self._steps(info_rows(self._tree, self._reader, wanted))

    async def usage(self) -> Usage:
        """The number of entries and the size of all files of records, by reading all heads."""
        entries = total = 0
        async for step in self._steps(heads(self._tree)):
            entries += sum(not is_mark(seen.head.key) for seen in step)
            total += sum(seen.disk_bytes for seen in step)
        return Usage(entries, total, total)

    async def clear(self) -> None:
        """Delete all records, and no other files."""
        async for _ in self._steps(cleared(self._tree)):
            pass

    async def close(self) -> None:
        """Finish the jobs that were begun; release leases and directories unless another loop uses the store."""
        self._eviction.is_closing = True
        loop = asyncio.get_running_loop()
        until = loop.time() + FINISH_WITHIN_S  # for all together: a file system that hangs holds up each of them
        for pool in self._pools:
            await pool.finish(max(0.0, until - loop.time()))
        if any(pool.is_shared for pool in self._pools) or all(pool.is_idle for pool in self._pools):
            return
        self._readers.run(self._release_all)
        await self._readers.finish(FINISH_WITHIN_S)
        for pool in self._pools:
            pool.stop()

    # ---- Spooling

    @property
    def largest_body_bytes(self) -> int | None:
        """The size of the largest body: one that takes all of ``max_bytes``; None for any size."""
        return self._bounds.max_bytes

    def spool(self, key: str) -> FileSpool:
        """Begin a body; its file is created with the first write."""
        self._eviction.is_closing = False
        growing = Growing(self._bodies, name_of(key), self._codec.digest_bytes, fsync=self._fsync)
        return FileSpool(self._writers, growing, failed=self._eviction.note_failed)

    def holds(self, body: FiledBody) -> bool:
        """Whether *body* is a complete body in a file of this store."""
        return self._bodies.file_of(body) is not None

    # ---- Keeping, Expiring

    async def kept_secret(self) -> bytes | None:
        """The secret in the file for it; None if there is none."""
        return await self._readers.run(partial(kept_secret, self._tree))

    async def keep_secret(self, proposed: bytes) -> bytes:
        """Store *proposed* unless there is a secret already; return the one that is stored then."""
        return await self._writers.run(partial(keep_secret, self._tree, proposed))

    async def delete_expired(self, now: float) -> int:
        """Delete the records that have expired at *now*."""
        return sum([len(step) async for step in self._steps(dropped(self._tree, lambda head: head.until <= now))])

    # ---- Leasing

    async def acquire(self, key: str, ttl_s: float) -> Lease:
        """Ask to be the only process that fetches *key*.

        The lease ends after *ttl_s* seconds, or earlier if it is released or the process ends, or later if it is
        renewed.
        """
        return await self._released_if_cancelled(key, lambda: self._lease(name_of(key), ttl_s))

    async def get_or_acquire(self, key: str, ttl_s: float) -> Found | Lease | None:
        """Look *key* up, and take its lease if nothing is found, in one job of a thread; None if leases fail."""
        found = await self._released_if_cancelled(key, partial(self._look_or_lease, key, ttl_s))
        self._report_loss()
        return found

    async def renew(self, key: str, ttl_s: float) -> bool:
        """Extend the lease on *key* to *ttl_s* seconds from now; False if it is no longer held."""
        return await self._readers.run(partial(self._leases.renew, name_of(key), ttl_s))

    async def release(self, key: str) -> None:
        """Release the lease on *key*."""
        await self._readers.run(partial(self._leases.release, name_of(key)))

    async def _released_if_cancelled(self, key: str, ask: Callable[[], T]) -> T:
        """Run *ask* in a thread; if the caller is cancelled, release the lease on *key* that it may have taken."""

        def undo(answer: T) -> None:
            if isinstance(answer, Lease) and answer:
                self._leases.release(name_of(key))

        asking = self._readers.run(ask, undo)
        try:
            return await asking
        except asyncio.CancelledError:
            if not asking.cancelled() and asking.exception() is None:  # the answer had arrived before
                self._readers.run(partial(undo, asking.result()))
            raise

    # ---- in the threads

    def _release_all(self) -> None:
        self._leases.close()
        self._tree.close()

    def _look_up(self, keys: Sequence[str]) -> list[Found | None]:
        items = map(self._reader.item, keys)
        return [None if item is None else Found(item) for item in items]

    def _lease(self, name: str, ttl_s: float) -> Lease:
        if not self._leases.acquire(name, ttl_s):
            return Lease.REFUSED
        leaf = self._tree.leaf(name)
        return Lease.GRANTED if leaf is None or see(leaf, name) is None else Lease.GRANTED_LATE

    def _look_or_lease(self, key: str, ttl_s: float) -> Found | Lease | None:
        name = name_of(key)
        try:  # leased before the look-up, so that one look-up is enough: a miss is the likely outcome
            is_granted = self._leases.acquire(name, ttl_s)
        except (OSError, StorageError):  # such as a read-only file system: entries can still be read
            is_granted = None
        item = self._reader.item(key)
        if item is None:
            return None if is_granted is None else Lease(is_granted)
        if is_granted:
            self._leases.release(name)
        return Found(item)

    def _report_loss(self) -> None:
        if self._tree.losses != self._losses:
            self._losses = self._tree.losses
            self.events.lost()

    # ---- in steps

    async def _steps(self, walk: Iterator[T]) -> AsyncIterator[T]:
        """Iterate over *walk*, each step in a thread."""
        while (step := await self._writers.run(lambda: next(walk, None))) is not None:
            yield step
