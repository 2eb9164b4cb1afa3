"""The secret that a cache keeps for itself, in a file beside the records."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

from aiohttp_cache_di.backends.filesystem.names import new_token
from aiohttp_cache_di.backends.filesystem.tree import Directory
from aiohttp_cache_di.backends.owned import is_ours_alone
from aiohttp_cache_di.backends.store import SECRET_BYTES

__all__ = ["keep_secret", "kept_secret"]

KEPT_IN: Final = "secret"
TRIES: Final = 3
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def kept_secret(root: Directory) -> bytes | None:
    """The secret that is kept; None where there is none, what is none, or another user's."""
    try:
        fd = os.open(KEPT_IN, _READ, dir_fd=root.fd)
    except OSError:
        return None
    try:
        if not is_ours_alone(fd, os.fstat(fd), root.fd):
            return None
        found = os.read(fd, SECRET_BYTES + 1)
    except OSError:
        return None
    finally:
        os.close(fd)
    return found if len(found) == SECRET_BYTES else None


def keep_secret(root: Directory, proposed: bytes) -> bytes:
    """The secret that is kept by now: *proposed*, if there is none yet.

    Raises:
        OSError: it cannot be written.
    """
    name = f"{KEPT_IN}.{new_token().hex()}.tmp"
    fd = os.open(name, _CREATE, 0o600, dir_fd=root.fd)
    try:
        try:
            os.write(fd, proposed)
        finally:
            os.close(fd)
        for _ in range(TRIES):
            # A link replaces nothing: of many processes that come at once, one is the first.
            with suppress(FileExistsError):
                os.link(name, KEPT_IN, src_dir_fd=root.fd, dst_dir_fd=root.fd, follow_symlinks=False)
            found = kept_secret(root)
            if found is not None:
                return found
            aside = f"{KEPT_IN}.{new_token().hex()}.aside"
            with suppress(FileNotFoundError):
                os.rename(KEPT_IN, aside, src_dir_fd=root.fd, dst_dir_fd=root.fd)
        raise FileExistsError(f"{KEPT_IN} is replaced again and again")
    finally:
        with suppress(OSError):
            os.unlink(name, dir_fd=root.fd)
