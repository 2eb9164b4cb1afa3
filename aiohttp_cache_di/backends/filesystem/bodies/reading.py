"""Bodies in files, read in pieces, each of which is checked before any of its bytes is returned.

A body's file has its final name from the first byte on. It is used once an entry refers to it; until then the writer's
lock protects it from sweeps. The file is opened when its entry is read, and closed, in a thread, with the last response
that has it, so that a body that is unlinked meanwhile can be read to its end. All readers of a body in a process share
one descriptor.
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
from aiohttp_cache_di.backends.filesystem.records.checked import Checked, identity
from aiohttp_cache_di.backends.filesystem.records.files import (
    create,
    drop,
    drop_unused,
    is_dropped,
    see,
    write_file,
)
from aiohttp_cache_di.backends.filesystem.records.packing import PIECE_BYTES, Filed
from aiohttp_cache_di.backends.forks import note_forks
from aiohttp_cache_di.backends.store import StoreEvents
from aiohttp_cache_di.entries.filed import FiledBody
from aiohttp_cache_di.errors import UnreadableEntryError

__all__ = ["Bodies", "BodyFile"]

THREADS: Final = 2  # apart from those that look entries up, so that reading a body slowly delays no hit


class BodyFile:
    """The body of an entry, in its file: a `FiledBody`.

    Args:
        bodies: the bodies of the store.
        filed: the reference, with length and digests.
        name: the name of the entry.
        fd: the open file, if no entry refers to it yet; None to open it when it is first read.
    """

    __slots__ = ("__weakref__", "_checked_identity", "_checked_pieces", "bodies", "fd", "filed", "is_placed", "name")

    def __init__(self, bodies: Bodies, filed: Filed, name: str, fd: int | None = None) -> None:
        self.bodies: Bodies = bodies
        self.filed: Filed = filed
        self.name: str = name
        self.fd = fd
        self.is_placed: bool = fd is None
        self._checked_identity: tuple[int, ...] = ()
        self._checked_pieces: set[int] = set()

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
        return Path(self.bodies.tree.place.path, leaf_of(self.name), self.file_name)

    async def piece(self, at: int) -> bytes:
        """As `FiledBody.piece`."""
        if at >= self.length:
            return b""
        number, skipped = divmod(at, PIECE_BYTES)
        data = await self.bodies.run(self, partial(self.read, number))
        return data[skipped:] if skipped else data

    async def whole(self) -> bytes:
        """As `FiledBody.whole`; one job in a thread."""
        return await self.bodies.run(self, self.read_whole)

    # ---- in a thread

    def read(self, number: int) -> bytes:
        """Read and check the piece of that *number*."""
        fd = self.opened()
        status = os.fstat(fd)
        data = read_at(fd, self.filed.size_of(number), number * PIECE_BYTES)
        self._check(number, data, status)
        return data

    def read_whole(self) -> bytes:
        """Read and check all pieces."""
        fd = self.opened()
        status = os.fstat(fd)
        data = read_at(fd, self.length, 0)
        if not self.bodies.checked.is_whole(self.filed, data, status):
            raise UnreadableEntryError("a stored body is damaged")
        return data

    def opened(self) -> int:
        """The descriptor of the file, opened if necessary.

        Raises:
            UnreadableEntryError: the file is gone or damaged.
        """
        if self.fd is None:
            leaf = self.bodies.tree.leaf(self.name)
            with suppress(FileNotFoundError):
                if leaf is not None and self.open_in(leaf) and self.fd is not None:
                    return self.fd
            raise UnreadableEntryError("a stored body is missing or damaged")
        return self.fd

    def open_in(self, leaf: Directory) -> bool:
        """Open the file and check its first and last piece; return whether they are intact.

        Raises:
            FileNotFoundError: the file is not there, or being unlinked.
            OSError: it cannot be read.
        """
        fd = leaf.open(self.file_name, READ)
        is_right = False
        try:
            status = os.fstat(fd)
            if stat.S_ISREG(status.st_mode) and status.st_size == self.length and leaf.trusts(fd, status):
                if not lock_shared(fd):
                    raise FileNotFoundError(errno.ENOENT, "it is being dropped")
                if not self.bodies.checked.has(self.filed, status):
                    for number in {0, self.filed.pieces - 1}:
                        self._check(number, read_at(fd, self.filed.size_of(number), number * PIECE_BYTES), status)
                self.fd, is_right = fd, True
        except UnreadableEntryError:  # a damaged piece: False, as for a body of another size
            pass
        finally:
            if not is_right:
                os.close(fd)
        return is_right

    def _check(self, number: int, data: bytes, status: os.stat_result) -> None:
        checked = self.bodies.checked
        if len(data) == self.filed.size_of(number) and checked.has(self.filed, status):
            return
        if not self.filed.is_piece(number, data):
            raise UnreadableEntryError("a stored body is damaged")
        present = identity(status)
        if present != self._checked_identity:
            self._checked_identity, self._checked_pieces = present, set()
        self._checked_pieces.add(number)
        if len(self._checked_pieces) == self.filed.pieces:
            checked.note(self.filed, status)


class Bodies:
    """The bodies of one store that are read in pieces.

    Args:
        tree: the cache's directories.
        events: gets the number of unreadable bodies.
    """

    def __init__(self, tree: Tree, events: StoreEvents) -> None:
        self.pool: Pool = Pool(THREADS)
        self.checked: Checked = Checked()
        """Bodies that need not be checked again."""
        self.tree: Tree = tree
        self._events = events
        self._open: WeakValueDictionary[tuple[str, Filed], BodyFile] = WeakValueDictionary()
        self.after_fork()
        note_forks(self)

    def after_fork(self) -> None:
        """Make a new lock, at first and in a forked child, where a thread of the parent may hold the old one."""
        self._placing = threading.Lock()

    def file_of(self, body: FiledBody) -> BodyFile | None:
        """The file of *body*, if it is a complete one of this store."""
        return body if isinstance(body, BodyFile) and body.bodies is self else None

    async def run(self, body: BodyFile, read: Callable[[], bytes]) -> bytes:
        """Run *read* for *body* in a thread; if the body is damaged, delete its entry."""
        try:
            return await self.pool.run(read)
        except UnreadableEntryError:
            self._events.unreadable()
            self.pool.post(partial(self._drop_entry, body))
            raise

    def retire(self, fd: int, name: str, token: bytes, *, is_placed: bool) -> None:
        """Call `close` in a thread, before the next read; may be called from anywhere, even from a destructor."""
        try:
            self.pool.post(partial(self.close, fd, name, token, is_placed=is_placed))
        except BaseException:  # the interpreter is shutting down
            with suppress(Exception):
                os.close(fd)

    # ---- in a thread

    def begin(self, name: str, token: bytes) -> int:
        """Create the file of a body for the entry *name*, and return its descriptor. Raises OSError."""
        fd = self.tree.in_leaf(name, lambda leaf: create(leaf, body_name(name, token)))
        lock_shared(fd)
        return fd

    def close(self, fd: int, name: str, token: bytes, *, is_placed: bool) -> None:
        """Close the file of a body, and unlink it if no entry refers to it. Raises OSError."""
        is_of_use = is_placed and not is_dropped(os.fstat(fd).st_mtime)
        try:
            os.close(fd)
        finally:  # closing may fail, since some file systems report write errors only then
            leaf = None if is_of_use else self.tree.leaf(name)
            if leaf is not None and ((seen := see(leaf, name)) is None or seen.head.token != token):
                with suppress(OSError):
                    drop_unused(leaf, body_name(name, token))

    def find(self, leaf: Directory, name: str, filed: Filed) -> BodyFile | None:
        """The body of the entry *name*, open; None if it is damaged.

        Raises:
            FileNotFoundError: its file is not there, or being unlinked.
            OSError: it cannot be read.
        """
        body = self._open.get((name, filed))
        if body is None:
            body = BodyFile(self, filed, name)
            if not body.open_in(leaf):
                return None
            self._open[name, filed] = body
        return body

    def mention(self, leaf: Directory, name: str, filed: Filed) -> BodyFile | None:
        """As `find`, but opened only when it is read, since most bodies that a walk meets are not."""
        status = leaf.status_of(body_name(name, filed.token))
        return BodyFile(self, filed, name) if status.st_size == filed.length else None

    def place(self, body: BodyFile, leaf: Directory, name: str) -> None:
        """Put the file of *body* beside the entry *name* in *leaf*, by renaming or copying it if necessary.

        Raises:
            StorageError, OSError: that has failed.
        """
        with self._placing:
            if not (body.is_placed or body.name == name):
                self._move(body, leaf, name)
            body.is_placed = True
            if not _is_there(body, leaf, name):
                _copy(body, leaf, name)

    def _move(self, body: BodyFile, leaf: Directory, name: str) -> None:
        """Rename the file of a body that no entry has yet for the entry *name*, where open files can be renamed."""
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
