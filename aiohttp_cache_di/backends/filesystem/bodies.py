"""The bodies of a store that are read in pieces: opened, read, placed and closed.

The file is opened when its entry is read and closed with the last response that has it, by a thread: what is unlinked
meanwhile can be read to its end. All who read a body in a process share one descriptor, and who asks again a moment
later has it too: it is closed only then.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final
from weakref import WeakValueDictionary

from aiohttp_cache_di.backends.filesystem.body import BodyFile
from aiohttp_cache_di.backends.filesystem.directory import READ, Directory
from aiohttp_cache_di.backends.filesystem.files import create, drop, drop_unused, see, write_all
from aiohttp_cache_di.backends.filesystem.lingering import Lingering, Retired
from aiohttp_cache_di.backends.filesystem.names import body_name, leaf_of, temporary_name
from aiohttp_cache_di.backends.filesystem.pool import Pool
from aiohttp_cache_di.backends.filesystem.records import Filed
from aiohttp_cache_di.backends.filesystem.tree import Tree
from aiohttp_cache_di.backends.filesystem.uses import Known, identity
from aiohttp_cache_di.backends.store import StoreEvents
from aiohttp_cache_di.errors import UnreadableEntryError

__all__ = ["Bodies"]

THREADS: Final = 2  # beside those that look entries up: a body that comes slowly holds up no hit
_NO_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV, errno.EACCES})


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
        self.lingering: Lingering = Lingering(closing, self._close)
        self._may_linger = False

    @property
    def folder(self) -> Path:
        """The directory of the cache."""
        return Path(self._tree.place.path)

    def after_fork(self) -> None:
        """Be without threads, which are the parent process's."""
        self.pool.begin_anew()
        self._placing = threading.Lock()
        self._unplaced = set()
        self.lingering.after_fork()

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

    def retire(self, retired: Retired, mark: bytes) -> None:
        """Close a file that is read no more, in a thread and in a moment; it goes where it belongs to no entry."""
        lingers = self._may_linger and retired.temporary is None
        self.lingering.add(retired, retired.name.encode() + mark if lingers else None)

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
            self._may_linger = leaf.frees_names
            body = BodyFile(self, filed, name, self._taken(mark, filed))
            if body.fd is None and not body.open_in(leaf):
                return None
            self._open[mark] = body
        body.entry = identity(status)
        return body

    def _taken(self, mark: bytes, filed: Filed) -> int | None:
        """The file of a body that is open still, if it is there and was found to be whole."""
        retired = self.lingering.take(mark)
        if retired is None:
            return None
        status = os.fstat(retired.fd)
        if status.st_nlink and self.known.is_checked(filed.mark, status):
            return retired.fd
        self.lingering.add(retired, None)
        return None

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
        status = leaf.status_of(body_name(name, filed.token))
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
            status = leaf.status_of(target)
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

    def _close(self, retired: Retired) -> None:
        fd, name, token, temporary, entry = retired
        os.close(fd)
        if temporary is not None:
            self.give_up(name, temporary)
            return
        leaf = self.leaf_of(name)
        if leaf is None:
            return
        with suppress(OSError):
            if (
                entry and identity(leaf.status_of(name)) == entry
            ):  # a look into the file would cost more than a small hit
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
