"""Writing, publishing and deleting the files of one record; all in a thread, in an open directory.

An entry's file is written under a temporary name and renamed, so that readers see all of the old entry or all of the
new one. A body's file has a name of its own and is complete before the entry that refers to it is published. If an
entry is replaced while it is read, the old body may be gone; the reader then reads the entry again.

A *spooled* body is written while it arrives, and read in pieces. Its readers hold a shared lock on the file, and it is
unlinked only under an exclusive lock. If a reader prevents that, the file's time is set to 1970 instead, which marks it
as dropped; its last reader, or a later sweep, unlinks it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final, NamedTuple

from aiohttp_cache_di.backends.filesystem.places.directory import CREATE, READ, Directory, lock_alone, read_at
from aiohttp_cache_di.backends.filesystem.places.names import body_name, temporary_name
from aiohttp_cache_di.backends.filesystem.records.packing import NO_TOKEN, Head, Packed, read_head
from aiohttp_cache_di.backends.filesystem.records.uses import Uses

__all__ = [
    "ENTRY_SIZES",
    "Seen",
    "create",
    "disk_bytes",
    "drop",
    "drop_unused",
    "is_dropped",
    "publish",
    "read_file",
    "see",
    "write_all",
    "write_file",
    "write_pieces",
]

MAX_ENTRY_BYTES: Final = 16 * 1024 * 1024  # more than any entry without its body; larger files are not ours
ENTRY_SIZES: Final = range(MAX_ENTRY_BYTES + 1)
HEAD_READ_BYTES: Final = 2048  # the head with most keys
BLOCK_BYTES: Final = 4096


class Seen(NamedTuple):
    """The head of an entry's file, and the size of the record's files on the disk."""

    head: Head
    disk_bytes: int


def disk_bytes(size: int) -> int:
    """The approximate disk space of a file of that *size*."""
    return -size // BLOCK_BYTES * -BLOCK_BYTES


def see(leaf: Directory, name: str) -> Seen | None:
    """The head of the entry in the file *name*; None if there is none that can be read."""
    try:
        data, status = read_file(leaf, name, ENTRY_SIZES, most=HEAD_READ_BYTES)
        head = read_head(data)
        if head is None and len(data) == HEAD_READ_BYTES:  # the key may be longer
            data, status = read_file(leaf, name, ENTRY_SIZES)
            head = read_head(data)
    except OSError:
        return None
    if head is None:
        return None
    body = disk_bytes(head.body_bytes) if head.token != NO_TOKEN else 0
    return Seen(head, disk_bytes(status.st_size) + body)


def publish(
    leaf: Directory, name: str, packed: Packed, *, fsync: bool, place_body: Callable[[], None] | None = None
) -> Seen | None:
    """Replace the record in the file *name*, and return the old one's head and size.

    Args:
        place_body: puts a spooled body's file in its place; None if the body, if any, is in *packed*.

    Raises:
        OSError: it could not be written; the old record is still there.
    """
    parts = [(temporary_name(name), packed.entry)]
    if packed.token != NO_TOKEN and place_body is None:
        parts.append((body_name(name, packed.token), packed.body))
    try:
        if place_body is not None:
            place_body()
        for part, data in parts:
            write_file(leaf, part, [data], fsync=fsync)
        before = see(leaf, name)
        _move(leaf, parts[0][0], name)
    except BaseException:
        for part, _ in parts:
            with suppress(OSError):
                leaf.unlink(part)
        raise
    if fsync:
        leaf.sync()
    if before is None or before.head.token != packed.token:  # equal if the same body gets a new entry
        _drop_body(leaf, name, before)
    return before


def drop(leaf: Directory, name: str, *, may_have_body: bool = True) -> int | None:
    """Delete the record in the file *name*; return its size on the disk, None if there was none.

    Args:
        may_have_body: False if there is no file of a body for it. Then it is not read, and its size counts as 0.
    """
    seen = see(leaf, name) if may_have_body else None
    try:
        leaf.unlink(name)
    except FileNotFoundError:
        return None
    except OSError as exc:
        if exc.errno not in (errno.EISDIR, errno.EPERM):  # a directory is in the file's place, on Linux or by POSIX
            raise
        return None
    _drop_body(leaf, name, seen)
    return 0 if seen is None else seen.disk_bytes


def _drop_body(leaf: Directory, name: str, seen: Seen | None) -> None:
    if seen is not None and seen.head.token != NO_TOKEN:
        body = body_name(name, seen.head.token)
        with suppress(OSError):
            if not seen.head.is_filed:
                leaf.unlink(body)
            elif not drop_unused(leaf, body):
                leaf.touch(body, at=0)


def is_dropped(changed_at: float) -> bool:
    """Whether a body with that modification time was dropped while it was being read."""
    return changed_at == 0


def drop_unused(leaf: Directory, body: str) -> bool:
    """Unlink the file of a body, or another file, unless it is being read or written; return whether it was unlinked.

    Raises:
        OSError: it is not there, or cannot be unlinked.
    """
    if not leaf.frees_names:
        with suppress(PermissionError):  # a process has it open
            leaf.unlink(body)
            return True
        return False
    try:
        fd = leaf.open(body, READ | os.O_RDWR)
    except FileNotFoundError:
        raise
    except OSError:  # not a readable file
        leaf.unlink(body)
        return True
    try:
        if leaf.trusts(fd, os.fstat(fd)) and not lock_alone(fd):
            return False
        leaf.unlink(body)
        return True
    finally:
        os.close(fd)


def read_file(
    leaf: Directory, name: str, sizes: range, uses: Uses | None = None, most: int | None = None
) -> tuple[bytes, os.stat_result]:
    """The bytes of a file, and its status before the read; no bytes if the file's owner or size is wrong.

    Args:
        sizes: the sizes that the file may have.
        uses: decides whether this use is recorded, as the file's modification time; None if it is not a use.
        most: read this many bytes at most; None for all.
    """
    fd = leaf.open(name, READ)
    try:
        status = os.fstat(fd)
        size = status.st_size
        if size not in sizes or not leaf.trusts(fd, status):
            return b"", status
        data = read_at(fd, size if most is None else min(size, most), 0)
        if uses is not None and uses.is_new(name):
            with suppress(OSError):
                leaf.touch(name, fd)
        return data, status
    finally:
        os.close(fd)


def create(leaf: Directory, name: str) -> int:
    """Create a file with mode 600; return its descriptor, for reading and writing."""
    return leaf.open(name, CREATE | os.O_RDWR)


def write_all(fd: int, data: bytes) -> None:
    """Write all of *data*."""
    written = os.write(fd, data)
    while written < len(data):
        written += os.write(fd, memoryview(data)[written:])


def write_pieces(fd: int, pieces: list[bytes]) -> None:
    """Write all of *pieces*, one after the other, with one system call if that takes them all."""
    if not hasattr(os, "writev"):
        write_all(fd, b"".join(pieces))
        return
    written = os.writev(fd, pieces)
    for piece in pieces:
        if written < len(piece):
            write_all(fd, piece[written:])
        written = max(0, written - len(piece))


def write_file(leaf: Directory, name: str, pieces: Iterable[bytes], *, fsync: bool = False) -> None:
    """Create a file with the contents *pieces*. Raises OSError."""
    fd = create(leaf, name)
    try:
        for piece in pieces:
            write_all(fd, piece)
        if fsync:
            os.fsync(fd)
    finally:
        os.close(fd)


def _move(leaf: Directory, source: str, target: str) -> None:
    try:
        leaf.move(source, target)
    except OSError as exc:
        if exc.errno not in (errno.EISDIR, errno.ENOTEMPTY, errno.EEXIST):
            raise
        # A directory is in the file's place; it is renamed, since its contents are not ours.
        leaf.move(target, temporary_name(target, "aside"))
        leaf.move(source, target)
