"""Our files beside a database: how they are opened and checked, and how they get its owner and mode.

As SQLite's own (``-wal``, ``-shm``), they are as open to others as the database is when they are made.
"""

from __future__ import annotations

import os
import stat
from typing import Final

from aiohttp_cache_di.backends.disk.descriptors import NO_WAIT, NOT_A_LINK
from aiohttp_cache_di.backends.disk.owned import is_trusted_user
from aiohttp_cache_di.backends.sqlite.file.files import Identity

__all__ = ["identity_at", "open_beside", "resemble"]

_MODE: Final = 0o600


def open_beside(path: str, flags: int) -> tuple[int, os.stat_result]:
    """Open the file at *path*; return its descriptor and its status.

    Raises:
        OSError: it cannot be opened.
        ValueError: it is not a regular file, or another user's.
    """
    descriptor = os.open(path, flags | NOT_A_LINK | NO_WAIT, _MODE)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or not is_trusted_user(status.st_uid):
            raise ValueError(f"{path} is not a regular file, or another user's")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, status


def identity_at(path: str) -> Identity | None:
    """The identity of the file that is at *path* now; None if there is none."""
    try:
        status = os.stat(path, follow_symlinks=False)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def resemble(descriptor: int, like: str) -> None:
    """Give an open file the owner and the mode of the file *like*, as SQLite does with files that it makes."""
    if not hasattr(os, "fchmod"):
        return
    status = os.stat(like)
    os.fchmod(descriptor, stat.S_IMODE(status.st_mode) & 0o666 | 0o600)
    if os.geteuid() == 0:
        os.fchown(descriptor, status.st_uid, status.st_gid)
