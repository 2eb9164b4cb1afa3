"""Where a SQLite cache keeps its file, how the file is opened and secured, and how a damaged one is set aside."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import re
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, cast
from urllib.parse import parse_qs, quote, urlsplit

from aiohttp_cache_di.backends.disk.owned import (
    make_directories,
    make_private,
    real_path,
    temporary_directory,
    temporary_directory_path,
)
from aiohttp_cache_di.backends.disk.place import Place
from aiohttp_cache_di.backends.sqlite.file.failing import ConnectionsLostError
from aiohttp_cache_di.backends.sqlite.file.thread import JobConnection, running_jobs
from aiohttp_cache_di.errors import ConfigurationError, StorageError

__all__ = ["CacheFile", "Identity"]

logger: logging.Logger = logging.getLogger(__name__)

PASSED_ON = ("detect_types", "factory", "cached_statements")  # options of users that `sqlite3.connect` gets
BUSY_TIMEOUT_S = 0.15  # below the storage deadline of 250 ms, so that the error names the lock, not the deadline
COMPANIONS = ("-wal", "-shm", "-journal")
KEPT_DAMAGED = 2  # the newest of the damaged files that were set aside

Identity = tuple[int, ...]
"""Device and inode, which distinguish a file from another one of the same name; also size and modification time of a
file that is opened as immutable, since SQLite does not notice changes of it."""
OPENING_BYTES = 1024 * 1024  # largest value that is read before the file's contents are checked


@dataclass(frozen=True)
class CacheFile:
    """A database file, or a database in memory, and how to connect to it.

    Args:
        place: where the file is; None for a database in memory.
        query: parameters of the URI that the user gave, such as ``nolock=1``.
        read_only: never write (``mode=ro`` or ``immutable=1`` in a URI).
        options: arguments for ``sqlite3.connect``.
    """

    place: Place | None
    query: str = ""
    read_only: bool = False
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @classmethod
    def resolve(cls, name: str | os.PathLike[str], use_temp: bool, given: Mapping[str, Any]) -> CacheFile:
        """Make a file from a user's name: a path, ``~`` allowed, ``:memory:``, or a ``file:`` URI.

        Uses those of the *given* options that say where the file is and how it is opened.
        """
        options = {key: value for key, value in given.items() if key in PASSED_ON}
        options["timeout"] = float(given.get("timeout", BUSY_TIMEOUT_S))
        uri = given.get("uri", False)
        text = uri if isinstance(uri, str) else os.fspath(name)
        if text.startswith("file:") and uri:
            return cls._of_uri(text, options)
        if text == ":memory:":
            return cls(None, options=options)
        path = PurePath(text)
        if not path.name:  # "." or "/"
            raise ConfigurationError(f"{text!r} is a directory; name the file in it, such as {str(path / 'cache')!r}")
        if not path.suffix:
            path = path.with_name(path.name + ".sqlite")
        place = Place(path.name, temporary_directory_path) if use_temp else Place(path)
        return cls(place, options=options)

    @classmethod
    def _of_uri(cls, uri: str, options: Mapping[str, Any]) -> CacheFile:
        parts = urlsplit(uri)
        given = parse_qs(parts.query)
        if given.get("mode") == ["memory"] or parts.path == ":memory:":
            return cls(None, options=options)
        read_only = given.get("mode") == ["ro"] or "immutable" in given
        kept = "&".join(f"{key}={values[-1]}" for key, values in given.items() if key in ("vfs", "psow", "nolock"))
        return cls(Place(parts.netloc + parts.path), query=kept, read_only=read_only, options=options)

    @property
    def is_memory(self) -> bool:
        """Whether it is a database in memory."""
        return self.place is None

    @property
    def name(self) -> str:
        """The name of the file as the user gave it; ``:memory:`` for a database in memory."""
        return ":memory:" if self.place is None else self.place.name

    @property
    def path(self) -> str:
        """The absolute path of the file; ``:memory:`` for a database in memory."""
        return ":memory:" if self.place is None else self.place.path

    @property
    def label(self) -> str:
        """The name of the file in error messages."""
        return "the SQLite database in memory" if self.is_memory else self.known_path

    @property
    def known_path(self) -> str:
        """The path if it has been resolved, else the name as given; does not read the file system."""
        return ":memory:" if self.place is None else self.place.known_path

    def beside(self, suffix: str) -> str:
        """The path of the file with this *suffix* beside the database, or beside the target of a link to it."""
        return os.path.realpath(self.path) + suffix

    def connect(self, mode: str, *, timeout_s: float | None = None) -> JobConnection:
        """Open a connection in the given *mode*: ``rw``, ``ro``, or ``immutable`` for a file that cannot change."""
        options = dict(self.options)
        options["factory"] = running_jobs(options.get("factory", JobConnection))
        if timeout_s is not None:
            options["timeout"] = min(timeout_s, options["timeout"])
        name = ":memory:"
        if not self.is_memory:
            flags = "mode=ro&immutable=1" if mode == "immutable" else f"mode={mode}"
            query = f"{flags}&{self.query}" if self.query else flags
            name = f"file:{quote(os.fsencode(self.path))}?{query}"  # bytes: not all names of files are valid text
        connection = sqlite3.connect(
            name, uri=not self.is_memory, isolation_level=None, check_same_thread=False, **options
        )
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, OPENING_BYTES)
        connection.text_factory = _as_text
        made = cast("JobConnection", connection)  # made by the factory above
        made.guard()
        return made

    def secure(self) -> None:
        """Make sure that the file, and SQLite's files beside it, belong to this user and are closed to others.

        Raises:
            StorageError: one of them is another user's.
        """
        if self.is_memory:
            return
        path = self._real_path()  # SQLite has its log beside the target of a link
        for suffix in ("", *COMPANIONS):
            make_private(path + suffix)

    def create(self) -> None:
        """Create an empty file with mode 600 unless there is a file; SQLite would leave the mode to the umask."""
        if self.is_memory:
            return
        path = self._real_path()  # the target of a link, which may not exist yet
        make_directories(os.path.dirname(path))
        # Only an exclusive creation is safe: closing a file that SQLite has open elsewhere drops its locks.
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))

    def _real_path(self) -> str:
        if self.place is not None and self.place.is_temporary:
            temporary_directory()
        return real_path(self.path)

    def identity(self, *, frozen: bool = False) -> Identity | None:
        """The identity of the file that is there now; None if there is none.

        Args:
            frozen: include size and modification time, for a file that is opened as immutable.
        """
        if self.is_memory:
            return (0, 0)
        try:
            status = os.stat(self.path)
        except OSError:
            return None
        if frozen:
            return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
        return status.st_dev, status.st_ino

    def idle_s(self) -> float:
        """Seconds since the file or its log was last changed, by whatever clock; infinite if there is no file."""
        if self.is_memory:
            return math.inf
        changed_at = -math.inf
        for suffix in ("", "-wal"):
            with contextlib.suppress(OSError):
                status = os.stat(self.path + suffix)
                if status.st_size:  # an empty log is made by opening the file
                    changed_at = max(changed_at, status.st_mtime)
        return abs(time.time() - changed_at)

    def bytes_on_disk(self) -> int | None:
        """The size of the file and of SQLite's files beside it; None for a database in memory."""
        if self.is_memory:
            return None
        total = 0
        for suffix in ("", *COMPANIONS):
            with contextlib.suppress(OSError):
                total += os.stat(self.path + suffix).st_size
        return total

    def set_aside(self, damaged: Identity | None) -> StorageError:
        """Rename the *damaged* file and its companions, unless another process has already done so.

        Returns:
            The error to raise in jobs that have the file open: `ConnectionsLostError`, or why it cannot be renamed.
        """
        lost = ConnectionsLostError(f"{self.path} was damaged", "damaged")
        if self.is_memory or damaged is None or self.identity() != damaged:
            return lost
        try:
            path = real_path(self.path)
        except StorageError as exc:
            return exc
        numbers = _damaged_copies(path)
        target = f"{path}.corrupt-{max(numbers, default=0) + 1}"
        for suffix in COMPANIONS:
            # Before the file itself, so that a new one does not inherit its log. Absent if no process has it open.
            with contextlib.suppress(OSError):
                os.rename(path + suffix, target + suffix)
        try:
            os.rename(path, target)
        except OSError as exc:
            return StorageError(f"{path} is damaged and cannot be renamed: {exc}")
        logger.warning("The cache file %s was damaged; it is kept as %s and a new one is begun", path, target)
        for number in sorted(numbers)[: -(KEPT_DAMAGED - 1)]:
            for suffix in ("", *COMPANIONS):
                with contextlib.suppress(OSError):
                    os.unlink(f"{path}.corrupt-{number}{suffix}")
        return lost


def _damaged_copies(path: str) -> list[int]:
    """The numbers of the damaged files that were set aside from *path*."""
    directory, name = os.path.split(path)
    pattern = re.compile(re.escape(name) + r"\.corrupt-([0-9]{1,9})", re.ASCII)
    try:
        names = os.listdir(directory)
    except OSError:
        return []
    return [int(match[1]) for each in names if (match := pattern.fullmatch(each))]


def _as_text(column: bytes) -> str:
    """Decode any bytes: one row with invalid UTF-8 must not fail a statement that reads others, too."""
    return column.decode("utf-8", "surrogateescape")
