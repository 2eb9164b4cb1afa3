"""The file of counters beside a database: the last commit that changed each key, in memory that processes share.

It is an array of 64-bit words in the machine's byte order::

    word 0      a mark of the format
    word 1      the id by which the database refers to this file
    word 8 …    one counter for each of the 4,096 stripes of keys, and one for all keys

A 64-bit machine reads and writes a word in one instruction, so no lock is needed. A new file is written under a
temporary name and renamed, so that processes which have mapped the old one keep a whole file. One risk remains: if a
program truncates the file between two checks of its size, reading the mapped memory behind its end kills the process,
as it does with SQLite's own ``-shm`` file.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import secrets
import stat
import struct
from collections.abc import Iterable
from typing import Final
from zlib import crc32

from aiohttp_cache_di.backends.disk.descriptors import NOT_A_LINK
from aiohttp_cache_di.backends.disk.owned import OTHERS, OTHERS_WRITE
from aiohttp_cache_di.backends.sqlite.file.files import Identity
from aiohttp_cache_di.backends.sqlite.shared.beside import open_beside, resemble

__all__ = ["ALL", "STRIPES", "CounterFile", "stripe_of"]

STRIPES: Final = 4096
WORD_BYTES: Final = 8
MARK: Final = 0x31_6E_65_67_49_44_43_61  # the first version; in another byte order it is another number
FIRST: Final = 8  # the word of the first stripe
ALL: Final = STRIPES  # the stripe of all keys
SIZE_BYTES: Final = WORD_BYTES * (FIRST + STRIPES + 1)
VOID: Final = 2**62  # more than any commit's number


def stripe_of(key: str) -> int:
    """The stripe of *key*, the same in all processes, so not by Python's hash."""
    return crc32(key.encode("utf-8", "surrogatepass")) & (STRIPES - 1)


class CounterFile:
    """A file of counters that is mapped into memory.

    Args:
        path: the path of the file.
        may_write: map it to write, so that counters can be set.

    Raises:
        OSError: it cannot be opened.
        ValueError: it is not a file of counters, or not to be trusted.
    """

    __slots__ = ("_map", "counters", "id", "identity", "may_write")

    def __init__(self, path: str, *, may_write: bool) -> None:
        descriptor, status = open_beside(path, os.O_RDWR if may_write else os.O_RDONLY)
        try:
            if status.st_size < SIZE_BYTES or (status.st_mode & OTHERS_WRITE and not may_write):
                raise ValueError("not a file of counters: it is too short, or others can write it")
            if may_write and hasattr(os, "fchmod") and status.st_mode & OTHERS:
                os.fchmod(descriptor, stat.S_IMODE(status.st_mode) & ~OTHERS)
            access = mmap.ACCESS_WRITE if may_write else mmap.ACCESS_READ  # shared in both cases
            self._map = mmap.mmap(descriptor, SIZE_BYTES, access=access)
        finally:
            os.close(descriptor)
        words = memoryview(self._map).cast("Q")
        if words[0] != MARK:
            raise ValueError("not a file of counters: it begins with something else")
        self.id: int = words[1]
        self.counters: memoryview[int] = words[FIRST:]
        self.identity: Identity = status.st_dev, status.st_ino
        self.may_write: bool = may_write

    @classmethod
    def open(cls, path: str) -> CounterFile | None:
        """Map the file at *path*, to write if that is permitted; None if there is none, or another kind of file."""
        for may_write in (True, False):
            with contextlib.suppress(OSError, ValueError):
                return cls(path, may_write=may_write)
        return None

    @classmethod
    def create(cls, path: str, like: str) -> CounterFile:
        """Put a new file at *path*, and invalidate the old one for processes that have it mapped.

        Args:
            like: the file whose owner and mode the new one gets, as with the files that SQLite makes.

        Raises:
            OSError: it cannot be made.
        """
        number = secrets.randbits(31) or 1
        words = (MARK, number, *(0,) * (FIRST - 2 + STRIPES + 1))
        other_name = f"{path}.{os.getpid()}-{number}"
        descriptor = os.open(other_name, os.O_RDWR | os.O_CREAT | os.O_EXCL | NOT_A_LINK, 0o600)
        try:
            try:
                resemble(descriptor, like)
                # Written in full, to allocate its pages: on a full disk, writing to a mapped hole kills the process.
                os.write(descriptor, struct.pack(f"={len(words)}Q", *words))
            finally:
                os.close(descriptor)  # on some platforms an open file cannot be renamed
            old = cls.open(path)
            if old is not None and old.may_write:
                old.counters[ALL] = VOID
            del old
            os.replace(other_name, path)
        except BaseException:
            with contextlib.suppress(OSError):  # it has been renamed, or the error below matters more
                os.unlink(other_name)
            raise
        new = cls.open(path)
        if new is None or not new.may_write:
            raise OSError(f"{path} cannot be used: it was replaced")
        return new

    def is_whole(self) -> bool:
        """Whether the file is still as large as its mapping."""
        return self._map.size() >= SIZE_BYTES

    def set(self, stripes: Iterable[int], number: int) -> None:
        """Record that the commit of this *number* changes keys of these *stripes*."""
        counters = self.counters
        for stripe in stripes:
            counters[stripe] = number
