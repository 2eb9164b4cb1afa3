"""Leases across processes: locks that the kernel drops with the process that holds them, else files.

A lock is on one byte of a file that is never read, at an offset from the key's digest. It belongs to the open file, not
to the process, so that two stores of one process are as much apart as two processes. Nothing expires: it is given back,
or its process ends. Where the file system has no such locks, a file that is created exclusively is the lease; it bears
the time at which it ends.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
import threading
import time
from contextlib import suppress
from typing import Final

from aiohttp_cache_di.backends.filesystem.directory import CREATE, FCNTL, NOT_A_LINK, READ, Descriptor, Directory
from aiohttp_cache_di.backends.filesystem.names import leaf_of, name_of
from aiohttp_cache_di.backends.filesystem.tree import Tree

__all__ = ["Leases"]

LOCK_FILE: Final = "leases"
_FLOCK: Final = struct.Struct("qqihh") if sys.platform == "darwin" else struct.Struct("hhqqi0q")
_SET_LOCK: Final[int | None] = getattr(FCNTL, "F_OFD_SETLK", None) if sys.platform in ("linux", "darwin") else None
_HELD: Final = frozenset({errno.EACCES, errno.EAGAIN})
_END: Final = struct.Struct(">d")


class Leases:
    """The leases of one store, for its threads.

    Args:
        tree: where the files are.
        use_locks: by locks, where there are any.
    """

    def __init__(self, tree: Tree, *, use_locks: bool = True) -> None:
        self._tree = tree
        self._use_locks = use_locks and _SET_LOCK is not None
        self._held: dict[str, float] = {}
        self._file: Descriptor | None = None
        self._guard = threading.Lock()

    def acquire(self, key: str, ttl_s: float) -> bool:
        """Ask for the lease on *key*.

        Raises:
            StorageError, OSError: the file system does not work.
        """
        name = name_of(key)
        with self._guard:
            ends_at = self._held.get(name)
            if ends_at is not None and time.monotonic() < ends_at:
                return False
            is_still_had = ends_at is not None and self._use_locks
            if not is_still_had and not self._take(name, ttl_s):
                self._held.pop(name, None)
                return False
            self._held[name] = time.monotonic() + ttl_s
            return True

    def release(self, key: str) -> None:
        """Give the lease on *key* back, if it is held here."""
        name = name_of(key)
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
            self._file = None  # and with it, all locks

    def forget(self) -> None:
        """Be without any: they are a parent process's, which has the same open file."""
        self._guard = threading.Lock()
        self._held = {}
        self._file = None

    def _take(self, name: str, ttl_s: float) -> bool:
        if self._use_locks:
            try:
                return self._lock(name, FCNTL.F_WRLCK)
            except OSError as exc:
                if exc.errno in _HELD:
                    return False
                if exc.errno not in (errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP):
                    raise
                self._use_locks = False  # the file system has none
        return self._create(name, ttl_s)

    def _give_back(self, name: str) -> None:
        with suppress(OSError):
            if self._use_locks:
                self._lock(name, FCNTL.F_UNLCK)
            else:
                leaf = self._tree.leaf(leaf_of(name))
                if leaf is not None:
                    leaf.unlink(f"{name}.lease")

    # ---- locks

    def _lock(self, name: str, kind: int) -> bool:
        file = self._lock_file()
        start, length = int(name[:15], 16), 1
        lock = (start, length, 0, kind, 0) if sys.platform == "darwin" else (kind, 0, start, length, 0)
        FCNTL.fcntl(file.fd, _SET_LOCK or 0, _FLOCK.pack(*lock))
        return True

    def _lock_file(self) -> Descriptor:
        if self._file is None or (self._file.is_deleted and not self._held):
            root = self._tree.made_root()
            self._file = _opened(root) or _opened(root)
            if self._file is None:
                raise PermissionError(errno.EACCES, f"{LOCK_FILE} is another user's, again and again")
        return self._file

    # ---- files

    def _create(self, name: str, ttl_s: float) -> bool:
        leaf = self._tree.made_leaf(leaf_of(name))
        for _ in range(2):
            with suppress(FileExistsError):
                fd = leaf.open(f"{name}.lease", CREATE | os.O_WRONLY)
                try:
                    os.write(fd, _END.pack(time.time() + ttl_s))
                finally:
                    os.close(fd)
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


def _opened(root: Directory) -> Descriptor | None:
    """The file of locks, open, made if need be; another user's is removed, and None is returned."""
    with suppress(PermissionError):
        file = Descriptor(root.open(LOCK_FILE, os.O_RDWR | os.O_CREAT | NOT_A_LINK))
        if root.owns(file.fd, os.fstat(file.fd)):
            return file
    with suppress(FileNotFoundError):
        root.unlink(LOCK_FILE)
    return None
