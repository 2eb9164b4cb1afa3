"""The secret that a cache generates for itself, in a file beside the records."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from aiohttp_cache_di.backends.filesystem.places.directory import Directory
from aiohttp_cache_di.backends.filesystem.places.names import temporary_name
from aiohttp_cache_di.backends.filesystem.places.tree import Tree
from aiohttp_cache_di.backends.filesystem.records.files import read_file, write_file
from aiohttp_cache_di.backends.store import SECRET_BYTES

__all__ = ["keep_secret", "kept_secret"]

KEPT_IN: Final = "secret"
TRIES: Final = 3


def kept_secret(tree: Tree) -> bytes | None:
    """The secret in the file; None if there is no file, or it is not valid or another user's. Raises StorageError."""
    root = tree.root()
    return None if root is None else _kept_in(root)


def keep_secret(tree: Tree, proposed: bytes) -> bytes:
    """The secret in the file, after writing *proposed* if there was none.

    Raises:
        StorageError, OSError: it cannot be written.
    """
    root = tree.made_root()
    found = _kept_in(root)
    if found is not None:
        return found
    name = temporary_name(KEPT_IN)
    try:
        write_file(root, name, [proposed])
        for _ in range(TRIES):
            # A hard link replaces nothing, so that only one of several processes succeeds.
            with suppress(FileExistsError):
                root.link(name, KEPT_IN)
            found = _kept_in(root)
            if found is not None:
                return found
            with suppress(FileNotFoundError):
                root.move(KEPT_IN, temporary_name(KEPT_IN, "aside"))
        raise FileExistsError(f"{KEPT_IN} is repeatedly replaced")
    finally:
        with suppress(OSError):
            root.unlink(name)


def _kept_in(root: Directory) -> bytes | None:
    with suppress(OSError):
        found, _ = read_file(root, KEPT_IN, range(SECRET_BYTES, SECRET_BYTES + 1))
        return found if len(found) == SECRET_BYTES else None
    return None
