"""Leases across processes: locks that the kernel drops with the process that holds them, else files.

A lock is on one byte of a file, at an offset from the key's digest. It belongs to the open file, not to the process, so
that two stores of one process are as much apart as two processes. It is given back, or its process ends. Of a process
that stands still no lock tells: so the file has times, until which the leases at an offset are vouched for. Who finds a
byte locked for longer than that asks for the next one of the same lease. Where the file system has no such locks, a
file that is created exclusively is the lease; it bears the time at which it ends.
"""

from __future__ import annotations

import errno
import os
import struct
import threading
import time
from contextlib import suppress
from typing import Final

from aiohttp_cache_di.backends.disk import byte_locks, vouched
from aiohttp_cache_di.backends.disk.byte_locks import NoLocksError
from aiohttp_cache_di.backends.filesystem.places.directory import NOT_A_LINK, READ, Descriptor, Directory
from aiohttp_cache_di.backends.filesystem.places.tree import Tree
from aiohttp_cache_di.backends.filesystem.records.files import write_file
from aiohttp_cache_di.errors import StorageError

__all__ = ["Leases"]

LOCK_FILE: Final = "leases"
_END: Final = struct.Struct(">d")
OFFSET_BITS: Final = 60
TRIES: Final = 2


class _Times:
    """The times in the file of locks, by the clock that machines share."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __getitem__(self, slot: int) -> float:
        data = os.pread(self._fd, _END.size, slot * _END.size)
        until: float = _END.unpack(data)[0] if len(data) == _END.size else 0.0
        return until

    def __setitem__(self, slot: int, until: float) -> None:
        os.pwrite(self._fd, _END.pack(until), slot * _END.size)


class Leases:
    """The leases of one store, for its threads.

    Args:
        tree: where the files are.
        use_locks: by locks, where there are any.
    """

    def __init__(self, tree: Tree, *, use_locks: bool = True) -> None:
        self._tree = tree
        self._use_locks = use_locks and byte_locks.ARE_THERE
        self._held: dict[str, float] = {}
        self._bytes: dict[str, int] = {}  # that are locked
        self._file: Descriptor | None = None
        self._guard = threading.Lock()

    def acquire(self, name: str, ttl_s: float) -> bool:
        """Ask for the lease on the entry of that *name*.

        Raises:
            StorageError, OSError: the file system does not work.
        """
        with self._guard:
            ends_at = self._held.get(name)
            if ends_at is not None and time.monotonic() < ends_at:
                return False
            is_still_had = ends_at is not None and self._use_locks
            if not is_still_had and not self._take(name, ttl_s):
                self._held.pop(name, None)
                return False
            if is_still_had:
                self._vouch(name, ttl_s)
            self._held[name] = time.monotonic() + ttl_s
            return True

    def renew(self, name: str, ttl_s: float) -> bool:
        """Hold a lease for *ttl_s* from now on; False where it is held no more. Raises as `acquire` does."""
        with self._guard:
            ends_at = self._held.get(name)
            if ends_at is None or not (self._use_locks or time.monotonic() < ends_at):
                return False
            if self._use_locks:
                self._vouch(name, ttl_s)
            elif not self._prolong(name, ttl_s):
                return False
            self._held[name] = time.monotonic() + ttl_s
            return True

    def release(self, name: str) -> None:
        """Give a lease back, if it is held here."""
        if name not in self._held:
            return
        with self._guard:
            ends_at = self._held.pop(name, None)
            if ends_at is not None and (self._use_locks or time.monotonic() < ends_at):
                self._give_back(name)

    def close(self) -> None:
        """Give all leases back."""
        with self._guard:
            if not self._use_locks:
                for name in self._held:
                    self._give_back(name)
            self._held.clear()
            self._bytes.clear()
            self._file = None  # and with it, all locks

    def forget(self) -> None:
        """Be without any: they are a parent process's, which has the same open file."""
        self._guard = threading.Lock()
        self._held, self._bytes = {}, {}
        self._file = None

    def _take(self, name: str, ttl_s: float) -> bool:
        if self._use_locks:
            try:
                return self._lock(name, ttl_s)
            except NoLocksError:  # of the file system
                self._use_locks = False
        return self._create(name, ttl_s)

    def _give_back(self, name: str) -> None:
        with suppress(OSError, StorageError):
            if self._use_locks:
                if self._file is not None:
                    byte_locks.give_back(self._file.fd, self._bytes.pop(name, _offset(name)))
            else:
                leaf = self._tree.leaf(name)
                if leaf is not None:
                    leaf.unlink(f"{name}.lease")

    # ---- locks

    def _lock(self, name: str, ttl_s: float) -> bool:
        if self._file is None or (not self._held and self._file.is_deleted):
            self._file = _opened(self._tree.made_root())
        fd = self._file.fd
        byte = vouched.take(fd, _offset(name), OFFSET_BITS, _Times(fd), time.time())
        if byte is None:
            return False
        self._bytes[name] = byte
        self._vouch(name, ttl_s)
        return True

    def _vouch(self, name: str, ttl_s: float) -> None:
        if self._file is not None:
            now = time.time()
            vouched.vouch(_Times(self._file.fd), _offset(name), now + ttl_s, now)

    # ---- files

    def _prolong(self, name: str, ttl_s: float) -> bool:
        leaf = self._tree.leaf(name)
        with suppress(FileNotFoundError):
            if leaf is not None:
                fd = leaf.open(f"{name}.lease", os.O_WRONLY | NOT_A_LINK)
                try:
                    os.write(fd, _END.pack(time.time() + ttl_s))
                finally:
                    os.close(fd)
                return True
        return False

    def _create(self, name: str, ttl_s: float) -> bool:
        leaf = self._tree.made_leaf(name)
        for _ in range(TRIES):
            with suppress(FileExistsError):
                write_file(leaf, f"{name}.lease", [_END.pack(time.time() + ttl_s)])
                return True
            if not self._is_over(leaf, name):
                return False
            # Of two processes that find it so, both may get the lease: then both fetch, which is all that it costs.
            with suppress(FileNotFoundError):
                leaf.unlink(f"{name}.lease")
        return False

    def _is_over(self, leaf: Directory, name: str) -> bool:
        try:
            fd = leaf.open(f"{name}.lease", READ)
        except (FileNotFoundError, PermissionError):
            return True
        try:
            status = os.fstat(fd)
            if not leaf.owns(fd, status):
                return True
            data = os.read(fd, _END.size)
        finally:
            os.close(fd)
        if len(data) < _END.size:
            return time.time() - status.st_mtime > 1  # its process has died, or is about to write it
        (ends_at,) = _END.unpack(data)
        return not time.time() < ends_at


def _offset(name: str) -> int:
    return int(name[:15], 16)


def _opened(root: Directory) -> Descriptor:
    """The file of locks, open, made if need be; another user's is removed."""
    for _ in range(TRIES):
        with suppress(PermissionError):
            file = Descriptor(root.open(LOCK_FILE, os.O_RDWR | os.O_CREAT | NOT_A_LINK))
            if root.owns(file.fd, os.fstat(file.fd)):
                return file
        with suppress(FileNotFoundError):
            root.unlink(LOCK_FILE)
    raise PermissionError(errno.EACCES, f"{LOCK_FILE} is another user's, again and again")
