"""The files of one record: read, published, dropped; all in a thread, below a directory that is open.

An entry's file is written beside its place and moved there, so that a reader has all of one entry or all of another.
A body's file bears a name of its own and is there before the entry that tells of it. A reader that comes when the
entry is replaced may find that body gone, and then reads the entry again.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import Final, NamedTuple

from aiohttp_cache_di.backends.filesystem.names import body_name, temporary_name
from aiohttp_cache_di.backends.filesystem.records import (
    HEAD_BYTES,
    NO_TOKEN,
    Body,
    Head,
    Packed,
    body_of,
    read_head,
    unpack,
    with_body,
)
from aiohttp_cache_di.backends.filesystem.tree import Directory
from aiohttp_cache_di.backends.filesystem.uses import Known
from aiohttp_cache_di.backends.store import UNREADABLE, Item, Unreadable
from aiohttp_cache_di.entries.codec import EntryCodec

__all__ = ["Seen", "disk_bytes", "drop", "publish", "read_item", "see"]

FILE_MODE: Final = 0o600
FIRST_READ_BYTES: Final = 72 * 1024  # an entry whose body is not apart, with room for what stands before it
MAX_ENTRY_BYTES: Final = 16 * 1024 * 1024  # beyond any header section; such a file is not ours
HEAD_READ_BYTES: Final = 2048  # most keys and what stands before them
TRIES: Final = 3
BLOCK_BYTES: Final = 4096
# Without O_NONBLOCK, opening a pipe that stands in a file's place would wait for a writer.
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NOT_OF_THE_FILE: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.ESTALE})
"""What tells nothing of one file, but of the process or the file system."""


class Seen(NamedTuple):
    """What the head of an entry's file tells, and what its files take."""

    head: Head
    disk_bytes: int


def read_item(
    leaf: Directory, name: str, key: str, codec: EntryCodec, known: Known, *, is_use: bool = True
) -> Item | Unreadable | None:
    """What is under *key*, whose entry is in the file of that *name*; None for nothing.

    Args:
        known: bodies that need not be checked again, and when uses were noted.
        is_use: note that the entry was used.

    Raises:
        OSError: the file system does not work.
    """
    for _ in range(TRIES):
        try:
            data = _read(leaf, name, known if is_use else None)
        except FileNotFoundError:
            return None
        except OSError as exc:
            if exc.errno in _NOT_OF_THE_FILE:
                raise
            return UNREADABLE
        head = read_head(data)
        if head is None or head.key != key:
            return UNREADABLE
        item = unpack(data, head, codec)
        if head.token == NO_TOKEN or isinstance(item, Unreadable):
            return item
        body = body_of(item, head, codec)
        if body is None or isinstance(item, str):
            return UNREADABLE
        with suppress(FileNotFoundError):
            content = _read_body(leaf, name, body, known)
            if content is None:
                return UNREADABLE
            with_body(item, content)
            return item
    return UNREADABLE


def disk_bytes(size: int) -> int:
    """What a file of that *size* takes, nearly."""
    return -size // BLOCK_BYTES * -BLOCK_BYTES


def see(leaf: Directory, name: str) -> Seen | None:
    """The head of the entry in the file of that *name*; None if there is none that can be read."""
    try:
        fd = os.open(name, _READ, dir_fd=leaf.fd)
    except OSError:
        return None
    try:
        data = os.read(fd, HEAD_READ_BYTES)
        if len(data) == HEAD_READ_BYTES:
            needed = HEAD_BYTES + int.from_bytes(data[8:12], "big") - len(data)
            if 0 < needed < MAX_ENTRY_BYTES:
                data += os.read(fd, needed)
        head = read_head(data)
        if head is None:
            return None
        body = disk_bytes(head.body_bytes) if head.token != NO_TOKEN else 0
        return Seen(head, disk_bytes(os.fstat(fd).st_size) + body)
    except OSError:
        return None
    finally:
        os.close(fd)


def publish(leaf: Directory, name: str, packed: Packed, *, fsync: bool) -> Seen | None:
    """Put a record in the place of what is there, and return what that was.

    Raises:
        OSError: it could not be written; what was there is there still.
    """
    parts = [(temporary_name(name), packed.entry)]
    if packed.token != NO_TOKEN:
        parts.append((body_name(name, packed.token), packed.body))
    try:
        for part, data in parts:
            _write(leaf, part, data, fsync=fsync)
        before = see(leaf, name)
        _move(leaf, parts[0][0], name)
    except BaseException:
        for part, _ in parts:
            with suppress(OSError):
                os.unlink(part, dir_fd=leaf.fd)
        raise
    if fsync:
        os.fsync(leaf.fd)
    _drop_body(leaf, name, before)
    return before


def drop(leaf: Directory, name: str) -> int | None:
    """Drop the record in the file of that *name*; return what it took, None where there was none."""
    seen = see(leaf, name)
    try:
        os.unlink(name, dir_fd=leaf.fd)
    except FileNotFoundError:
        return None
    except OSError as exc:
        if exc.errno not in (errno.EISDIR, errno.EPERM):  # Linux, and POSIX, of a directory in the file's place
            raise
        return None
    _drop_body(leaf, name, seen)
    return 0 if seen is None else seen.disk_bytes


def _drop_body(leaf: Directory, name: str, seen: Seen | None) -> None:
    if seen is not None and seen.head.token != NO_TOKEN:
        with suppress(OSError):
            os.unlink(body_name(name, seen.head.token), dir_fd=leaf.fd)


def _read(leaf: Directory, name: str, known: Known | None) -> bytes:
    fd = os.open(name, _READ, dir_fd=leaf.fd)
    try:
        data = os.read(fd, FIRST_READ_BYTES)
        if len(data) == FIRST_READ_BYTES:
            size = os.fstat(fd).st_size
            if size > MAX_ENTRY_BYTES:
                return b""
            while len(data) < size and (more := os.read(fd, size - len(data))):
                data += more
        if known is not None and known.is_new_use(name):
            with suppress(OSError):
                os.utime(fd)
        return data
    finally:
        os.close(fd)


def _read_body(leaf: Directory, name: str, body: Body, known: Known) -> bytes | None:
    """The bytes of *body*, None if they are not as they were written."""
    try:
        fd = os.open(body_name(name, body.token), _READ, dir_fd=leaf.fd)
        try:
            status = os.fstat(fd)
            if status.st_size != body.length or body.length > known.value_bytes():
                return None
            data = os.read(fd, body.length)
            while len(data) < body.length and (more := os.read(fd, body.length - len(data))):
                data += more
        finally:
            os.close(fd)
    except OSError as exc:
        if exc.errno in _NOT_OF_THE_FILE or isinstance(exc, FileNotFoundError):
            raise
        return None
    if known.is_checked(body, status) and len(data) == body.length:
        return data
    if not body.is_whole(data):
        return None
    known.note_checked(body, status)
    return data


def _write(leaf: Directory, name: str, data: bytes, *, fsync: bool) -> None:
    fd = os.open(name, _CREATE, FILE_MODE, dir_fd=leaf.fd)
    try:
        written = os.write(fd, data)
        while written < len(data):
            written += os.write(fd, memoryview(data)[written:])
        if fsync:
            os.fsync(fd)
    finally:
        os.close(fd)


def _move(leaf: Directory, source: str, target: str) -> None:
    try:
        os.replace(source, target, src_dir_fd=leaf.fd, dst_dir_fd=leaf.fd)
    except OSError as exc:
        if exc.errno not in (errno.EISDIR, errno.ENOTEMPTY, errno.EEXIST):
            raise
        # A directory that is not ours to empty stands in the file's place.
        os.rename(target, temporary_name(target, "aside"), src_dir_fd=leaf.fd, dst_dir_fd=leaf.fd)
        os.replace(source, target, src_dir_fd=leaf.fd, dst_dir_fd=leaf.fd)
