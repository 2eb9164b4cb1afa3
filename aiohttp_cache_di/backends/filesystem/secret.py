"""The secret that a cache keeps for itself, in a file beside the records."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

from aiohttp_cache_di.backends.filesystem.directory import CREATE, READ, Directory
from aiohttp_cache_di.backends.filesystem.names import new_token
from aiohttp_cache_di.backends.store import SECRET_BYTES

__all__ = ["keep_secret", "kept_secret"]

KEPT_IN: Final = "secret"
TRIES: Final = 3


def kept_secret(root: Directory) -> bytes | None:
    """The secret that is kept; None where there is none, what is none, or another user's."""
    try:
        fd = root.open(KEPT_IN, READ)
    except OSError:
        return None
    try:
        if not root.owns(fd, os.fstat(fd)):
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
    fd = root.open(name, CREATE | os.O_WRONLY)
    try:
        try:
            os.write(fd, proposed)
        finally:
            os.close(fd)
        for _ in range(TRIES):
            # A link replaces nothing: of many processes that come at once, one is the first.
            with suppress(FileExistsError):
                root.link(name, KEPT_IN)
            found = kept_secret(root)
            if found is not None:
                return found
            aside = f"{KEPT_IN}.{new_token().hex()}.aside"
            with suppress(FileNotFoundError):
                root.move(KEPT_IN, aside)
        raise FileExistsError(f"{KEPT_IN} is replaced again and again")
    finally:
        with suppress(OSError):
            root.unlink(name)
