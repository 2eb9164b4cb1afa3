"""Locks on single bytes of a file, which the kernel drops with the last descriptor of the open file that has them.

They belong to the *open file* (an open file description, hence ``OFD``), not to the process: two stores of one process
are as much apart as two processes, a forked child has what its parent has, and no other descriptor of the same file
drops them when it is closed. The bytes need not exist. Nothing here waits for a lock; but a network file system asks
its server, so that all of it belongs into a thread.
"""

from __future__ import annotations

import errno
import struct
import sys
from importlib import import_module
from typing import Any, Final

__all__ = ["ARE_THERE", "FCNTL", "NoLocksError", "give_back", "is_free", "take"]


def _fcntl() -> Any:
    try:
        return import_module("fcntl")
    except ImportError:  # Windows has none
        return None


FCNTL: Final = _fcntl()
"""The module ``fcntl``; None where the platform has none."""

_IS_KNOWN: Final = sys.platform in ("linux", "darwin")  # how a lock is packed there
_SET: Final[int | None] = getattr(FCNTL, "F_OFD_SETLK", None) if _IS_KNOWN else None
_GET: Final[int | None] = getattr(FCNTL, "F_OFD_GETLK", None) if _IS_KNOWN else None

ARE_THERE: Final = _SET is not None
"""Whether the platform has them; a file system may have none all the same."""

_IS_DARWIN: Final = sys.platform == "darwin"
_FLOCK: Final = struct.Struct("qqihh") if _IS_DARWIN else struct.Struct("hhqqi0q")  # as <fcntl.h> has it
_LOCK: Final[int] = getattr(FCNTL, "F_WRLCK", 0)
_UNLOCK: Final[int] = getattr(FCNTL, "F_UNLCK", 0)
_HELD: Final = frozenset({errno.EACCES, errno.EAGAIN})
_NONE: Final = frozenset({errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})


class NoLocksError(OSError):
    """The platform, or the file system, has no such locks."""


def take(fd: int, offset: int) -> bool:
    """Lock the byte at *offset*; False while another open file has it. One that has it already has it still.

    Raises:
        NoLocksError: there are none here.
        OSError: the file system does not work.
    """
    try:
        _ask(fd, _SET, offset, _LOCK)
    except OSError as exc:
        if exc.errno in _HELD:
            return False
        raise
    return True


def give_back(fd: int, offset: int) -> None:
    """Unlock the byte at *offset*; one that is not locked is no error."""
    _ask(fd, _SET, offset, _UNLOCK)


def is_free(fd: int, offset: int) -> bool:
    """Whether no other open file has the byte at *offset* right now."""
    fields = _FLOCK.unpack(_ask(fd, _GET, offset, _LOCK))
    return bool(fields[3 if _IS_DARWIN else 0] == _UNLOCK)


def _ask(fd: int, command: int | None, offset: int, kind: int) -> bytes:
    if command is None:
        raise NoLocksError(errno.ENOSYS, "the platform has no locks of open files")
    lock = _FLOCK.pack(offset, 1, 0, kind, 0) if _IS_DARWIN else _FLOCK.pack(kind, 0, offset, 1, 0)
    try:
        answer: bytes = FCNTL.fcntl(fd, command, lock)
    except OSError as exc:
        if exc.errno in _NONE:
            raise NoLocksError(exc.errno, exc.strerror) from exc
        raise
    return answer
