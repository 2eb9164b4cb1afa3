"""The body of an entry, in its file: read in pieces, each of which is checked before any of its bytes is given."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NoReturn, Protocol

from aiohttp_cache_di.backends.filesystem.directory import READ, Directory, lock_shared, read_at
from aiohttp_cache_di.backends.filesystem.lingering import Retired
from aiohttp_cache_di.backends.filesystem.names import body_name, leaf_of
from aiohttp_cache_di.backends.filesystem.records import PIECE_BYTES, Filed
from aiohttp_cache_di.backends.filesystem.uses import Known, identity
from aiohttp_cache_di.errors import UnreadableEntryError

__all__ = ["BodyFile"]


class Holder(Protocol):
    """The bodies of a store, as one of them sees them: `bodies`."""

    known: Known

    @property
    def folder(self) -> Path:
        """The directory of the cache."""
        ...

    def leaf_of(self, name: str) -> Directory | None:
        """The directory of the entry of that *name*."""
        ...

    async def run(self, body: BodyFile, read: Callable[[], bytes]) -> bytes:
        """Read something of *body* in a thread."""
        ...

    def retire(self, retired: Retired, mark: bytes) -> None:
        """Close a file that is read no more."""


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
        self, bodies: Holder, filed: Filed, name: str, fd: int | None = None, *, temporary: str | None = None
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
            self._bodies.retire(Retired(fd, self.name, self.filed.token, self.temporary, self.entry), self.mark)

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

    def belongs_to(self, bodies: Holder) -> bool:
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
