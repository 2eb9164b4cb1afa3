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
from aiohttp_cache_di.backends.disk.descriptors import Descriptor
from aiohttp_cache_di.backends.disk.leases import OFFSET_DIGITS, SLOTS, LockedLeases
from aiohttp_cache_di.backends.disk.owned import OTHERS
from aiohttp_cache_di.backends.sqlite.file.files import CacheFile, Identity
from aiohttp_cache_di.backends.sqlite.file.schema import HEX_DIGITS
from aiohttp_cache_di.backends.sqlite.shared.beside import identity_at, open_beside, resemble

__all__ = ["Leases"]

SIZE_BYTES: Final = 8 * SLOTS
CHECK_S: Final = 1.0  # between two checks that the open file is still the one at its path
RETRY_S: Final = 10.0  # after which opening the file is tried again


class _LockFile(Descriptor):
    """The open file; see `LeaseFile`."""

    def __init__(self, fd: int, status: os.stat_result, like: str) -> None:
        """Take over the file *fd* with that *status*; a new one gets its size, and the owner and mode of *like*."""
        super().__init__(fd)
        self.identity: Identity = status.st_dev, status.st_ino
        if status.st_size < SIZE_BYTES:
            # Written in full, to allocate its pages: on a full disk, writing to a mapped hole kills the process.
            os.write(fd, bytes(SIZE_BYTES))
            resemble(fd, like)
        elif status.st_mode & OTHERS and hasattr(os, "fchmod"):
            with contextlib.suppress(OSError):  # the file system has no modes
                os.fchmod(fd, stat.S_IMODE(status.st_mode) & ~OTHERS)
        self._map = mmap.mmap(fd, SIZE_BYTES)
        self.times: memoryview[float] = memoryview(self._map).cast("d")


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
            if identity_at(self._path) != file.identity:
                file = None
        if file is None:
            if not self.are_locks:
                raise NoLocksError("there are no locks for leases")
            try:
                file = _LockFile(*open_beside(self._path, os.O_RDWR | os.O_CREAT), self._database.path)
            except (OSError, ValueError) as exc:
                self._without_until = now + RETRY_S
                raise NoLocksError(f"the file of leases cannot be used: {exc}") from exc
            self._checked_at, self._without_until = now, -inf
        return file

    @property
    def _path(self) -> str:
        return self._database.beside("-leases")


def _digest(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=OFFSET_DIGITS // 2).digest())
