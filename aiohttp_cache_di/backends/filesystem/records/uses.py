"""What a process remembers of files, to save work: which uses were recorded, and which bodies were checked."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final

from aiohttp_cache_di.backends.filesystem.records.packing import Filed
from aiohttp_cache_di.backends.store.sizes import record_bytes

__all__ = ["Known", "identity"]

NOTED_EVERY_S: Final = 60.0
MAX_REMEMBERED: Final = 16_384
SETTLED_AFTER_S: Final = 2.0
"""The age of a file's last change after which a later change is sure to get another time; the coarsest file system in
use (FAT) stores times in steps of two seconds."""
SETTLED_SOON_AFTER_S: Final = 0.1  # the same for files whose times are finer than `TICK_NS`
TICK_NS: Final = 10_000_000  # the step of times of kernels with 100 ticks per second, and of exFAT


class Known:
    """What one process remembers of the files of one cache; threads share it, by atomic operations on dictionaries.

    A body of many megabytes takes longer to check than to read. A body that was found to be intact is not checked again
    while its file has the same inode, size and times; only the kernel sets the time of a file's last status change.

    Args:
        value_bytes: returns the size of the largest body that is read into memory or written from it.
    """

    def __init__(self, value_bytes: Callable[[], int] | None = None) -> None:
        self.value_bytes: Callable[[], int] = value_bytes or record_bytes()
        self._noted: dict[str, float] = {}
        self._checked: dict[Filed, tuple[int, ...]] = {}

    def is_new_use(self, name: str) -> bool:
        """Whether a use of the entry *name* has to be recorded now; at most once in `NOTED_EVERY_S`."""
        now = time.monotonic()
        noted_at = self._noted.get(name)
        if noted_at is not None and now - noted_at < NOTED_EVERY_S:
            return False
        if len(self._noted) >= MAX_REMEMBERED:
            self._noted = {}
        self._noted[name] = now
        return True

    def is_checked(self, body: Filed, status: os.stat_result) -> bool:
        """Whether *body* was found to be intact in the file with that *status*, unchanged since."""
        return self._checked.get(body) == identity(status)

    def note_checked(self, body: Filed, status: os.stat_result) -> None:
        """Remember that the file with that *status* has the intact *body*."""
        if not _is_settled(status, time.time()):
            return
        if len(self._checked) >= MAX_REMEMBERED:
            self._checked = {}
        self._checked[body] = identity(status)


def _is_settled(status: os.stat_result, now: float) -> bool:
    """Whether a change of the file at *now* would get another time than its last change."""
    age_s = now - max(status.st_ctime, status.st_mtime)
    return age_s >= (SETTLED_SOON_AFTER_S if status.st_ctime_ns % TICK_NS else SETTLED_AFTER_S)


def identity(status: os.stat_result) -> tuple[int, ...]:
    """Inode, size and times: at least one of them changes when the file does."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
