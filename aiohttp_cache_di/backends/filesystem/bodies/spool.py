"""Writing bodies into files while they arrive: data is in memory only until a thread has written it."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Final

from aiohttp_cache_di.backends.filesystem.bodies.reading import Bodies, BodyFile
from aiohttp_cache_di.backends.filesystem.places.names import new_token
from aiohttp_cache_di.backends.filesystem.pool import Pool
from aiohttp_cache_di.backends.filesystem.records.files import write_pieces
from aiohttp_cache_di.backends.filesystem.records.packing import PIECE_BYTES, Digest, Filed
from aiohttp_cache_di.errors import StorageError

__all__ = ["FileSpool", "Growing"]

BEGIN_AT_BYTES: Final = 512 * 1024  # enough data to be worth a job in a thread
WRITTEN_BYTES: Final = 1024 * 1024
"""Approximate size of one system call: what is written at once is contiguous in the page cache, and faster to read."""
GIVEN_UP: Final = "a body was given up before it was whole"
MAX_PIECES: Final = 1024  # of one system call: IOV_MAX of all systems that have writev


class Growing:
    """The file of a body that is being written, for threads; created with the first write.

    Args:
        bodies: the bodies of the store.
        name: the name of the entry.
        digest_bytes: the size of the digest of a piece.
        fsync: call fsync before the body counts as written.
    """

    def __init__(self, bodies: Bodies, name: str, digest_bytes: int, *, fsync: bool) -> None:
        self._bodies = bodies
        self._name = name
        self._token = new_token()
        self._digest_bytes = digest_bytes
        self._fsync = fsync
        self._fd: int | None = None
        self._length = 0
        self._digests: list[bytes] = []
        self._digest = Digest(digest_bytes)
        self._has_ended = False
        self._guard = threading.Lock()

    def write(self, pieces: Iterable[bytes]) -> None:
        """Write *pieces*; does nothing after `discard`.

        Raises:
            StorageError, OSError: they cannot be written.
        """
        with self._guard:
            if self._has_ended:
                return
            fd = self._opened()
            for block in _blocks(pieces):
                write_pieces(fd, block)
                for piece in block:
                    self._note(piece)

    def finish(self) -> BodyFile:
        """The complete body; unless it is placed, its file is removed with the returned object. Raises as `write`."""
        with self._guard:
            fd = self._opened()
            if self._length % PIECE_BYTES:
                self._digests.append(self._digest.value())
            if self._fsync:
                os.fsync(fd)
            self._has_ended, self._fd = True, None
            return BodyFile(self._bodies, Filed(self._token, self._length, b"".join(self._digests)), self._name, fd)

    def discard(self) -> None:
        """Remove the file unless it was finished. Raises OSError."""
        with self._guard:
            self._has_ended = True
            fd, self._fd = self._fd, None
            if fd is not None:
                self._bodies.close(fd, self._name, self._token, is_placed=False)

    def _opened(self) -> int:
        if self._has_ended:
            raise StorageError(GIVEN_UP)
        if self._fd is None:
            self._fd = self._bodies.begin(self._name, self._token)
        return self._fd

    def _note(self, block: bytes) -> None:
        view = memoryview(block)
        while view:
            room = PIECE_BYTES - self._length % PIECE_BYTES
            self._digest.update(view[:room])
            self._length += len(view[:room])
            view = view[room:]
            if self._length % PIECE_BYTES == 0:
                self._digests.append(self._digest.value())
                self._digest = Digest(self._digest_bytes)


class FileSpool:
    """A body that is being written into a file while it arrives: a `Spool`.

    Args:
        writers: the threads that write.
        growing: the file.
        failed: called with the error if the body cannot be written.
    """

    def __init__(self, writers: Pool, growing: Growing, failed: Callable[[Exception], object]) -> None:
        self.error: Exception | None = None
        self.waiting_bytes: int = 0
        self._writers = writers
        self._growing = growing
        self._failed = failed
        self._queue: list[bytes] = []
        self._job: asyncio.Future[None] | None = None
        self._has_ended = False

    def __del__(self) -> None:
        self.abandon()

    def append(self, data: bytes) -> None:
        """As `Spool.append`."""
        if self._has_ended or self.error is not None:
            return
        self._queue.append(data)
        self.waiting_bytes += len(data)
        if self._job is None and self.waiting_bytes >= BEGIN_AT_BYTES:
            self._begin()

    async def drain(self, to_bytes: int) -> None:
        """As `Spool.drain`."""
        while self.waiting_bytes > to_bytes and self.error is None and not self._has_ended:
            await asyncio.wait([self._job or self._begin()])

    async def finish(self) -> BodyFile:
        """As `Spool.finish`."""
        await self.drain(0)
        if self.error is not None:
            raise self.error
        if self._has_ended:
            raise StorageError(GIVEN_UP)
        try:
            body = await self._writers.run(self._growing.finish)
        except BaseException:
            self.abandon()
            raise
        self._has_ended = True
        return body

    def abandon(self) -> None:
        """As `Spool.abandon`."""
        if self._has_ended:
            return
        self._has_ended = True
        self._queue.clear()
        self.waiting_bytes = 0
        with suppress(Exception):  # the interpreter is shutting down; a later sweep removes the file
            self._writers.post(self._growing.discard)

    def _begin(self) -> asyncio.Future[None]:
        pieces, self._queue = self._queue, []
        self._job = job = self._writers.run(partial(self._growing.write, pieces))
        job.add_done_callback(partial(self._end, sum(map(len, pieces))))
        return job

    def _end(self, size: int, job: asyncio.Future[None]) -> None:
        self._job = None
        if self._has_ended:
            if not job.cancelled():
                job.exception()
            return
        error = StorageError("the thread was stopped") if job.cancelled() else job.exception()
        if error is not None:
            self.abandon()
            self.error = error if isinstance(error, Exception) else StorageError(f"{type(error).__name__} in a thread")
            self._failed(self.error)
            return
        self.waiting_bytes -= size
        if self.waiting_bytes >= BEGIN_AT_BYTES:
            self._begin()


def _blocks(pieces: Iterable[bytes]) -> Iterator[list[bytes]]:
    """*pieces* in groups, each for one system call."""
    block: list[bytes] = []
    size = 0
    for piece in pieces:
        if block and (size + len(piece) > WRITTEN_BYTES or len(block) >= MAX_PIECES):
            yield block
            block, size = [], 0
        block.append(piece)
        size += len(piece)
    if block:
        yield block
