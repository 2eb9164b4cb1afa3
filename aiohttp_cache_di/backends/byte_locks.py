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
from typing import Final

__all__ = ["ARE_THERE", "NoLocksError", "give_back", "is_free", "take"]

if sys.platform == "win32":
    _SET, _GET = None, None
else:
    import fcntl

    _SET: Final[int | None] = getattr(fcntl, "F_OFD_SETLK", None)
    _GET: Final[int | None] = getattr(fcntl, "F_OFD_GETLK", None)

ARE_THERE: Final = _SET is not None
"""Whether the platform has them; a file system may have none all the same."""

_IS_DARWIN: Final = sys.platform == "darwin"
_FLOCK: Final = struct.Struct("qqihh") if _IS_DARWIN else struct.Struct("hhqqi0q")  # as <fcntl.h> has it
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
    return _set(fd, offset, fcntl.F_WRLCK) if sys.platform != "win32" else _set(fd, offset, 0)


def give_back(fd: int, offset: int) -> None:
    """Unlock the byte at *offset*; one that is not locked is no error."""
    _set(fd, offset, fcntl.F_UNLCK if sys.platform != "win32" else 0)


def is_free(fd: int, offset: int) -> bool:
    """Whether no other open file has the byte at *offset* right now."""
    if _GET is None or sys.platform == "win32":
        raise NoLocksError(errno.ENOSYS, "the platform has no locks of open files")
    answer = fcntl.fcntl(fd, _GET, _packed(offset, fcntl.F_WRLCK))
    fields = _FLOCK.unpack(answer)
    return bool(fields[3 if _IS_DARWIN else 0] == fcntl.F_UNLCK)


def _packed(offset: int, kind: int) -> bytes:
    return _FLOCK.pack(offset, 1, 0, kind, 0) if _IS_DARWIN else _FLOCK.pack(kind, 0, offset, 1, 0)


def _set(fd: int, offset: int, kind: int) -> bool:
    if _SET is None or sys.platform == "win32":
        raise NoLocksError(errno.ENOSYS, "the platform has no locks of open files")
    try:
        fcntl.fcntl(fd, _SET, _packed(offset, kind))
    except OSError as exc:
        if exc.errno in _HELD:
            return False
        if exc.errno in _NONE:
            raise NoLocksError(exc.errno, exc.strerror) from exc
        raise
    return True
