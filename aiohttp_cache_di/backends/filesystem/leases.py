"""Leases across processes: locks that the kernel releases with the process that holds them (`disk.leases`), or files.

On file systems without such locks, a lease is a file that is created exclusively and holds the time at which it ends.
"""

from __future__ import annotations

import errno
import os
import struct
import time
from contextlib import suppress
from typing import Final

from aiohttp_cache_di.backends.disk import byte_locks
from aiohttp_cache_di.backends.disk.byte_locks import NoLocksError
from aiohttp_cache_di.backends.disk.descriptors import NOT_A_LINK, Descriptor
from aiohttp_cache_di.backends.disk.leases import OFFSET_DIGITS, LockedLeases
from aiohttp_cache_di.backends.disk.owned import is_trusted_user
from aiohttp_cache_di.backends.filesystem.places.directory import Directory
from aiohttp_cache_di.backends.filesystem.places.tree import Tree
from aiohttp_cache_di.backends.filesystem.records.files import read_file, write_all, write_file
from aiohttp_cache_di.backends.forks import note_forks
from aiohttp_cache_di.errors import StorageError

__all__ = ["Leases"]

LOCK_FILE: Final = "leases"
_END: Final = struct.Struct(">d")
TRIES: Final = 2


class Leases:
    """The leases of one store, for its threads.

    Args:
        tree: the cache's directories.
    """

    def __init__(self, tree: Tree) -> None:
        self._files = _LeaseFiles(tree)
        self._kind: _Locks | _LeaseFiles = _Locks(tree) if byte_locks.ARE_THERE else self._files

    def acquire(self, name: str, ttl_s: float) -> bool:
        """Ask for the lease on the entry of that *name*.

        Raises:
            StorageError, OSError: the file system does not work.
        """
        try:
            return self._kind.acquire(name, ttl_s)
        except NoLocksError:  # the file system has none
            self._kind = self._files
            return self._kind.acquire(name, ttl_s)

    def renew(self, name: str, ttl_s: float) -> bool:
        """Extend a lease to *ttl_s* seconds from now; False if it is no longer held. Raises as `acquire` does."""
        return self._kind.renew(name, ttl_s)

    def release(self, name: str) -> None:
        """Release a lease, if it is held here."""
        self._kind.release(name)

    def close(self) -> None:
        """Release all leases."""
        self._kind.close()


class _LockFile(Descriptor):
    """The open file of locks; its times are POSIX times, since several machines may share it."""

    __slots__ = ()

    @property
    def times(self) -> _LockFile:
        return self

    def __getitem__(self, slot: int) -> float:
        data = os.pread(self.fd, _END.size, slot * _END.size)
        until: float = _END.unpack(data)[0] if len(data) == _END.size else 0.0
        return until

    def __setitem__(self, slot: int, until: float) -> None:
        os.pwrite(self.fd, _END.pack(until), slot * _END.size)


class _Locks(LockedLeases[_LockFile]):
    def __init__(self, tree: Tree) -> None:
        super().__init__()
        self._tree = tree

    def offset_of(self, key: str) -> int:
        return int(key[:OFFSET_DIGITS], 16)

    def now(self) -> float:
        return time.time()

    def opened(self, file: _LockFile | None) -> _LockFile:
        """The file, made if necessary; another user's is removed."""
        if file is not None and not file.is_deleted:
            return file
        root = self._tree.made_root()
        for _ in range(TRIES):
            with suppress(PermissionError):
                file = _LockFile(root.open(LOCK_FILE, os.O_RDWR | os.O_CREAT | NOT_A_LINK))
                if root.trusts(file.fd, os.fstat(file.fd)):
                    return file
            with suppress(FileNotFoundError):
                root.unlink(LOCK_FILE)
        raise PermissionError(errno.EACCES, f"{LOCK_FILE} is repeatedly made by another user")


class _LeaseFiles:
    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self.after_fork()
        note_forks(self)

    def acquire(self, name: str, ttl_s: float) -> bool:
        leaf, file = self._tree.made_leaf(name), f"{name}.lease"
        for _ in range(TRIES):
            until = time.time() + ttl_s
            with suppress(FileExistsError):
                write_file(leaf, file, [_END.pack(until)])
                self._held[name] = until
                return True
            if not _has_expired(leaf, file):
                break
            # Two processes that do this at once may both get the lease; then both fetch, and nothing worse happens.
            with suppress(FileNotFoundError):
                leaf.unlink(file)
        return False

    def renew(self, name: str, ttl_s: float) -> bool:
        leaf = self._tree.leaf(name)
        if leaf is None or not time.time() < self._held.get(name, 0):
            return False
        until = time.time() + ttl_s
        with suppress(FileNotFoundError):
            fd = leaf.open(f"{name}.lease", os.O_WRONLY | NOT_A_LINK)
            try:
                write_all(fd, _END.pack(until))
            finally:
                os.close(fd)
            self._held[name] = until
            return True
        return False

    def release(self, name: str) -> None:
        if time.time() < self._held.pop(name, 0):
            with suppress(OSError, StorageError):
                leaf = self._tree.leaf(name)
                if leaf is not None:
                    leaf.unlink(f"{name}.lease")

    def close(self) -> None:
        for name in list(self._held):
            self.release(name)

    def after_fork(self) -> None:
        self._held: dict[str, float] = {}  # POSIX times at which they end


def _has_expired(leaf: Directory, file: str) -> bool:
    try:
        data, status = read_file(leaf, file, range(_END.size, _END.size + 1))
    except (FileNotFoundError, PermissionError):
        return True
    if not data:  # another user's file, or one whose process has died or is just writing it
        return not is_trusted_user(status.st_uid) or time.time() - status.st_mtime > 1
    return not time.time() < _END.unpack(data)[0]
