"""Counting files without an index: leaf directory by leaf directory, again and again.

What this process writes is added to the counts at once; what other processes write is found when its leaf is counted
next. Remnants that are found on the way (of a process that died while it wrote, or of two that replaced an entry at
once) are swept when they are old.
"""

from __future__ import annotations

import random
import threading
import time
from contextlib import suppress
from typing import Final, NamedTuple

from aiohttp_cache_di.backends.filesystem.places.directory import Directory
from aiohttp_cache_di.backends.filesystem.places.names import (
    BODY,
    ENTRY,
    LEAVES,
    LEFT_OVER,
    body_name,
    entry_of,
    is_name_of_mark,
)
from aiohttp_cache_di.backends.filesystem.places.tree import Tree
from aiohttp_cache_di.backends.filesystem.records.files import disk_bytes, drop_unused, is_dropped, see
from aiohttp_cache_di.backends.forks import note_forks

__all__ = ["Count", "Counts", "File"]

TRIES: Final = 3
LEASE_AFTER_S: Final = 3600.0
ORPHAN_AFTER_S: Final = 300.0  # since the last write, unless a lock shows that a writer or reader is alive


class Count(NamedTuple):
    """Size and number of entries: bytes on the disk, bodies included; records of purges are no entries."""

    bytes: int = 0
    entries: int = 0

    def plus(self, other: Count, *, less: Count) -> Count:
        """The sum of this and *other*, without *less*."""
        return Count(self.bytes + other.bytes - less.bytes, self.entries + other.entries - less.entries)


class File(NamedTuple):
    """A file of the cache."""

    name: str
    disk_bytes: int
    changed_at: float


class Counts:
    """What the leaf directories of a cache contain, for threads.

    Args:
        tree: the cache's directories.
    """

    def __init__(self, tree: Tree) -> None:
        self.total: Count = Count()
        """The sum of all counts."""
        self._tree = tree
        self._counts: dict[str, Count] = {}
        self._written: set[str] = set()  # leaves that were written to since they were last counted
        self._next = random.randrange(len(LEAVES))  # noqa: S311  # processes that start together count different leaves
        self.after_fork()
        note_forks(self)

    def after_fork(self) -> None:
        """Make a new lock, at first and in a forked child, where a thread of the parent may hold the old one."""
        self._adding = threading.Lock()

    @property
    def are_complete(self) -> bool:
        """Whether each leaf has been counted."""
        return len(self._counts) == len(LEAVES)

    def is_empty(self, leaf: str) -> bool:
        """Whether there was nothing in *leaf* when it was counted."""
        return self._counts.get(leaf) == Count()

    def add(self, name: str, more_bytes: int, more_entries: int) -> None:
        """Add what was written for the entry *name*, less what it replaced."""
        leaf = name[:2]
        with self._adding:
            self._written.add(leaf)
            before = self._counts.get(leaf)
            if before is not None:
                entries = before.entries + (0 if is_name_of_mark(name) else more_entries)
                self._set(leaf, Count(before.bytes + more_bytes, entries))

    def count_until(self, end: float, now: float) -> None:
        """Count leaves in turn until all have had their turn, or until *end* (monotonic); *now* is POSIX time."""
        while time.monotonic() < end:
            self.count(LEAVES[self._next], now)
            self._next = (self._next + 1) % len(LEAVES)
            if self._next == 0 and self.are_complete:
                break

    def count(self, name: str, now: float) -> list[File]:
        """Count the files in a leaf, and sweep old remnants from it; return the entries' files."""
        tries_left = TRIES
        while True:
            tries_left -= 1
            self._written.discard(name)
            entries, others = self._found(name, now)
            with self._adding:
                if name not in self._written or not tries_left:  # else files written meanwhile may be missing: repeat
                    size = sum(each.disk_bytes for each in (*entries, *others))
                    self._set(name, Count(size, sum(not is_name_of_mark(each.name) for each in entries)))
                    return entries

    def _set(self, leaf: str, count: Count) -> None:
        self.total = self.total.plus(count, less=self._counts.get(leaf, Count()))
        self._counts[leaf] = count

    def _found(self, name: str, now: float) -> tuple[list[File], list[File]]:
        leaf = self._tree.leaf(name)
        if leaf is None:
            return [], []
        entries, others = _files(leaf)
        known = {entry.name for entry in entries}
        others = [other for other in others if not _sweep(leaf, other, known, now)]
        return entries, [other for other in others if _is_counted(other, known)]


def _files(leaf: Directory) -> tuple[list[File], list[File]]:
    """The files of entries, and the other files of the cache, in a leaf."""
    entries: list[File] = []
    others: list[File] = []
    for name in leaf.names():
        is_entry = ENTRY.fullmatch(name) is not None
        if is_entry or BODY.fullmatch(name) or LEFT_OVER.fullmatch(name):
            with suppress(OSError):  # gone meanwhile
                status = leaf.status_of(name)
                file = File(name, disk_bytes(status.st_size), status.st_mtime)
                (entries if is_entry else others).append(file)
    return entries, others


def _sweep(leaf: Directory, file: File, entries: set[str], now: float) -> bool:
    """Remove *file* if it is old and belongs to no entry; return whether it is gone."""
    age_s = now - file.changed_at
    if age_s <= (LEASE_AFTER_S if file.name.endswith(".lease") else ORPHAN_AFTER_S):
        return False
    if BODY.fullmatch(file.name) and _is_wanted(leaf, file.name, entries):
        return False
    with suppress(OSError):
        return drop_unused(leaf, file.name)
    return True


def _is_counted(file: File, entries: set[str]) -> bool:
    """Whether *file* counts towards the bounds.

    A body without its entry does not: it goes with its last reader, and no eviction can make room by it.
    """
    return BODY.fullmatch(file.name) is None or (entry_of(file.name) in entries and not is_dropped(file.changed_at))


def _is_wanted(leaf: Directory, body: str, entries: set[str]) -> bool:
    name = entry_of(body)
    seen = see(leaf, name) if name in entries else None
    return seen is not None and body == body_name(name, seen.head.token)
