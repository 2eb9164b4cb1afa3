"""An open directory and the operations on files in it; for threads.

On POSIX it is a descriptor: every name is looked up in the very directory that was opened and checked, even if it has
been moved since or something else is at its path. Windows has no such calls: there it is a path, and links are looked
for before a file is opened. A file that another process has open cannot be replaced there, so the call is repeated a
few times.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from aiohttp_cache_di.backends.disk.byte_locks import FCNTL
from aiohttp_cache_di.backends.disk.descriptors import NO_WAIT, NOT_A_LINK, Descriptor
from aiohttp_cache_di.backends.disk.owned import is_trusted_file

__all__ = [
    "CREATE",
    "READ",
    "Directory",
    "lock_alone",
    "lock_shared",
    "read_at",
]

READ: Final[int] = os.O_RDONLY | NOT_A_LINK | NO_WAIT
CREATE: Final[int] = os.O_CREAT | os.O_EXCL | NOT_A_LINK
_DIRECTORY: Final[int] = os.O_RDONLY | NOT_A_LINK | getattr(os, "O_DIRECTORY", 0)
_MODE: Final = 0o700
_NEEDED: Final = {"open", "stat", "unlink", "rename", "mkdir", "link", "utime"}
# Compared by name: tools that look for blocking calls replace these functions by their own.
_TAKING: Final = {function.__name__ for function in os.supports_dir_fd}
_HAS_DESCRIPTORS: Final = _TAKING >= _NEEDED and hasattr(os, "O_DIRECTORY") and hasattr(os, "O_NOFOLLOW")
_WAITS_S: Final = (0.001, 0.005, 0.02, 0.05)
"""Pauses between tries to replace or remove a file that another process has open, on Windows."""
_JUNCTION: Final = 0x400  # FILE_ATTRIBUTE_REPARSE_POINT: a link of Windows, to directories too
_seeking: Final = threading.Lock()


class Directory:
    """An open directory. Methods that are said to raise OSError pass on that of the system call.

    Args:
        name: its path, or its name in the directory *above*.
        above: its parent directory.

    Raises:
        OSError: it cannot be opened, or is a link.
    """

    __slots__ = ("_file", "_path", "fd", "status")

    def __init__(self, name: str, above: Directory | None = None) -> None:
        self._path: str = name if above is None else above._name_for(name)
        self._file: Descriptor | None = None
        self.fd: int | None = None
        """The descriptor; None on platforms where a directory is a path."""
        if _HAS_DESCRIPTORS:
            self.fd = os.open(self._path, _DIRECTORY, dir_fd=above.fd if above is not None else None)
            self._file = Descriptor(self.fd)
        self.status: os.stat_result = _status_of_no_link(self._path) if self.fd is None else os.fstat(self.fd)
        """Its status when it was opened."""
        if not stat.S_ISDIR(self.status.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, f"{self._path} is not a directory")

    @property
    def frees_names(self) -> bool:
        """Whether open files in it can be removed and renamed."""
        return self.fd is not None

    @property
    def is_deleted(self) -> bool:
        """Whether the directory has been removed since it was opened."""
        if self._file is not None:
            return self._file.is_deleted
        try:
            return not self.is_at(self._path)
        except OSError:
            return True

    def is_at(self, path: str) -> bool:
        """Whether this directory is the one at *path*. Raises OSError."""
        return os.path.samestat(os.stat(path, follow_symlinks=False), self.status)

    def make(self, name: str) -> None:
        """Make the directory *name*. Raises OSError."""
        os.mkdir(self._name_for(name), _MODE, dir_fd=self.fd)

    def open(self, name: str, flags: int, mode: int = 0o600) -> int:
        """Open the file *name*, without following a link. Raises OSError."""
        if self.fd is None:
            name = self._name_for(name)
            if not flags & os.O_EXCL:
                with suppress(FileNotFoundError):
                    _status_of_no_link(name)
        return os.open(name, flags, mode, dir_fd=self.fd)

    def status_of(self, name: str) -> os.stat_result:
        """The status of *name*, or of the link itself if it is one. Raises OSError."""
        return os.stat(self._name_for(name), dir_fd=self.fd, follow_symlinks=False)

    def trusts(self, fd: int, status: os.stat_result) -> bool:
        """Whether an open file in it, with that *status*, is trusted; see `is_trusted_file`.

        Always True where a directory is a path: there the directory's access list decides.
        """
        return self.fd is None or is_trusted_file(fd, status, self.fd)

    def names(self) -> list[str]:
        """The names in it. Raises OSError."""
        if self.fd is None:
            return os.listdir(self._path)
        fd = os.open(".", _DIRECTORY, dir_fd=self.fd)  # another descriptor, since threads would share a read position
        try:
            return os.listdir(fd)
        finally:
            os.close(fd)

    def move(self, name: str, target: str, into: Directory | None = None) -> None:
        """Rename *name* to *target*, here or in the directory *into*, replacing a file there. Raises OSError."""
        other = into or self
        names = self._name_for(name), other._name_for(target)
        self._with_retries(lambda: os.replace(*names, src_dir_fd=self.fd, dst_dir_fd=other.fd))

    def link(self, name: str, target: str) -> None:
        """Make *target* a hard link to *name*; an existing *target* is an error. Raises OSError."""
        names, follow = (self._name_for(name), self._name_for(target)), self.fd is None
        os.link(*names, src_dir_fd=self.fd, dst_dir_fd=self.fd, follow_symlinks=follow)

    def unlink(self, name: str) -> None:
        """Remove the file *name*. Raises OSError."""
        self._with_retries(lambda: os.unlink(self._name_for(name), dir_fd=self.fd))

    def touch(self, name: str, fd: int | None = None, *, at: float | None = None) -> None:
        """Set the access and modification times of *name*. Raises OSError.

        Args:
            fd: the file, if it is open.
            at: POSIX time; None for now.
        """
        times = None if at is None else (at, at)
        if self.fd is None:
            os.utime(self._name_for(name), times)
        elif fd is None:
            os.utime(name, times, dir_fd=self.fd, follow_symlinks=False)
        else:
            os.utime(fd, times)

    def sync(self) -> None:
        """Call fsync for the directory, so that the names in it are on the disk; POSIX only. Raises OSError."""
        if self.fd is not None:
            os.fsync(self.fd)

    def _name_for(self, name: str) -> str:
        return name if self.fd is not None else os.path.join(self._path, name)

    def _with_retries(self, call: Callable[[], object]) -> None:
        for wait_s in _WAITS_S if self.fd is None else ():
            with suppress(PermissionError):
                call()
                return
            time.sleep(wait_s)
        call()


def lock_shared(fd: int) -> bool:
    """Take a shared lock on an open file; False if it is locked exclusively, True where there are no locks."""
    return _lock(fd, "LOCK_SH")


def lock_alone(fd: int) -> bool:
    """Take an exclusive lock on an open file; False if it is locked, True where there are no locks."""
    return _lock(fd, "LOCK_EX")


def read_at(fd: int, size: int, at: int) -> bytes:
    """Read *size* bytes from position *at*; fewer at the end of the file. Raises OSError."""
    data = _pread(fd, size, at)
    while len(data) < size and (more := _pread(fd, size - len(data), at + len(data))):
        data += more
    return data


def _seek_and_read(fd: int, size: int, at: int) -> bytes:
    with _seeking:
        os.lseek(fd, at, os.SEEK_SET)
        return os.read(fd, size)


_pread: Final[Callable[[int, int, int], bytes]] = getattr(os, "pread", _seek_and_read)  # Windows has none


def _lock(fd: int, kind: str) -> bool:
    try:
        if FCNTL is not None:
            FCNTL.flock(fd, getattr(FCNTL, kind) | FCNTL.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # the file system has no locks
        pass
    return True


def _status_of_no_link(path: str) -> os.stat_result:
    """The status of *path*; a link is an error."""
    status = os.stat(path, follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode) or getattr(status, "st_file_attributes", 0) & _JUNCTION:
        raise OSError(errno.ELOOP, f"{path} is a link: it is not followed")
    return status
