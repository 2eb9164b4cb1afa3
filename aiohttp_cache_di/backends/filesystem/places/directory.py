"""A directory that is open, and what is done to files in it; in a thread.

On POSIX it is a descriptor, and every name is looked up in the very directory that was opened and believed, wherever it
has been moved since, and whatever stands at its path by now. Windows has no such calls: there it is a path, a link is
looked for before a file is opened, and what another process holds open is waited for, since it cannot be replaced.
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
from aiohttp_cache_di.backends.disk.owned import is_ours_alone

__all__ = [
    "CREATE",
    "NOT_A_LINK",
    "READ",
    "Descriptor",
    "Directory",
    "lock_alone",
    "lock_shared",
    "read_at",
]

_BINARY: Final[int] = getattr(os, "O_BINARY", 0)  # of Windows, which else changes the ends of lines
NOT_A_LINK: Final[int] = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | _BINARY
# Without O_NONBLOCK, opening a pipe that stands in a file's place would wait for a writer.
READ: Final[int] = os.O_RDONLY | NOT_A_LINK | getattr(os, "O_NONBLOCK", 0)
CREATE: Final[int] = os.O_CREAT | os.O_EXCL | NOT_A_LINK
_DIRECTORY: Final[int] = os.O_RDONLY | NOT_A_LINK | getattr(os, "O_DIRECTORY", 0)
_MODE: Final = 0o700
_NEEDED: Final = {"open", "stat", "unlink", "rename", "mkdir", "link", "utime"}
# By their names: tools that look for blocking calls put functions of their own in the place of these.
_TAKING: Final = {function.__name__ for function in os.supports_dir_fd}
_HAS_DESCRIPTORS: Final = _TAKING >= _NEEDED and hasattr(os, "O_DIRECTORY") and hasattr(os, "O_NOFOLLOW")
_WAITS_S: Final = (0.001, 0.005, 0.02, 0.05)
"""For what another process holds open, where that keeps a file from being replaced or removed."""
_JUNCTION: Final = 0x400  # FILE_ATTRIBUTE_REPARSE_POINT: a link of Windows, to directories too
_seeking: Final = threading.Lock()


class Descriptor:
    """An open file or directory; closed with the last reference to it."""

    __slots__ = ("_close", "fd")

    def __init__(self, fd: int) -> None:
        self.fd: int = fd
        self._close = os.close  # the module may be gone when a program ends

    def __del__(self) -> None:
        with suppress(OSError):
            self._close(self.fd)

    @property
    def is_deleted(self) -> bool:
        """Whether it has been removed since it was opened."""
        return os.fstat(self.fd).st_nlink == 0


class Directory:
    """An open directory. What is said to raise OSError raises what the call of the system does.

    Args:
        name: its path, or its name in the directory *above*.
        above: the directory that it is in.

    Raises:
        OSError: it cannot be opened; it is a link, too.
    """

    __slots__ = ("_file", "_path", "fd", "status")

    def __init__(self, name: str, above: Directory | None = None) -> None:
        self._path: str = name if above is None else above._of(name)
        self._file: Descriptor | None = None
        self.fd: int | None = None
        """The descriptor; None where a directory is a path."""
        if _HAS_DESCRIPTORS:
            self.fd = os.open(self._path, _DIRECTORY, dir_fd=above.fd if above is not None else None)
            self._file = Descriptor(self.fd)
        self.status: os.stat_result = _status_of_no_link(self._path) if self.fd is None else os.fstat(self.fd)
        """What was told of it when it was opened."""
        if not stat.S_ISDIR(self.status.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, f"{self._path} is no directory")

    @property
    def frees_names(self) -> bool:
        """Whether a file in it that is open can be removed, and be given another name."""
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
        """Whether it is what stands at *path*. Raises OSError."""
        return os.path.samestat(os.stat(path, follow_symlinks=False), self.status)

    def make(self, name: str) -> None:
        """Make a directory of that *name*. Raises OSError."""
        os.mkdir(self._of(name), _MODE, dir_fd=self.fd)

    def open(self, name: str, flags: int, mode: int = 0o600) -> int:
        """Open the file of that *name*; no link is followed. Raises OSError."""
        if self.fd is None:
            name = self._of(name)
            if not flags & os.O_EXCL:
                with suppress(FileNotFoundError):
                    _status_of_no_link(name)
        return os.open(name, flags, mode, dir_fd=self.fd)

    def status_of(self, name: str) -> os.stat_result:
        """What is told of *name*, of a link itself. Raises OSError."""
        return os.stat(self._of(name), dir_fd=self.fd, follow_symlinks=False)

    def owns(self, fd: int, status: os.stat_result) -> bool:
        """Whether an open file in it, of that *status*, is believed; see `is_ours_alone`.

        Where a directory is a path, what is another user's is a matter of its access list.
        """
        return self.fd is None or is_ours_alone(fd, status, self.fd)

    def names(self) -> list[str]:
        """The names in it. Raises OSError."""
        if self.fd is None:
            return os.listdir(self._path)
        fd = os.open(".", _DIRECTORY, dir_fd=self.fd)  # of its own: a position belongs to whom it is open for
        try:
            return os.listdir(fd)
        finally:
            os.close(fd)

    def move(self, name: str, target: str, into: Directory | None = None) -> None:
        """Give *name* another name, there or in another directory, in the place of what has that. Raises OSError."""
        other = into or self
        names = self._of(name), other._of(target)
        self._patiently(lambda: os.replace(*names, src_dir_fd=self.fd, dst_dir_fd=other.fd))

    def link(self, name: str, target: str) -> None:
        """Give *name* a second name, which nothing has so far. Raises OSError."""
        names, follow = (self._of(name), self._of(target)), self.fd is None
        os.link(*names, src_dir_fd=self.fd, dst_dir_fd=self.fd, follow_symlinks=follow)

    def unlink(self, name: str) -> None:
        """Remove the file of that *name*. Raises OSError."""
        self._patiently(lambda: os.unlink(self._of(name), dir_fd=self.fd))

    def touch(self, name: str, fd: int | None = None, *, at: float | None = None) -> None:
        """Note *at* (None: now) as when *name*, which *fd* may be open for, changed last. Raises OSError."""
        times = None if at is None else (at, at)
        if self.fd is None:
            os.utime(self._of(name), times)
        elif fd is None:
            os.utime(name, times, dir_fd=self.fd, follow_symlinks=False)
        else:
            os.utime(fd, times)

    def sync(self) -> None:
        """Have the disk keep the names in it, where there is a call for that. Raises OSError."""
        if self.fd is not None:
            os.fsync(self.fd)

    def _of(self, name: str) -> str:
        return name if self.fd is not None else os.path.join(self._path, name)

    def _patiently(self, call: Callable[[], object]) -> None:
        for wait_s in _WAITS_S if self.fd is None else ():
            with suppress(PermissionError):
                call()
                return
            time.sleep(wait_s)
        call()


def lock_shared(fd: int) -> bool:
    """Lock an open file with others; False where another is alone with it, True where there are no locks."""
    return _lock(fd, "LOCK_SH")


def lock_alone(fd: int) -> bool:
    """Lock an open file alone; False where another has it locked, True where there are no locks."""
    return _lock(fd, "LOCK_EX")


def read_at(fd: int, size: int, at: int) -> bytes:
    """*size* bytes from the position *at* on; fewer at the end of the file. Raises OSError."""
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
    except OSError:  # there are no locks
        pass
    return True


def _status_of_no_link(path: str) -> os.stat_result:
    """What is told of *path*; a link is an error."""
    status = os.stat(path, follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode) or getattr(status, "st_file_attributes", 0) & _JUNCTION:
        raise OSError(errno.ELOOP, f"{path} is a link: it is not followed")
    return status
