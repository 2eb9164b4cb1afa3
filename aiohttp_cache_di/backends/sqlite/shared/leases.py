"""Leases as locks on bytes of a file beside the database (`disk.leases`), with their times in mapped memory.

Where such locks do not exist (on some platforms and file systems, and for a database in memory), leases are rows of a
table (`writing.lease_table`). Processes that use locks and processes that use the table do not see each other's leases,
so that both may fetch a key.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import stat
import time
from hashlib import blake2b
from math import inf
from typing import Final

from aiohttp_cache_di.backends.disk import byte_locks
from aiohttp_cache_di.backends.disk.byte_locks import NoLocksError
from aiohttp_cache_di.backends.disk.leases import OFFSET_DIGITS, SLOTS, LockedLeases
from aiohttp_cache_di.backends.disk.owned import OTHERS, is_believed
from aiohttp_cache_di.backends.sqlite.file.files import CacheFile
from aiohttp_cache_di.backends.sqlite.file.schema import HEX_DIGITS
from aiohttp_cache_di.backends.sqlite.shared.counters import NOT_A_LINK, resemble

__all__ = ["Leases"]

SIZE_BYTES: Final = 8 * SLOTS
CHECK_S: Final = 1.0  # between two checks that the open file is still the one at its path
RETRY_S: Final = 10.0  # after which opening the file is tried again


class _LockFile:
    """The open file; see `LeaseFile`."""

    def __init__(self, fd: int, identity: tuple[int, int]) -> None:
        self.fd: int = fd
        self.identity: tuple[int, int] = identity
        self._map = mmap.mmap(fd, SIZE_BYTES)
        self.times: memoryview[float] = memoryview(self._map).cast("d")

    def __del__(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self.fd)


class Leases(LockedLeases[_LockFile]):
    """The leases of one store, for the threads of its connections.

    Args:
        file: the database file.
        table_name: the cache's table; equal keys of two tables have different leases.
    """

    def __init__(self, file: CacheFile, table_name: str) -> None:
        super().__init__()
        self._database = file
        self._salt = _digest(table_name)
        self._checked_at = -inf
        self._without_until = -inf if byte_locks.ARE_THERE and not file.is_memory else inf

    @property
    def are_locks(self) -> bool:
        """Whether leases are locks, as far as is known; otherwise they are rows of the table."""
        return self._without_until == -inf or time.monotonic() > self._without_until

    def acquire(self, key: str, ttl_s: float) -> bool:
        """As `LockedLeases.acquire`; raises `NoLocksError` where leases are rows of the table."""
        try:
            return super().acquire(key, ttl_s)
        except NoLocksError:
            if self.are_locks:  # the file is open, so its file system has no locks
                self._without_until = inf
                self._file = None
            raise

    def offset_of(self, key: str) -> int:
        """As `LockedLeases.offset_of`."""
        if len(key) == HEX_DIGITS:
            try:
                return int(key[:OFFSET_DIGITS], 16) ^ self._salt
            except ValueError:  # a key of a user's create_key: it is digested, as one of another length
                pass
        return _digest(key) ^ self._salt

    def opened(self, file: _LockFile | None) -> _LockFile:
        """As `LockedLeases.opened`."""
        now = self.now()
        if file is not None and now - self._checked_at > CHECK_S:
            self._checked_at = now
            if _identity(self._path) != file.identity:
                file = None
        if file is None:
            if not self.are_locks:
                raise NoLocksError("there are no locks for leases")
            try:
                file = _open(self._path, self._database.path)
            except (OSError, ValueError) as exc:
                self._without_until = now + RETRY_S
                raise NoLocksError(f"the file of leases cannot be used: {exc}") from exc
            self._checked_at, self._without_until = now, -inf
        return file

    @property
    def _path(self) -> str:
        return f"{os.path.realpath(self._database.path)}-leases"  # beside a link's target, as SQLite's log


def _digest(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=OFFSET_DIGITS // 2).digest())


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path, follow_symlinks=False)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _open(path: str, like: str) -> _LockFile:
    """Open the file at *path*, or make it with the owner and mode of the file *like*.

    Raises:
        OSError: it cannot be opened to write.
        ValueError: it is not a regular file, or another user's.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | NOT_A_LINK | getattr(os, "O_NONBLOCK", 0), 0o600)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or not is_believed(status.st_uid):
            raise ValueError("it is not a regular file, or another user's")
        if status.st_size < SIZE_BYTES:
            # Written in full, to allocate its pages: on a full disk, writing to a mapped hole kills the process.
            os.write(descriptor, bytes(SIZE_BYTES))
            resemble(descriptor, like)
        elif status.st_mode & OTHERS and hasattr(os, "fchmod"):
            with contextlib.suppress(OSError):  # the file system has no modes
                os.fchmod(descriptor, stat.S_IMODE(status.st_mode) & ~OTHERS)
        return _LockFile(descriptor, (status.st_dev, status.st_ino))
    except BaseException:
        os.close(descriptor)
        raise
