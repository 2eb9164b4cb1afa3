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
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from typing import ClassVar, Final, TypeVar

from aiohttp_cache_di.backends.disk.byte_locks import FCNTL
from aiohttp_cache_di.backends.disk.owned import is_ours_alone

__all__ = [
    "CREATE",
    "NOT_A_LINK",
    "READ",
    "Descriptor",
    "Directory",
    "is_let_go",
    "lock_alone",
    "lock_shared",
    "opened_directory",
    "read_at",
]

T = TypeVar("T")

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


class Directory(ABC):
    """An open directory. What is said to raise OSError raises what the call of the system does."""

    __slots__ = ()

    frees_names: ClassVar[bool]
    """Whether a file that is open can be removed, and be given another name."""

    @property
    @abstractmethod
    def is_deleted(self) -> bool:
        """Whether the directory has been removed since it was opened."""

    @abstractmethod
    def is_at(self, path: str) -> bool:
        """Whether it is what stands at *path*. Raises OSError."""

    @abstractmethod
    def child(self, name: str) -> Directory:
        """Open the directory of that *name*; no link is followed. Raises OSError."""

    @abstractmethod
    def make(self, name: str) -> None:
        """Make a directory of that *name*. Raises OSError."""

    @abstractmethod
    def open(self, name: str, flags: int, mode: int = 0o600) -> int:
        """Open the file of that *name*; no link is followed. Raises OSError."""

    @abstractmethod
    def status(self, name: str) -> os.stat_result:
        """What is told of *name*, of a link itself. Raises OSError."""

    @abstractmethod
    def owns(self, fd: int, status: os.stat_result) -> bool:
        """Whether an open file in it, of that *status*, is believed; see `is_ours_alone`."""

    @abstractmethod
    def names(self) -> list[str]:
        """The names in it. Raises OSError."""

    @abstractmethod
    def move(self, name: str, target: str, into: Directory | None = None) -> None:
        """Give *name* another name, there or in another directory, in the place of what has that. Raises OSError."""

    @abstractmethod
    def link(self, name: str, target: str, into: Directory | None = None) -> None:
        """Give *name* a second name, which nothing has so far. Raises OSError."""

    @abstractmethod
    def unlink(self, name: str) -> None:
        """Remove the file of that *name*. Raises OSError."""

    @abstractmethod
    def touch(self, name: str, fd: int | None = None) -> None:
        """Note the time as that of the last change of *name*, which *fd* may be open for. Raises OSError."""

    @abstractmethod
    def sync(self) -> None:
        """Have the disk keep the names in it. Raises OSError."""


class _ByDescriptor(Descriptor, Directory):
    """A directory as a descriptor."""

    __slots__ = ()

    frees_names = True

    def is_at(self, path: str) -> bool:
        return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(self.fd))

    def child(self, name: str) -> Directory:
        return _ByDescriptor(os.open(name, _DIRECTORY, dir_fd=self.fd))

    def make(self, name: str) -> None:
        os.mkdir(name, _MODE, dir_fd=self.fd)

    def open(self, name: str, flags: int, mode: int = 0o600) -> int:
        return os.open(name, flags, mode, dir_fd=self.fd)

    def status(self, name: str) -> os.stat_result:
        return os.stat(name, dir_fd=self.fd, follow_symlinks=False)

    def owns(self, fd: int, status: os.stat_result) -> bool:
        return is_ours_alone(fd, status, self.fd)

    def names(self) -> list[str]:
        fd = os.open(".", _DIRECTORY, dir_fd=self.fd)  # of its own: a position belongs to whom it is open for
        try:
            return os.listdir(fd)
        finally:
            os.close(fd)

    def move(self, name: str, target: str, into: Directory | None = None) -> None:
        os.replace(name, target, src_dir_fd=self.fd, dst_dir_fd=self._other(into))

    def link(self, name: str, target: str, into: Directory | None = None) -> None:
        os.link(name, target, src_dir_fd=self.fd, dst_dir_fd=self._other(into), follow_symlinks=False)

    def unlink(self, name: str) -> None:
        os.unlink(name, dir_fd=self.fd)

    def touch(self, name: str, fd: int | None = None) -> None:
        if fd is not None:
            os.utime(fd)
        else:
            os.utime(name, dir_fd=self.fd, follow_symlinks=False)

    def sync(self) -> None:
        os.fsync(self.fd)

    def _other(self, directory: Directory | None) -> int:
        return directory.fd if isinstance(directory, _ByDescriptor) else self.fd


class _ByPath(Directory):
    """A directory as a path, which has to be one and no link."""

    __slots__ = ("_opened", "_path")

    frees_names = False

    def __init__(self, path: str) -> None:
        self._path = path
        self._opened = _status(path)
        if not stat.S_ISDIR(self._opened.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, f"{path} is no directory")

    @property
    def is_deleted(self) -> bool:
        try:
            return not self.is_at(self._path)
        except OSError:
            return True

    def is_at(self, path: str) -> bool:
        return os.path.samestat(os.stat(path, follow_symlinks=False), self._opened)

    def child(self, name: str) -> Directory:
        return _ByPath(self._of(name))

    def make(self, name: str) -> None:
        os.mkdir(self._of(name), _MODE)

    def open(self, name: str, flags: int, mode: int = 0o600) -> int:
        path = self._of(name)
        if not flags & os.O_EXCL:
            with suppress(FileNotFoundError):
                _status(path)
        return os.open(path, flags, mode)

    def status(self, name: str) -> os.stat_result:
        return os.stat(self._of(name), follow_symlinks=False)

    def owns(self, fd: int, status: os.stat_result) -> bool:
        return True  # what is another user's is a matter of the directory's access list

    def names(self) -> list[str]:
        return os.listdir(self._path)

    def move(self, name: str, target: str, into: Directory | None = None) -> None:
        _patiently(lambda: os.replace(self._of(name), self._in(into, target)))

    def link(self, name: str, target: str, into: Directory | None = None) -> None:
        os.link(self._of(name), self._in(into, target))

    def unlink(self, name: str) -> None:
        _patiently(lambda: os.unlink(self._of(name)))

    def touch(self, name: str, fd: int | None = None) -> None:
        os.utime(self._of(name))

    def sync(self) -> None:
        """There is no such call: what was written to the files is all that can be seen to."""

    def _of(self, name: str) -> str:
        return os.path.join(self._path, name)

    def _in(self, directory: Directory | None, name: str) -> str:
        return directory._of(name) if isinstance(directory, _ByPath) else self._of(name)


def opened_directory(path: str) -> Directory:
    """The directory at *path*, open. Raises OSError; where *path* is a link, too."""
    return _ByDescriptor(os.open(path, _DIRECTORY)) if _HAS_DESCRIPTORS else _ByPath(path)


def lock_shared(fd: int) -> bool:
    """Lock an open file with others; False where another is alone with it, True where there are no locks."""
    return FCNTL is None or _lock(fd, FCNTL.LOCK_SH) is not False


def lock_alone(fd: int) -> bool:
    """Lock an open file alone; False where another has it locked, True where there are no locks."""
    return FCNTL is None or _lock(fd, FCNTL.LOCK_EX) is not False


def is_let_go(fd: int) -> bool:
    """Whether an open file has no lock, which it would have if it were used; False, too, where there are no locks."""
    return FCNTL is not None and _lock(fd, FCNTL.LOCK_EX) is True


def read_at(fd: int, size: int, at: int) -> bytes:
    """*size* bytes from the position *at* on; fewer at the end of the file. Raises OSError."""
    if not hasattr(os, "pread"):
        with _seeking:
            os.lseek(fd, at, os.SEEK_SET)
            return _read(lambda size, _: os.read(fd, size), size, at)
    return _read(lambda size, at: os.pread(fd, size, at), size, at)


def _read(read: Callable[[int, int], bytes], size: int, at: int) -> bytes:
    data = read(size, at)
    while len(data) < size and (more := read(size - len(data), at + len(data))):
        data += more
    return data


def _lock(fd: int, kind: int) -> bool | None:
    """Whether it is locked now; None where there are no locks."""
    try:
        FCNTL.flock(fd, kind | FCNTL.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _status(path: str) -> os.stat_result:
    """What is told of *path*; a link is an error."""
    status = os.stat(path, follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode) or getattr(status, "st_file_attributes", 0) & _JUNCTION:
        raise OSError(errno.ELOOP, f"{path} is a link: it is not followed")
    return status


def _patiently(call: Callable[[], T]) -> T:
    for wait_s in _WAITS_S:
        with suppress(PermissionError):
            return call()
        time.sleep(wait_s)
    return call()
