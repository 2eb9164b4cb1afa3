"""Writing and deleting records: their files, the counts for eviction, and the leases that end with a write."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial

from aiohttp_cache_di.backends.filesystem.bodies.reading import Bodies, BodyFile
from aiohttp_cache_di.backends.filesystem.eviction.evictor import Evictor
from aiohttp_cache_di.backends.filesystem.leases import Leases
from aiohttp_cache_di.backends.filesystem.places.directory import Directory
from aiohttp_cache_di.backends.filesystem.places.names import name_of
from aiohttp_cache_di.backends.filesystem.records.files import Seen, disk_bytes, drop, publish
from aiohttp_cache_di.backends.filesystem.records.packing import RecordCodec
from aiohttp_cache_di.backends.filesystem.records.uses import Uses
from aiohttp_cache_di.backends.store import Record, Written
from aiohttp_cache_di.entries.filed import FiledResponse
from aiohttp_cache_di.errors import StorageError

__all__ = ["Writer"]


class Writer:
    """Writes and deletes the records of one cache, in threads.

    Args:
        codec: encodes records.
        uses: when uses of entries were recorded: a write is one.
        bodies: the bodies that are read in pieces; in the same directories.
        evictor: is told what is written and deleted, and when the disk is full.
        leases: those of leased records are released.
        value_bytes: returns the size of the largest body that is written from memory.
        fsync: call fsync for each record before it counts as written.
    """

    def __init__(
        self,
        codec: RecordCodec,
        uses: Uses,
        bodies: Bodies,
        evictor: Evictor,
        leases: Leases,
        value_bytes: Callable[[], int],
        *,
        fsync: bool,
    ) -> None:
        self._tree = bodies.tree
        self._codec = codec
        self._uses = uses
        self._bodies = bodies
        self._evictor = evictor
        self._leases = leases
        self._value_bytes = value_bytes
        self._fsync = fsync

    def put(self, records: Sequence[Record]) -> list[Written]:
        """Write *records*, one after the other; of those with one key, only the last.

        Raises:
            StorageError: the file system refuses all of them, so that the call may be repeated.
        """
        written: dict[str, Written] = {}
        for record in {record.key: record for record in records}.values():
            try:
                self._put(record)
            except StorageError as exc:
                written[record.key] = exc
            except OSError as exc:
                self._evictor.note_failed(exc)
                error = StorageError(f"{self._tree.place.path}: an entry cannot be written: {exc.strerror}")
                error.__cause__ = exc
                written[record.key] = error
            else:
                written[record.key] = 0
        failures = [each for each in written.values() if isinstance(each, StorageError)]
        if len(failures) == len(written) and all(isinstance(each.__cause__, OSError) for each in failures):
            raise failures[0]
        return [written[record.key] for record in records]

    def delete(self, keys: Collection[str]) -> None:
        """Delete the records under *keys*. Raises StorageError, OSError."""
        for name in map(name_of, keys):
            leaf = self._tree.leaf(name)
            freed = None if leaf is None else drop(leaf, name)
            if freed is not None:
                self._evictor.counts.add(name, -freed, -1)

    def _put(self, record: Record) -> None:
        """Write one record. Raises StorageError, OSError."""
        name, item = name_of(record.key), record.item
        body: BodyFile | None = None
        if isinstance(item, FiledResponse):
            body = self._bodies.file_of(item.file)
            if body is None:
                raise StorageError("the body of an entry is in a file of another store")
        packed = self._codec.pack(item, record.key, record.until, None if body is None else body.filed)
        if len(packed.body) > self._value_bytes():
            raise StorageError(f"a body of {len(packed.body)} bytes is larger than this cache stores")

        def write(leaf: Directory) -> Seen | None:
            place = None if body is None else partial(self._bodies.place, body, leaf, name)
            return publish(leaf, name, packed, fsync=self._fsync, place_body=place)

        was_placed = body is not None and body.is_placed
        try:
            before = self._tree.in_leaf(name, write)
        except BaseException:
            if body is not None:
                body.is_placed = was_placed  # if False, the file is removed with its last reader unless an entry has it
            raise
        self._uses.note(name)  # the write has set the file's time
        size = disk_bytes(len(packed.entry)) + disk_bytes(packed.body_bytes)
        self._evictor.counts.add(name, size - (before.disk_bytes if before else 0), 0 if before else 1)
        if record.leased:
            self._leases.release(name)
