"""Where a SQLite cache keeps its file, how the file is opened, and what is done with one that is damaged."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePath
from typing import Any, cast
from urllib.parse import parse_qs, quote, urlsplit

from aiohttp_cache_di.backends.disk.owned import (
    make_directories,
    own,
    real_path,
    temporary_directory,
    temporary_directory_path,
    whole_path,
)
from aiohttp_cache_di.backends.loops import is_in_a_loop
from aiohttp_cache_di.backends.sqlite.file.failing import ConnectionsLostError
from aiohttp_cache_di.backends.sqlite.file.thread import JobConnection, running_jobs
from aiohttp_cache_di.errors import ConfigurationError, StorageError

__all__ = ["CacheFile", "Identity"]

logger: logging.Logger = logging.getLogger(__name__)

PASSED_ON = ("detect_types", "factory", "cached_statements")  # to `sqlite3.connect`, of what users may give it
BUSY_TIMEOUT_S = 0.15  # below the 250 ms that a request waits for a storage, so that the error says what it was
COMPANIONS = ("-wal", "-shm", "-journal")
KEPT_DAMAGED = 2  # of the files that were set aside, the newest

Identity = tuple[int, ...]
"""Device and inode: what tells a file from another one of the same name; with size and time of its last change
where SQLite itself would not notice one."""

OPENING_BYTES = 1024 * 1024  # of a value that is read before it is known what is in the file


@dataclass(frozen=True)
class CacheFile:
    """A database file, or memory, and how to connect to it.

    Args:
        name: of the file, as it was given; None for a database in memory.
        is_temporary: it is in this user's directory for temporary files.
        query: parameters of a URI that the user gave, such as ``cache=private``.
        read_only: never write (``mode=ro`` or ``immutable=1`` in a URI).
        options: for ``sqlite3.connect``.
    """

    name: str | None
    is_temporary: bool = False
    query: str = ""
    read_only: bool = False
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @classmethod
    def resolve(cls, name: str | os.PathLike[str], use_temp: bool, given: Mapping[str, Any]) -> CacheFile:
        """Make a file of what the user calls it: a path, ``~`` allowed, ``:memory:``, or a ``file:`` URI.

        Of the options that are *given*, those are used that say where the file is and how it is opened.

        Where the file is may take a look at the file system to say. In a running loop that is left to the thread which
        opens the file; otherwise it is said now, so that it does not change with the working directory.
        """
        file = cls._of_name(name, use_temp, given)
        if not file.is_memory and not is_in_a_loop():
            file.path  # noqa: B018  # remembered
        return file

    @classmethod
    def _of_name(cls, name: str | os.PathLike[str], use_temp: bool, given: Mapping[str, Any]) -> CacheFile:
        options = {key: value for key, value in given.items() if key in PASSED_ON}
        timeout = given.get("timeout", BUSY_TIMEOUT_S)
        try:
            options["timeout"] = float(timeout)
        except (TypeError, ValueError) as exc:
            raise ConfigurationError(f"timeout={timeout!r}: use a number of seconds") from exc
        uri = given.get("uri", False)
        text = uri if isinstance(uri, str) else os.fspath(name)
        if text.startswith("file:") and uri:
            return cls._of_uri(text, options)
        if text == ":memory:":
            return cls(None, options=options)
        path = PurePath(text)
        if not path.suffix:
            path = path.with_name(path.name + ".sqlite")
        return cls(str(path), use_temp, options=options)

    @classmethod
    def _of_uri(cls, uri: str, options: Mapping[str, Any]) -> CacheFile:
        parts = urlsplit(uri)
        given = parse_qs(parts.query)
        if given.get("mode") == ["memory"] or parts.path == ":memory:":
            return cls(None, options=options)
        read_only = given.get("mode") == ["ro"] or "immutable" in given
        kept = "&".join(f"{key}={values[-1]}" for key, values in given.items() if key in ("vfs", "psow", "nolock"))
        return cls(parts.netloc + parts.path, query=kept, read_only=read_only, options=options)

    @property
    def is_memory(self) -> bool:
        """Whether it is a database in memory."""
        return self.name is None

    @cached_property
    def path(self) -> str:
        """Where the file is, absolute; ``:memory:`` for a database in memory."""
        if self.name is None:
            return ":memory:"
        if self.is_temporary:
            return os.path.join(temporary_directory_path(), os.path.basename(self.name))
        return whole_path(self.name)

    @property
    def label(self) -> str:
        """What errors call it."""
        return "the SQLite database in memory" if self.is_memory else self.known_path

    @property
    def known_path(self) -> str:
        """The path as far as it is known without a look at the file system."""
        return self.__dict__.get("path") or self.name or ":memory:"

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
            name = f"file:{quote(os.fsencode(self.path))}?{query}"  # bytes: not each name of a file is text
        connection = sqlite3.connect(
            name, uri=not self.is_memory, isolation_level=None, check_same_thread=False, **options
        )
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, OPENING_BYTES)
        connection.text_factory = _as_text
        made = cast("JobConnection", connection)  # so says its factory
        made.guard()
        return made

    def secure(self) -> None:
        """See that what there is of the file, and of SQLite's files beside it, is ours alone.

        Raises:
            StorageError: it is another user's.
        """
        if self.is_memory:
            return
        if self.is_temporary:
            temporary_directory()
        path = real_path(self.path)  # beside which SQLite has its log too
        for suffix in ("", *COMPANIONS):
            own(path + suffix)

    def create(self) -> None:
        """Make an empty file that only its owner can read, unless there is one; SQLite would ask the umask."""
        if self.is_memory:
            return
        if self.is_temporary:
            temporary_directory()
        path = real_path(self.path)  # of a link that leads to no file yet, what it leads to
        make_directories(os.path.dirname(path))
        # Only an exclusive creation is safe: closing a file that SQLite has open elsewhere drops its locks.
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))

    def identity(self, *, frozen: bool = False) -> Identity | None:
        """What tells the present file from another one, or *frozen* from a changed one; None when there is none."""
        if self.is_memory:
            return (0, 0)
        try:
            status = os.stat(self.path)
        except OSError:
            return None
        if frozen:
            return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
        return status.st_dev, status.st_ino

    def bytes_on_disk(self) -> int | None:
        """What the file takes, and SQLite's files beside it; None for a database in memory."""
        if self.is_memory:
            return None
        total = 0
        for suffix in ("", *COMPANIONS):
            with contextlib.suppress(OSError):
                total += os.stat(self.path + suffix).st_size
        return total

    def set_aside(self, damaged: Identity | None) -> StorageError:
        """Rename the *damaged* file and its companions, unless another process has done it before.

        Returns:
            What is to be said of it to those who have it open: `ConnectionsLostError`, or why it cannot be renamed.
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
            # Before the file itself, lest a new one inherit its log; absent when no process has the file open.
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
    """The numbers of the copies of a file that were set aside, some of which may be gone."""
    directory, name = os.path.split(path)
    pattern = re.compile(re.escape(name) + r"\.corrupt-([0-9]{1,9})", re.ASCII)
    try:
        names = os.listdir(directory)
    except OSError:
        return []
    return [int(match[1]) for each in names if (match := pattern.fullmatch(each))]


def _as_text(column: bytes) -> str:
    """Text of any bytes: one row that holds no UTF-8 must not fail the statement that reads others too."""
    return column.decode("utf-8", "surrogateescape")
