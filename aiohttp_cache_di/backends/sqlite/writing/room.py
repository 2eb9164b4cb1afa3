"""Room on the disk for deletions, which SQLite first writes to the end of the write-ahead log.

On a full disk the log cannot grow, but the room that it has can be used again once its pages are in the file. The file
has to grow for that, by the pages that only the log has. So new entries leave that much of the disk free.
"""

from __future__ import annotations

import os
import sqlite3
from typing import Final

from aiohttp_cache_di.backends.sqlite.file.failing import FullError
from aiohttp_cache_di.backends.sqlite.file.files import CacheFile

__all__ = ["Room"]

AMPLE_BYTES: Final = 64 * 1024 * 1024  # free; more than the log, one group of writes and what becomes of it in the file
OVERHEAD: Final = 1.25  # index pages, and pages that are not filled, as a share of what is written
LEAST_BYTES: Final = 64 * 1024  # of a group, whose index pages do not fill up
_statvfs = getattr(os, "statvfs", None)  # not on Windows


class Room:
    """The room that one file and its log have on the disk. Its methods run in the writer's thread.

    Args:
        file: the file.
    """

    def __init__(self, file: CacheFile) -> None:
        self._file = file

    def lack(self, connection: sqlite3.Connection, weight: int) -> FullError | None:
        """An error if new entries of *weight* bytes would leave no room to empty the log; empties it first."""
        if self._file.is_memory or self._free_bytes() >= AMPLE_BYTES:
            return None
        needed = int(weight * OVERHEAD) + LEAST_BYTES
        if self._fits(connection, needed, of_log=0):
            return None
        if self.empty_log(connection) and self._fits(connection, needed, of_log=_size(self._file.beside("-wal"))):
            return None
        return FullError(f"{needed} bytes more would leave no room on the disk to delete entries")

    def empty_log(self, connection: sqlite3.Connection) -> bool:
        """Write the log's pages to the file, so that the next transaction begins at the log's start."""
        try:
            is_busy, _, _ = connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
        except sqlite3.OperationalError:  # the disk is full, or another process has the file locked
            return False
        return not is_busy

    def _fits(self, connection: sqlite3.Connection, needed: int, *, of_log: int) -> bool:
        """Whether *needed* bytes fit into the log, of whose own room *of_log* bytes can be used, and then the file."""
        names = "page_count", "freelist_count", "page_size"
        sizes: list[int] = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]
        pages, free, page_bytes = sizes
        growth = pages * page_bytes - _size(self._file.path) + max(0, needed - free * page_bytes)
        return self._free_bytes() >= max(0, growth) + max(0, needed - of_log)

    def _free_bytes(self) -> int:
        if _statvfs is None:
            return AMPLE_BYTES
        try:
            disk = _statvfs(self._file.path)
        except OSError:  # the file is gone, which the next job notices
            return AMPLE_BYTES
        return int(disk.f_bavail * disk.f_frsize)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
