"""Bodies that are read from their files in pieces, each of which is checked before any of its bytes is given.

The file is opened when its entry is read and closed with the last response that has it, by a thread: what is unlinked
meanwhile can be read to its end. All who read a body in a process share one descriptor.
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

from aiohttp_cache_di.backends.filesystem.directory import READ, Directory, lock_shared, read_at
from aiohttp_cache_di.backends.filesystem.files import create, drop, drop_unused, see, write_all
from aiohttp_cache_di.backends.filesystem.names import body_name, leaf_of, temporary_name
from aiohttp_cache_di.backends.filesystem.pool import Pool
from aiohttp_cache_di.backends.filesystem.records import PIECE_BYTES, Filed
from aiohttp_cache_di.backends.filesystem.tree import Tree
from aiohttp_cache_di.backends.filesystem.uses import Known, identity
from aiohttp_cache_di.backends.store import StoreEvents
from aiohttp_cache_di.errors import UnreadableEntryError

__all__ = ["Bodies", "BodyFile"]

THREADS: Final = 2  # beside those that look entries up: a body that comes slowly holds up no hit
_NO_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV, errno.EACCES})


class BodyFile:
    """The body of an entry, in its file; made and placed by `Bodies`, which see.

    Args:
        filed: what it must be.
        name: of the entry.
        fd: the file, open; None to open it when it is read.
        temporary: the name of the file, next to the entry's, as long as it is not published.
    """

    __slots__ = (
        "__weakref__",
        "_bodies",
        "_left",
        "_seen",
        "_stated",
        "entry",
        "fd",
        "filed",
        "mark",
        "name",
        "temporary",
    )

    def __init__(
        self, bodies: Bodies, filed: Filed, name: str, fd: int | None = None, *, temporary: str | None = None
    ) -> None:
        self._bodies = bodies
        self.filed: Filed = filed
        self.mark: bytes = filed.mark
        self.name: str = name
        self.fd = fd
        self.temporary: str | None = temporary
        self.entry: tuple[int, ...] = ()
        """The identity of the file of the entry that told of it last."""
        self._stated: tuple[int, ...] = ()
        self._seen = bytearray()
        self._left = 0

    def __reduce__(self) -> NoReturn:
        raise TypeError("a body in a file of the cache cannot be pickled: read it first")

    def __del__(self) -> None:
        fd, self.fd = self.fd, None
        if fd is not None:
            self._bodies.retire(fd, self.name, self.filed.token, self.temporary, self.entry)

    @property
    def length(self) -> int:
        """As `FiledBody.length`."""
        return self.filed.length

    @property
    def path(self) -> Path | None:
        """As `FiledBody.path`; there is none before the entry is written."""
        if self.temporary is not None:
            return None
        return self._bodies.folder / leaf_of(self.name) / body_name(self.name, self.filed.token)

    def belongs_to(self, bodies: Bodies) -> bool:
        """Whether it is one of *bodies*."""
        return self._bodies is bodies

    async def piece(self, at: int) -> bytes:
        """As `FiledBody.piece`."""
        if at >= self.length:
            return b""
        number, skipped = divmod(at, PIECE_BYTES)
        data = await self._bodies.run(self, partial(self.read, number))
        return data[skipped:] if skipped else data

    async def whole(self) -> bytes:
        """As `FiledBody.whole`; one hop to a thread."""
        return await self._bodies.run(self, self.read_whole)

    # ---- in a thread

    def read(self, number: int) -> bytes:
        """The piece of that *number*."""
        fd = self._opened()
        status = os.fstat(fd)
        data = read_at(fd, self.filed.size_of(number), number * PIECE_BYTES)
        self._check(number, data, status)
        return data

    def read_whole(self) -> bytes:
        """All pieces."""
        fd = self._opened()
        status = os.fstat(fd)
        data = read_at(fd, self.length, 0)
        if len(data) != self.length:
            raise UnreadableEntryError("a stored body is cut")
        if not self._bodies.known.is_checked(self.mark, status):
            view = memoryview(data)
            for number in range(self.filed.pieces):
                self._check(number, view[number * PIECE_BYTES : (number + 1) * PIECE_BYTES], status)
        return data

    def open_in(self, leaf: Directory) -> bool:
        """Open the file, and look at its beginning and its end; whether it is as it was written.

        Raises:
            FileNotFoundError: it is not there, or about to go.
            OSError: it is nothing that can be read.
        """
        fd = leaf.open(body_name(self.name, self.filed.token), READ)
        try:
            status = os.fstat(fd)
            is_right = stat.S_ISREG(status.st_mode) and status.st_size == self.length
            is_right = is_right and leaf.owns(fd, status)
            if is_right and not lock_shared(fd):
                raise FileNotFoundError(errno.ENOENT, "it is being dropped")
            if is_right and not self._bodies.known.is_checked(self.mark, status):
                for number in {0, self.filed.pieces - 1}:
                    self._check(number, read_at(fd, self.filed.size_of(number), number * PIECE_BYTES), status)
        except UnreadableEntryError:
            is_right = False
        except BaseException:
            os.close(fd)
            raise
        if is_right:
            self.fd = fd
        else:
            os.close(fd)
        return is_right

    def _opened(self) -> int:
        if self.fd is None:
            leaf = self._bodies.leaf_of(self.name)
            with suppress(FileNotFoundError):
                if leaf is not None and self.open_in(leaf) and self.fd is not None:
                    return self.fd
            raise UnreadableEntryError("a stored body is gone, or not as it was written")
        return self.fd

    def _check(self, number: int, data: bytes | memoryview, status: os.stat_result) -> None:
        known = self._bodies.known
        if len(data) == self.filed.size_of(number) and known.is_checked(self.mark, status):
            return
        if not self.filed.is_piece(number, data):
            raise UnreadableEntryError("a stored body is not as it was written")
        stated = identity(status)
        if stated != self._stated:
            self._stated, self._seen, self._left = stated, bytearray(self.filed.pieces), self.filed.pieces
        if not self._seen[number]:
            self._seen[number] = 1
            self._left -= 1
            if not self._left:
                known.note_checked(self.mark, status)


class Bodies:
    """The bodies of one store that are read in pieces.

    Args:
        tree: where the files are.
        known: bodies that need not be checked again.
        events: where it is told of what cannot be read.
        closing: threads that close files. Those that read bodies do not: a second one would begin to read, whose memory
            is cold.
    """

    def __init__(self, tree: Tree, known: Known, events: StoreEvents, closing: Pool) -> None:
        self.pool: Pool = Pool(THREADS)
        self._closing = closing
        self.known = known
        self._tree = tree
        self._events = events
        self._open: WeakValueDictionary[bytes, BodyFile] = WeakValueDictionary()
        self._placing = threading.Lock()
        self._unplaced: set[tuple[str, str]] = set()  # files that belong to no entry yet, by its name and theirs

    @property
    def folder(self) -> Path:
        """The directory of the cache."""
        return Path(self._tree.place.path)

    def after_fork(self) -> None:
        """Be without threads, which are the parent process's."""
        self.pool.begin_anew()
        self._placing = threading.Lock()
        self._unplaced = set()

    def has(self, body: BodyFile) -> bool:
        """Whether *body* is one of these."""
        return body.belongs_to(self)

    async def run(self, body: BodyFile, read: Callable[[], bytes]) -> bytes:
        """Read something of *body* in a thread; what is not as it was written is dropped."""
        try:
            return await self.pool.run(read)
        except UnreadableEntryError:
            self._events.unreadable()
            self.pool.run(partial(self._drop_entry, body)).add_done_callback(_consume)
            raise

    def retire(self, fd: int, name: str, token: bytes, temporary: str | None, entry: tuple[int, ...]) -> None:
        """Close a file that is read no more, in a thread; it goes where it belongs to no entry."""
        try:
            self._closing.post(partial(self._close, fd, name, token, temporary, entry))
        except BaseException:  # in a destructor, and maybe at the end of the program
            with suppress(Exception):
                os.close(fd)

    # ---- in a thread

    def leaf_of(self, name: str) -> Directory | None:
        """The directory of the entry of that *name*."""
        return self._tree.leaf(leaf_of(name))

    def begin(self, leaf: Directory, name: str, temporary: str) -> int:
        """Make the file *temporary*, for a body of the entry of that *name*; return its descriptor. Raises OSError."""
        fd = create(leaf, temporary)
        self._unplaced.add((name, temporary))
        return fd

    def give_up(self, name: str, temporary: str) -> None:
        """Remove a file that was begun, and was not placed. Raises OSError."""
        self._unplaced.discard((name, temporary))
        leaf = self.leaf_of(name)
        if leaf is not None:
            leaf.unlink(temporary)

    def give_up_all(self) -> None:
        """Remove all files that were begun and not placed, though there be bodies in them that are let go of later.

        Where such a body is placed all the same, it is copied.
        """
        for name, temporary in self._unplaced.copy():
            with suppress(OSError):
                self.give_up(name, temporary)

    def find(self, leaf: Directory, name: str, status: os.stat_result, filed: Filed) -> BodyFile | None:
        """The body of the entry of that *name* and *status*, open; None if it is not as it was written.

        Raises:
            FileNotFoundError: it is not there, or about to go.
            OSError: it is nothing that can be read.
        """
        mark = name.encode() + filed.mark
        body = self._open.get(mark)
        if body is None:
            body = BodyFile(self, filed, name)
            if not body.open_in(leaf):
                return None
            self._open[mark] = body
        body.entry = identity(status)
        return body

    def written(self, filed: Filed, name: str, fd: int, temporary: str) -> BodyFile:
        """The body that was written to the file *temporary*, open as *fd*. Raises OSError."""
        leaf = self.leaf_of(name)
        if leaf is None or leaf.frees_names:
            return BodyFile(self, filed, name, fd, temporary=temporary)
        os.close(fd)
        leaf.move(temporary, body_name(name, filed.token))
        self._unplaced.discard((name, temporary))
        return BodyFile(self, filed, name, leaf.open(body_name(name, filed.token), READ))

    def mention(self, leaf: Directory, name: str, _: os.stat_result, filed: Filed) -> BodyFile | None:
        """As `find`, to be opened when it is read, as most of those that a walk meets are not."""
        status = leaf.status(body_name(name, filed.token))
        return BodyFile(self, filed, name) if status.st_size == filed.length else None

    def place(self, body: BodyFile, leaf: Directory, name: str) -> None:
        """See to it that *body* is in its file beside the entry of that *name*, in *leaf*.

        Raises:
            StorageError, OSError: it cannot be.
        """
        with self._placing:
            if body.temporary is not None:
                source = self.leaf_of(body.name)
                with suppress(FileNotFoundError):
                    if source is not None:
                        target = body_name(name, body.filed.token)
                        source.move(body.temporary, target, leaf)
                        self._unplaced.discard((body.name, body.temporary))
                        body.name, body.temporary = name, None
                        return
            if not self._is_placed(body, leaf, name):
                self._link(body, leaf, name)

    def _is_placed(self, body: BodyFile, leaf: Directory, name: str) -> bool:
        target = body_name(name, body.filed.token)
        with suppress(FileNotFoundError):
            status = leaf.status(target)
            if body.fd is not None and os.path.samestat(status, os.fstat(body.fd)):
                return True
            leaf.unlink(target)
        return False

    def _link(self, body: BodyFile, leaf: Directory, name: str) -> None:
        source, token = self.leaf_of(body.name), body.filed.token
        if source is not None and body.temporary is None and body.name != name:
            try:
                source.link(body_name(body.name, token), body_name(name, token), leaf)
            except OSError as exc:
                if exc.errno not in _NO_LINKS and not isinstance(exc, FileNotFoundError):
                    raise
            else:
                return
        self._copy(body, leaf, name)

    def _copy(self, body: BodyFile, leaf: Directory, name: str) -> None:
        temporary = temporary_name(name)
        fd = create(leaf, temporary)
        try:
            try:
                for number in range(body.filed.pieces):
                    write_all(fd, body.read(number))
            finally:
                os.close(fd)
            leaf.move(temporary, body_name(name, body.filed.token))
        except BaseException:
            with suppress(OSError):
                leaf.unlink(temporary)
            raise

    def _close(self, fd: int, name: str, token: bytes, temporary: str | None, entry: tuple[int, ...]) -> None:
        os.close(fd)
        if temporary is not None:
            self.give_up(name, temporary)
            return
        leaf = self.leaf_of(name)
        if leaf is None:
            return
        with suppress(OSError):
            if entry and identity(leaf.status(name)) == entry:  # a look into the file would cost more than a small hit
                return
        seen = see(leaf, name)
        if seen is None or seen.head.token != token:
            drop_unused(leaf, body_name(name, token))

    def _drop_entry(self, body: BodyFile) -> None:
        leaf = self.leaf_of(body.name)
        seen = None if leaf is None else see(leaf, body.name)
        if leaf is not None and seen is not None and seen.head.token == body.filed.token:
            drop(leaf, body.name)
            self._open.pop(body.name.encode() + body.mark, None)


def _consume(future: object) -> None:
    """Let a failure be: what could not be dropped is found again."""
    exception = getattr(future, "exception", None)
    if callable(exception):
        exception()
