"""Make stores in files, and find their files."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from aiohttp_cache_di.backends.disk.place import Place
from aiohttp_cache_di.backends.filesystem.places.names import body_name, leaf_of, name_of
from aiohttp_cache_di.backends.filesystem.records.packing import NO_TOKEN, read_head
from aiohttp_cache_di.backends.filesystem.store import FileStore
from aiohttp_cache_di.entries.codec import EntryCodec

__all__ = ["age", "body_file", "entry_file", "files_in", "is_open", "make_store"]


def make_store(folder: Path, codec: EntryCodec | None = None, *, use_locks: bool = True, **options: Any) -> FileStore:
    """Make a store below *folder*; without *use_locks* it works as on a system without file locks."""
    store = FileStore(Place(folder), codec or EntryCodec(), **options)
    if not use_locks:
        store._leases._kind = store._leases._files
    return store


def entry_file(folder: Path, key: str) -> Path:
    """The file of the entry under *key*."""
    name = name_of(key)
    return folder / leaf_of(name) / name


def body_file(folder: Path, key: str) -> Path:
    """The file of the body under *key*; asserts that the body has its own file."""
    entry = entry_file(folder, key)
    head = read_head(entry.read_bytes())
    assert head is not None
    assert head.token != NO_TOKEN
    return entry.with_name(body_name(entry.name, head.token))


def files_in(folder: Path) -> set[str]:
    """The names of all files of records."""
    return {path.name for path in folder.glob("?/?/*")}


def age(path: Path, seconds: float) -> None:
    """Set the file's modification time to *seconds* ago."""
    at = time.time() - seconds
    os.utime(path, (at, at))


def is_open(fd: int, path: Path) -> bool:
    """Whether *fd* is open for the file at *path*: the number may have been reused for another file."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except OSError:
        return False
