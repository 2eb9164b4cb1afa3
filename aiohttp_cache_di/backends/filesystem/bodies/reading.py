"""Bodies in files, which are read in pieces, each of which is checked before any of its bytes is given.

A file has its name from its first byte on: it is of no use, and left alone by a sweep that finds it locked, until an
entry tells of it. It is opened when that entry is read and closed with the last response that has it, by a thread: what
is unlinked meanwhile can be read to its end. All who read a body in a process share one descriptor.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, NoReturn
from weakref import WeakValueDictionary

from aiohttp_cache_di.backends.filesystem.places.directory import READ, Directory, lock_shared, read_at
from aiohttp_cache_di.backends.filesystem.places.names import body_name, leaf_of, temporary_name
from aiohttp_cache_di.backends.filesystem.places.tree import Tree
from aiohttp_cache_di.backends.filesystem.pool import Pool
from aiohttp_cache_di.backends.filesystem.records.files import (
    create,
    drop,
    drop_unused,
    is_dropped,
    see,
    write_file,
)
from aiohttp_cache_di.backends.filesystem.records.packing import PIECE_BYTES, Filed
from aiohttp_cache_di.backends.filesystem.records.uses import Known, identity
from aiohttp_cache_di.backends.store import StoreEvents
from aiohttp_cache_di.errors import UnreadableEntryError

__all__ = ["Bodies", "BodyFile"]

THREADS: Final = 2  # beside those that look entries up: a body that comes slowly holds up no hit


class BodyFile:
    """The body of an entry, in its file: a `FiledBody`.

    Args:
        bodies: those of the store.
        filed: what it must be.
        name: of the entry.
        fd: the file, open, which is of no entry yet; None to open it when it is read.
    """

    __slots__ = ("__weakref__", "_seen", "_stated", "bodies", "fd", "filed", "is_placed", "name")

    def __init__(self, bodies: Bodies, filed: Filed, name: str, fd: int | None = None) -> None:
        self.bodies: Bodies = bodies
        self.filed: Filed = filed
        self.name: str = name
        self.fd = fd
        self.is_placed: bool = fd is None
        self._stated: tuple[int, ...] = ()
        self._seen: set[int] = set()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a body in a file of the cache cannot be pickled: read it first")

    def __del__(self) -> None:
        fd, self.fd = self.fd, None
        if fd is not None:
            self.bodies.retire(fd, self.name, self.filed.token, is_placed=self.is_placed)

    @property
    def length(self) -> int:
        """As `FiledBody.length`."""
        return self.filed.length

    @property
    def file_name(self) -> str:
        """The name of the file."""
        return body_name(self.name, self.filed.token)

    @property
    def path(self) -> Path:
        """As `FiledBody.path`."""
        return self.bodies.folder / leaf_of(self.name) / self.file_name

    async def piece(self, at: int) -> bytes:
        """As `FiledBody.piece`."""
        if at >= self.length:
            return b""
        number, skipped = divmod(at, PIECE_BYTES)
        data = await self.bodies.run(self, partial(self.read, number))
        return data[skipped:] if skipped else data

    async def whole(self) -> bytes:
        """As `FiledBody.whole`; one hop to a thread."""
        return await self.bodies.run(self, self.read_whole)

    # ---- in a thread

    def read(self, number: int) -> bytes:
        """The piece of that *number*."""
        fd = self.opened()
        status = os.fstat(fd)
        data = read_at(fd, self.filed.size_of(number), number * PIECE_BYTES)
        self._check(number, data, status)
        return data

    def read_whole(self) -> bytes:
        """All pieces."""
        fd, known = self.opened(), self.bodies.known
        status = os.fstat(fd)
        data = read_at(fd, self.length, 0)
        if not (len(data) == self.length and known.is_checked(self.filed, status)):
            if not self.filed.is_whole(data):
                raise UnreadableEntryError("a stored body is not as it was written")
            known.note_checked(self.filed, status)
        return data

    def opened(self) -> int:
        """The file, open.

        Raises:
            UnreadableEntryError: it is gone, or not as it was written.
        """
        if self.fd is None:
            leaf = self.bodies.tree.leaf(self.name)
            with suppress(FileNotFoundError):
                if leaf is not None and self.open_in(leaf) and self.fd is not None:
                    return self.fd
            raise UnreadableEntryError("a stored body is gone, or not as it was written")
        return self.fd

    def open_in(self, leaf: Directory) -> bool:
        """Open the file, and look at its beginning and its end; whether it is as it was written.

        Raises:
            FileNotFoundError: it is not there, or about to go.
            OSError: it is nothing that can be read.
        """
        fd = leaf.open(self.file_name, READ)
        is_right = False
        try:
            status = os.fstat(fd)
            if stat.S_ISREG(status.st_mode) and status.st_size == self.length and leaf.owns(fd, status):
                if not lock_shared(fd):
                    raise FileNotFoundError(errno.ENOENT, "it is being dropped")
                if not self.bodies.known.is_checked(self.filed, status):
                    for number in {0, self.filed.pieces - 1}:
                        self._check(number, read_at(fd, self.filed.size_of(number), number * PIECE_BYTES), status)
                self.fd, is_right = fd, True
        except UnreadableEntryError:
            pass
        finally:
            if not is_right:
                os.close(fd)
        return is_right

    def _check(self, number: int, data: bytes, status: os.stat_result) -> None:
        known = self.bodies.known
        if len(data) == self.filed.size_of(number) and known.is_checked(self.filed, status):
            return
        if not self.filed.is_piece(number, data):
            raise UnreadableEntryError("a stored body is not as it was written")
        stated = identity(status)
        if stated != self._stated:
            self._stated, self._seen = stated, set()
        self._seen.add(number)
        if len(self._seen) == self.filed.pieces:
            known.note_checked(self.filed, status)


class Bodies:
    """The bodies of one store that are read in pieces.

    Args:
        tree: where the files are.
        known: bodies that need not be checked again.
        events: where it is told of what cannot be read.
        readers: threads that look entries up. They close files, too: on their way to the next look.
    """

    def __init__(self, tree: Tree, known: Known, events: StoreEvents, readers: Pool) -> None:
        self.pool: Pool = Pool(THREADS)
        self.known: Known = known
        self.tree: Tree = tree
        self._readers = readers
        self._events = events
        self._open: WeakValueDictionary[tuple[str, Filed], BodyFile] = WeakValueDictionary()
        self._placing = threading.Lock()

    @property
    def folder(self) -> Path:
        """The directory of the cache."""
        return Path(self.tree.place.path)

    def after_fork(self) -> None:
        """Be without threads, which are the parent process's."""
        self.pool.begin_anew()
        self._placing = threading.Lock()

    async def run(self, body: BodyFile, read: Callable[[], bytes]) -> bytes:
        """Read something of *body* in a thread; what is not as it was written is dropped."""
        try:
            return await self.pool.run(read)
        except UnreadableEntryError:
            self._events.unreadable()
            self.pool.post(partial(self._drop_entry, body))
            raise

    def retire(self, fd: int, name: str, token: bytes, *, is_placed: bool) -> None:
        """Have `close` done in a thread; from anywhere, a destructor too."""
        try:
            self._readers.post(partial(self.close, fd, name, token, is_placed=is_placed))
        except BaseException:  # at the end of the program
            with suppress(Exception):
                os.close(fd)

    # ---- in a thread

    def begin(self, name: str, token: bytes) -> int:
        """Make the file of a body for the entry of that *name*, and return its descriptor. Raises OSError."""
        fd = self.tree.in_leaf(name, lambda leaf: create(leaf, body_name(name, token)))
        lock_shared(fd)
        return fd

    def close(self, fd: int, name: str, token: bytes, *, is_placed: bool) -> None:
        """Close the file of a body, and remove it where no entry tells of it. Raises OSError."""
        is_of_use = is_placed and not is_dropped(os.fstat(fd))
        try:
            os.close(fd)
        finally:  # a file system may say only now that it could not write
            leaf = None if is_of_use else self.tree.leaf(name)
            if leaf is not None and ((seen := see(leaf, name)) is None or seen.head.token != token):
                with suppress(OSError):
                    drop_unused(leaf, body_name(name, token))

    def find(self, leaf: Directory, name: str, filed: Filed) -> BodyFile | None:
        """The body of the entry of that *name*, open; None if it is not as it was written.

        Raises:
            FileNotFoundError: it is not there, or about to go.
            OSError: it is nothing that can be read.
        """
        body = self._open.get((name, filed))
        if body is None:
            body = BodyFile(self, filed, name)
            if not body.open_in(leaf):
                return None
            self._open[name, filed] = body
        return body

    def mention(self, leaf: Directory, name: str, filed: Filed) -> BodyFile | None:
        """As `find`, to be opened when it is read, as most of those that a walk meets are not."""
        status = leaf.status_of(body_name(name, filed.token))
        return BodyFile(self, filed, name) if status.st_size == filed.length else None

    def place(self, body: BodyFile, leaf: Directory, name: str) -> None:
        """See to it that *body* is in its file beside the entry of that *name*, in *leaf*.

        Raises:
            StorageError, OSError: it cannot be.
        """
        with self._placing:
            if not (body.is_placed or body.name == name):
                self._move(body, leaf, name)
            body.is_placed = True
            if not _is_there(body, leaf, name):
                _copy(body, leaf, name)

    def _move(self, body: BodyFile, leaf: Directory, name: str) -> None:
        """Give the file of a body that belongs to no entry yet to that of another *name*, where that can be done."""
        source = self.tree.leaf(body.name)
        with suppress(FileNotFoundError):
            if source is not None and source.frees_names:
                source.move(body.file_name, body_name(name, body.filed.token), leaf)
                body.name = name

    def _drop_entry(self, body: BodyFile) -> None:
        leaf = self.tree.leaf(body.name)
        seen = None if leaf is None else see(leaf, body.name)
        if leaf is not None and seen is not None and seen.head.token == body.filed.token:
            drop(leaf, body.name)
            self._open.pop((body.name, body.filed), None)


def _is_there(body: BodyFile, leaf: Directory, name: str) -> bool:
    target, fd = body_name(name, body.filed.token), body.opened()
    with suppress(FileNotFoundError):
        if os.path.samestat(leaf.status_of(target), os.fstat(fd)):
            return True
        leaf.unlink(target)
    return False


def _copy(body: BodyFile, leaf: Directory, name: str) -> None:
    temporary = temporary_name(name)
    try:
        write_file(leaf, temporary, map(body.read, range(body.filed.pieces)))
        leaf.move(temporary, body_name(name, body.filed.token))
    except BaseException:
        with suppress(OSError):
            leaf.unlink(temporary)
        raise
