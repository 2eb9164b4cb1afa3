"""Leases by locks on bytes of a file beside the database: what costs nothing, and ends with its process.

A lease is a lock on one byte, at an offset from the digest of its table and key; two keys that share one would wait for
each other, and be answered right. The kernel frees what a dead process held. What a process holds that does not end,
but stands still, no lock tells: so the file has times besides, mapped into memory, until which the leases at an offset
are vouched for. Who finds a byte locked for longer than that asks for the next one of the same lease, its *heir's*.

The table of leases (`writing.statements`) serves where there are no such locks: on another platform, on a file system
without, for a database in memory. Processes of the one kind and of the other do not see each other's leases: both fetch
then.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import stat
import threading
import time
from dataclasses import dataclass
from hashlib import blake2b
from math import inf
from typing import Final

from aiohttp_cache_di.backends.disk import byte_locks, vouched
from aiohttp_cache_di.backends.disk.byte_locks import NoLocksError
from aiohttp_cache_di.backends.disk.owned import OTHERS, is_believed
from aiohttp_cache_di.backends.sqlite.file.files import CacheFile
from aiohttp_cache_di.backends.sqlite.file.schema import HEX_DIGITS
from aiohttp_cache_di.backends.sqlite.shared.counters import NOT_A_LINK, resemble

__all__ = ["Leases"]

SIZE_BYTES: Final = 8 * vouched.SLOTS
OFFSET_DIGITS: Final = 14  # of a key that is a digest
RANK_BIT: Final = 4 * OFFSET_DIGITS
CHECK_S: Final = 1.0  # between two looks whether the file is still the one that others find
RETRY_S: Final = 10.0  # after which a file that could not be opened is tried again


class _LockFile:
    """The open file; it is closed, and its locks are dropped, when it is not referred to any more."""

    def __init__(self, descriptor: int, identity: tuple[int, int]) -> None:
        self.descriptor = descriptor
        self.identity = identity
        self._map = mmap.mmap(descriptor, SIZE_BYTES)
        self.ends = memoryview(self._map).cast("d")

    def __del__(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self.descriptor)


@dataclass(slots=True)
class _HeldLease:
    file: _LockFile
    byte: int
    until: float  # by `time.monotonic`


class Leases:
    """The leases of one store, for the threads of its connections.

    Args:
        file: of the database.
        table_name: its keys are apart from those of other tables.
    """

    def __init__(self, file: CacheFile, table_name: str) -> None:
        self._database = file
        self._salt = _digest(table_name)
        self._held: dict[int, _HeldLease] = {}
        self._guard = threading.Lock()
        self._file: _LockFile | None = None
        self._checked_at = -inf
        self._without_until = -inf if byte_locks.ARE_THERE and not file.is_memory else inf

    @property
    def are_locks(self) -> bool:
        """Whether there are locks, as far as is known; else the table serves."""
        return self._without_until == -inf or time.monotonic() > self._without_until

    def acquire(self, key: str, ttl_s: float) -> bool:
        """Ask for the lease on *key*, vouched for by its holder for *ttl_s* seconds.

        Raises:
            NoLocksError: there are none; the table serves.
            OSError: the file system does not work.
        """
        offset, now = self._offset(key), time.monotonic()
        with self._guard:
            held = self._held.get(offset)
            if held is not None:
                if now < held.until:
                    return False
                held.until = now + ttl_s
            else:
                held = self._taken(offset, now, ttl_s)
                if held is None:
                    return False
                self._held[offset] = held
            vouched.vouch(held.file.ends, offset, held.until, now)
            return True

    def renew(self, key: str, ttl_s: float) -> bool:
        """Vouch for the lease on *key* for *ttl_s* seconds from now, if it is held here; never waits."""
        offset, now = self._offset(key), time.monotonic()
        held = self._held.get(offset)
        if held is None:
            return False
        held.until = now + ttl_s
        vouched.vouch(held.file.ends, offset, held.until, now)
        return True

    def release(self, key: str) -> bool:
        """Give the lease on *key* back; tell whether it was held here."""
        offset = self._offset(key)
        if offset not in self._held:
            return False
        with self._guard:
            held = self._held.pop(offset, None)
            if held is not None:
                with contextlib.suppress(OSError):
                    byte_locks.give_back(held.file.descriptor, held.byte)
        return held is not None

    def may_be_had(self, key: str) -> bool:
        """Whether it is worth asking for the lease on *key* again."""
        offset, now = self._offset(key), time.monotonic()
        with self._guard:
            held, file = self._held.get(offset), self._file
            if held is not None:
                return now >= held.until
            if file is None:
                return True
            try:
                return byte_locks.is_free(file.descriptor, offset) or vouched.is_overdue(file.ends, offset, now)
            except OSError:
                return True

    @property
    def are_open(self) -> bool:
        """Whether the file is open, and may have leases."""
        return self._file is not None

    def close(self) -> None:
        """Give all back."""
        with self._guard:
            self._held.clear()
            self._file = None

    def after_fork(self) -> None:
        """Be without any in a forked child: they are its parent's, which has the same open file."""
        self._guard = threading.Lock()  # a thread of the parent's may have had the other one
        self._held = {}
        self._file = None

    # ---- within the guard

    def _offset(self, key: str) -> int:
        if len(key) == HEX_DIGITS:
            try:
                return int(key[:OFFSET_DIGITS], 16) ^ self._salt
            except ValueError:
                pass
        return _digest(key) ^ self._salt

    def _taken(self, offset: int, now: float, ttl_s: float) -> _HeldLease | None:
        file = self._opened(now)
        try:
            byte = vouched.take(file.descriptor, offset, RANK_BIT, file.ends, now)
        except NoLocksError:
            self._without_until = inf
            self._file = None
            raise
        return None if byte is None else _HeldLease(file, byte, now + ttl_s)

    def _opened(self, now: float) -> _LockFile:
        file = self._file
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
            self._file, self._checked_at, self._without_until = file, now, -inf
        return file

    @property
    def _path(self) -> str:
        return f"{os.path.realpath(self._database.path)}-leases"  # of a link, where SQLite has its log too


def _digest(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=OFFSET_DIGITS // 2).digest())


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path, follow_symlinks=False)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _open(path: str, like: str) -> _LockFile:
    """Open the file at *path*, made if need be, with owner and mode of the file *like*.

    Raises:
        OSError: it cannot be opened to write.
        ValueError: it is no file, or another user's.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | NOT_A_LINK | getattr(os, "O_NONBLOCK", 0), 0o600)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or not is_believed(status.st_uid):
            raise ValueError("it is no file, or another user's")
        if status.st_size < SIZE_BYTES:
            # Written to its end: of a page that has no place on the disk, a mapped file would find out too late.
            os.write(descriptor, bytes(SIZE_BYTES))
            resemble(descriptor, like)
        elif status.st_mode & OTHERS and hasattr(os, "fchmod"):
            with contextlib.suppress(OSError):  # of a file system that knows no modes
                os.fchmod(descriptor, stat.S_IMODE(status.st_mode) & ~OTHERS)
        return _LockFile(descriptor, (status.st_dev, status.st_ino))
    except BaseException:
        os.close(descriptor)
        raise
