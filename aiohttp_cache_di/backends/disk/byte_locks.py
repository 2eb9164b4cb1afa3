"""Locks on single bytes of a file; the kernel releases them with the last descriptor of the open file that holds them.

They belong to the *open file description* (hence ``OFD``), not to the process. So two stores in one process exclude
each other like two processes, a forked child shares the locks of its parent, and closing another descriptor of the same
file does not release them. The bytes need not exist. Nothing here waits for a lock; but a network file system asks its
server, so call all of this in a thread.
"""

from __future__ import annotations

import errno
import struct
import sys
import tempfile
from importlib import import_module
from typing import Any, Final

__all__ = ["ARE_THERE", "FCNTL", "NoLocksError", "is_free", "refusal", "release", "take"]


def _fcntl() -> Any:
    try:
        return import_module("fcntl")
    except ImportError:  # Windows has none
        return None


FCNTL: Final = _fcntl()
"""The module ``fcntl``; None if the platform has none."""

_IS_KNOWN: Final = sys.platform in ("linux", "darwin")  # the layout of struct flock is known
_SET: Final[int | None] = getattr(FCNTL, "F_OFD_SETLK", None) if _IS_KNOWN else None
_GET: Final[int | None] = getattr(FCNTL, "F_OFD_GETLK", None) if _IS_KNOWN else None

ARE_THERE: Final = _SET is not None
"""Whether the platform has such locks; a file system may lack them all the same."""

_IS_DARWIN: Final = sys.platform == "darwin"
_FLOCK: Final = struct.Struct("qqihh") if _IS_DARWIN else struct.Struct("hhqqi0q")  # struct flock of <fcntl.h>
_LOCK: Final[int] = getattr(FCNTL, "F_WRLCK", 0)
_UNLOCK: Final[int] = getattr(FCNTL, "F_UNLCK", 0)
_HELD: Final = frozenset({errno.EACCES, errno.EAGAIN})
_UNSUPPORTED: Final = frozenset({errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})


class NoLocksError(OSError):
    """The platform or the file system has no such locks."""


def take(fd: int, offset: int) -> bool:
    """Lock the byte at *offset*; False if another open file holds it. Locking it again is no error.

    Raises:
        NoLocksError: the platform or the file system has no such locks.
        OSError: the file system fails.
    """
    try:
        _fcntl_lock(fd, _SET, offset, _LOCK)
    except OSError as exc:
        if exc.errno in _HELD:
            return False
        raise
    return True


def release(fd: int, offset: int) -> None:
    """Unlock the byte at *offset*; it is no error if it is not locked."""
    _fcntl_lock(fd, _SET, offset, _UNLOCK)


def is_free(fd: int, offset: int) -> bool:
    """Whether no other open file holds the lock on the byte at *offset* now."""
    fields = _FLOCK.unpack(_fcntl_lock(fd, _GET, offset, _LOCK))
    return bool(fields[3 if _IS_DARWIN else 0] == _UNLOCK)


def refusal(directory: str) -> NoLocksError | None:
    """The error of a file system that has no locks for files in *directory*; None if it has some, or cannot be asked.

    A file of its own is tried: closing any descriptor of a file releases what SQLite has locked of it.
    """
    try:
        with tempfile.TemporaryFile(dir=directory) as probe:
            take(probe.fileno(), 0)
    except NoLocksError as exc:
        return exc if ARE_THERE else None
    except OSError:  # no file can be made there
        return None
    return None


def _fcntl_lock(fd: int, command: int | None, offset: int, kind: int) -> bytes:
    if command is None:
        raise NoLocksError(errno.ENOSYS, "the platform has no locks of open files")
    lock = _FLOCK.pack(offset, 1, 0, kind, 0) if _IS_DARWIN else _FLOCK.pack(kind, 0, offset, 1, 0)
    try:
        answer: bytes = FCNTL.fcntl(fd, command, lock)
    except OSError as exc:
        if exc.errno in _UNSUPPORTED:
            raise NoLocksError(exc.errno, exc.strerror) from exc
        raise
    return answer
