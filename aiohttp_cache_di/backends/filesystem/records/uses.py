"""What a process remembers of files: which uses were noted, and which bodies were checked. Nothing depends on it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from aiohttp_cache_di.backends.filesystem.places.names import name_of
from aiohttp_cache_di.backends.filesystem.places.tree import Tree
from aiohttp_cache_di.backends.filesystem.records.packing import Filed
from aiohttp_cache_di.backends.store.sizes import record_bytes

__all__ = ["Known", "identity"]

NOTED_EVERY_S: Final = 60.0
MAX_REMEMBERED: Final = 16_384
MAX_TOUCHED: Final = 64  # each is a call of the kernel, before a record is written
SETTLED_AFTER_S: Final = 2.0
"""As old as the last change of a file must be for a later one to bear another time; the coarsest clock of a file
system in use (FAT) counts in twos of seconds."""
SETTLED_SOON_AFTER_S: Final = 0.1  # where times have fractions that are finer than those of the coarsest kernel's ticks
TICK_NS: Final = 10_000_000  # of a kernel with 100 ticks a second, and of exFAT


class Known:
    """What one process remembers of the files of one cache; used by several threads, by single operations on tables.

    A body of many megabytes takes longer to check than to read. One that was found to be whole is not checked again
    while its file has the same number, size and times: when a file changed last, the kernel alone says.

    Args:
        value_bytes: tells the size beyond which no body is written, and none is read.
    """

    def __init__(self, value_bytes: Callable[[], int] | None = None) -> None:
        self.value_bytes: Callable[[], int] = value_bytes or record_bytes()
        self._noted: dict[str, float] = {}
        self._touched: set[str] = set()
        self._checked: dict[Filed, tuple[int, ...]] = {}

    def is_new_use(self, name: str) -> bool:
        """Whether a use of the entry of that *name* has to be noted now."""
        now = time.monotonic()
        noted_at = self._noted.get(name)
        if noted_at is not None and now - noted_at < NOTED_EVERY_S:
            return False
        if len(self._noted) >= MAX_REMEMBERED:
            self._noted = {}
        self._noted[name] = now
        return True

    def touch(self, key: str) -> None:
        """A copy of *key* was used, which is noted with the next record: a note alone is not worth a hop to a thread.

        No more than `MAX_TOUCHED` are remembered.
        """
        if len(self._touched) < MAX_TOUCHED:
            self._touched.add(key)

    def note_touched(self, tree: Tree) -> None:
        """Note which copies were used of the entries in *tree*; in a thread."""
        keys, self._touched = self._touched, set()
        for name in map(name_of, keys):
            leaf = tree.leaf(name)
            if leaf is not None and self.is_new_use(name):
                with suppress(OSError):  # it has gone
                    leaf.touch(name)

    def is_checked(self, body: Filed, status: os.stat_result) -> bool:
        """Whether *body* was found to be whole in the very file of *status*."""
        return self._checked.get(body) == identity(status)

    def note_checked(self, body: Filed, status: os.stat_result) -> None:
        """The file that *status* is of has the whole *body*."""
        if not _is_settled(status, time.time()):
            return
        if len(self._checked) >= MAX_REMEMBERED:
            self._checked = {}
        self._checked[body] = identity(status)


def _is_settled(status: os.stat_result, now: float) -> bool:
    """Whether a change of the file at *now* would give it another time."""
    age_s = now - max(status.st_ctime, status.st_mtime)
    return age_s >= (SETTLED_SOON_AFTER_S if status.st_ctime_ns % TICK_NS else SETTLED_AFTER_S)


def identity(status: os.stat_result) -> tuple[int, ...]:
    """What changes with a file."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
