"""Which bodies a process has found to be intact, so that it need not check them again."""

from __future__ import annotations

import os
import time
from typing import Final

from aiohttp_cache_di.backends.bounded import Bounded
from aiohttp_cache_di.backends.filesystem.records.packing import Filed

__all__ = ["Checked", "identity"]

MAX_REMEMBERED: Final = 16_384
SETTLED_AFTER_S: Final = 2.0
"""The age of a file's last change after which a later change is sure to get another time; the coarsest file system in
use (FAT) stores times in steps of two seconds."""
SETTLED_SOON_AFTER_S: Final = 0.1  # the same for files whose times are finer than `TICK_NS`
TICK_NS: Final = 10_000_000  # the step of times of kernels with 100 ticks per second, and of exFAT


class Checked:
    """The bodies of one cache that were found to be intact, for threads.

    A body of many megabytes takes longer to check than to read. So it is not checked again while its file has the same
    inode, size and times; only the kernel sets the time of a file's last status change.
    """

    def __init__(self) -> None:
        self._files: Bounded[Filed, tuple[int, ...]] = Bounded(MAX_REMEMBERED)

    def has(self, body: Filed, status: os.stat_result) -> bool:
        """Whether *body* was found to be intact in the file with that *status*, unchanged since."""
        return self._files.get(body) == identity(status)

    def note(self, body: Filed, status: os.stat_result) -> None:
        """Remember that the file with that *status* has the intact *body*."""
        if _is_settled(status, time.time()):
            self._files.note(body, identity(status))

    def is_whole(self, body: Filed, data: bytes, status: os.stat_result) -> bool:
        """Whether *data*, read from the file with that *status*, is *body*; if it is, that is remembered."""
        if len(data) == body.length and self.has(body, status):
            return True
        if not body.is_whole(data):
            return False
        self.note(body, status)
        return True


def _is_settled(status: os.stat_result, now: float) -> bool:
    """Whether a change of the file at *now* would get another time than its last change."""
    age_s = now - max(status.st_ctime, status.st_mtime)
    return age_s >= (SETTLED_SOON_AFTER_S if status.st_ctime_ns % TICK_NS else SETTLED_AFTER_S)


def identity(status: os.stat_result) -> tuple[int, ...]:
    """Inode, size and times: at least one of them changes when the file does."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
