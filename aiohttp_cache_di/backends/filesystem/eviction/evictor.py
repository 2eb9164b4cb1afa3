"""Eviction without an index: files are counted leaf directory by leaf directory, again and again.

What this process writes is added to the counts at once; what other processes write is found when its leaf is counted
next. Counting takes at most a twentieth of one thread's time, and only while something is written. Remnants that are
found on the way (of a process that died while it wrote, or of two that replaced an entry at once) are removed when they
are old.

When a bound is exceeded, or the disk is full, random leaves are chosen. Of the records in them, those that have expired
or cannot be read are evicted first, then the least recently used. The last use is the file's modification time.
"""

from __future__ import annotations

import errno
import random
import threading
import time
from contextlib import suppress
from typing import Final, NamedTuple

from aiohttp_cache_di.backends.filesystem.places.directory import Directory
from aiohttp_cache_di.backends.filesystem.places.names import BODY, ENTRY, LEAVES, LEFT_OVER, body_name, entry_of
from aiohttp_cache_di.backends.filesystem.places.tree import Tree
from aiohttp_cache_di.backends.filesystem.records.files import disk_bytes, drop, drop_unused, is_dropped, see

__all__ = ["Bounds", "Evictor"]

LOW_WATER: Final = 0.97  # evict down to this share of a bound, so that not every write evicts
EXACT_BELOW: Final = 100  # entries; a smaller bound is kept exactly
STEP_S: Final = 0.005
SHARE: Final = 20  # one in so many parts of a thread's time is for counting
MIN_REST_S: Final = 0.02
LAST_BEYOND: Final = 64  # a single entry may exceed the bound by one in so many parts, for what is not its body
SAMPLE: Final = 64  # candidates, of which some are evicted
TRIES: Final = 3
FULL_SHARE: Final = 16  # one in so many parts of the files' size is evicted when the disk is full
FULL_EVERY_S: Final = 1.0  # least interval of that, so that an entry larger than the disk does not evict all others
LEASE_AFTER_S: Final = 3600.0
ORPHAN_AFTER_S: Final = 300.0  # since the last write, unless a lock shows that a writer or reader is alive
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class Bounds(NamedTuple):
    """Limits of a cache; None for no limit."""

    max_bytes: int | None
    max_entries: int | None


class _Count(NamedTuple):
    bytes: int = 0
    entries: int = 0


class _File(NamedTuple):
    name: str
    size: int
    changed_at: float


class _Candidate(NamedTuple):
    """A record that may be evicted; sorted, the first one is evicted first."""

    is_of_use: bool
    used_at: float
    name: str
    size: int


class Evictor:
    """Counts and evicts, in threads, one step at a time.

    Args:
        tree: the cache's directories.
        bounds: the limits.
    """

    def __init__(self, tree: Tree, bounds: Bounds) -> None:
        self._tree = tree
        self._bounds = bounds
        self._counts: dict[str, _Count] = {}
        self._total = _Count()
        self._written: set[str] = set()  # leaves that were written to since they were last counted
        self._next = random.randrange(len(LEAVES))  # noqa: S311  # processes that start together count different leaves
        self._rest_until = 0.0
        self._is_full = False
        self._full_again_at = 0.0
        self.begin_anew()

    def begin_anew(self) -> None:
        """Make new locks: at first, and in a forked child, where threads of the parent may hold the old ones."""
        self._adding = threading.Lock()
        self._stepping = threading.Lock()

    def wrote(self, name: str, more_bytes: int, more_entries: int) -> None:
        """Add to the counts what was written for the entry *name*, less what it replaced."""
        leaf = name[:2]
        with self._adding:
            self._written.add(leaf)
            before = self._counts.get(leaf)
            if before is not None:
                self._set(leaf, _Count(before.bytes + more_bytes, before.entries + more_entries))

    def note_failed(self, error: OSError) -> None:
        """Make room with the next step if a write has failed with *error* because the disk is full."""
        if error.errno in _FULL and time.monotonic() >= self._full_again_at:
            self._is_full = True

    @property
    def is_due(self) -> bool:
        """Whether a step may be taken now."""
        return self._exceeds_bounds() or time.monotonic() >= self._rest_until

    def step(self, now: float) -> tuple[int, bool]:
        """Count for `STEP_S`, and evict if necessary; *now* is POSIX time.

        Returns:
            How many records were evicted, and whether to take the next step at once.
        """
        if not self._stepping.acquire(blocking=False):  # a step for another loop is under way
            return 0, False
        try:
            return self._step(now)
        finally:
            self._stepping.release()

    def _step(self, now: float) -> tuple[int, bool]:
        began_at = time.monotonic()
        evicted = self._evict(now) if self._exceeds_bounds() else 0
        if self._is_full:
            self._is_full, self._full_again_at = False, began_at + FULL_EVERY_S
        while time.monotonic() < began_at + STEP_S:
            self._count(LEAVES[self._next], now)
            self._next = (self._next + 1) % len(LEAVES)
            if self._next == 0 and len(self._counts) == len(LEAVES):
                break
        ended_at = time.monotonic()
        self._rest_until = ended_at + max(MIN_REST_S, SHARE * (ended_at - began_at))
        return evicted, len(self._counts) < len(LEAVES) or self._exceeds_bounds()

    # ---- counting

    def _exceeds_bounds(self) -> bool:
        max_bytes, max_entries = self._bounds
        if self._is_full:
            return True
        if max_bytes is not None and self._total.entries == 1:
            max_bytes += max_bytes // LAST_BEYOND  # so that a body as large as the bound may be the only entry
        return (max_bytes is not None and self._total.bytes > max_bytes) or (
            max_entries is not None and self._total.entries > max_entries
        )

    def _excess(self) -> _Count:
        """How much has to be evicted for the bounds that are exceeded."""
        (max_bytes, max_entries), total = self._bounds, self._total
        most = max_entries
        if max_entries is not None and max_entries >= EXACT_BELOW:
            most = int(max_entries * LOW_WATER)
        room = 1 + total.bytes // FULL_SHARE if self._is_full else 0
        return _Count(
            total.bytes - int(max_bytes * LOW_WATER) if max_bytes is not None and total.bytes > max_bytes else room,
            total.entries - most if max_entries is not None and most is not None and total.entries > max_entries else 0,
        )

    def _set(self, leaf: str, count: _Count) -> None:
        before = self._counts.get(leaf, _Count())
        self._counts[leaf] = count
        total = self._total
        self._total = _Count(total.bytes + count.bytes - before.bytes, total.entries + count.entries - before.entries)

    def _count(self, name: str, now: float) -> list[_File]:
        """Count the files in a leaf, and remove remnants from it; return the entries' files."""
        tries_left = TRIES
        while True:
            tries_left -= 1
            self._written.discard(name)
            entries, others = self._found(name, now)
            with self._adding:
                if name not in self._written or not tries_left:  # else files written meanwhile may be missing: repeat
                    self._set(name, _Count(sum(each.size for each in (*entries, *others)), len(entries)))
                    return entries

    def _found(self, name: str, now: float) -> tuple[list[_File], list[_File]]:
        leaf = self._tree.leaf(name)
        if leaf is None:
            return [], []
        entries, others = _files(leaf)
        known = {entry.name for entry in entries}
        others = [other for other in others if not _remove_if_old(leaf, other, known, now)]
        return entries, [other for other in others if _is_counted(other, known)]

    # ---- evicting

    def _evict(self, now: float) -> int:
        leaves = random.sample(LEAVES, len(LEAVES))
        candidates: list[_Candidate] = []
        while leaves and len(candidates) < SAMPLE:
            name = leaves.pop()
            if self._counts.get(name) == _Count():
                continue
            entries = self._count(name, now)
            leaf = self._tree.leaf(name)
            if leaf is not None:
                candidates += (_candidate(leaf, entry, now) for entry in entries)
        if not self._exceeds_bounds():
            return 0
        candidates.sort()
        excess, most = self._excess(), max(1, len(candidates) // 4) if leaves else len(candidates)
        evicted, freed = 0, 0
        for candidate in candidates:
            is_enough = freed >= excess.bytes and evicted >= excess.entries
            if is_enough or (evicted >= most and candidate.is_of_use):
                break
            if self._total.entries == 1 and not self._exceeds_bounds():
                break
            leaf = self._tree.leaf(candidate.name)
            if leaf is not None and drop(leaf, candidate.name) is not None:
                evicted += 1
                freed += candidate.size
                self.wrote(candidate.name, -candidate.size, -1)
        return evicted


def _candidate(leaf: Directory, entry: _File, now: float) -> _Candidate:
    seen = see(leaf, entry.name)
    size = entry.size if seen is None else seen.disk_bytes
    is_of_use = seen is not None and seen.head.until > now
    return _Candidate(is_of_use, entry.changed_at, entry.name, size)


def _files(leaf: Directory) -> tuple[list[_File], list[_File]]:
    """The files of entries, and the other files of the cache, in a leaf."""
    entries: list[_File] = []
    others: list[_File] = []
    for name in leaf.names():
        is_entry = ENTRY.fullmatch(name) is not None
        if is_entry or BODY.fullmatch(name) or LEFT_OVER.fullmatch(name):
            with suppress(OSError):  # gone meanwhile
                status = leaf.status_of(name)
                file = _File(name, disk_bytes(status.st_size), status.st_mtime)
                (entries if is_entry else others).append(file)
    return entries, others


def _remove_if_old(leaf: Directory, file: _File, entries: set[str], now: float) -> bool:
    """Remove *file* if it is old and belongs to no entry; return whether it is gone."""
    age_s = now - file.changed_at
    if age_s <= (LEASE_AFTER_S if file.name.endswith(".lease") else ORPHAN_AFTER_S):
        return False
    if BODY.fullmatch(file.name) and _is_wanted(leaf, file.name, entries):
        return False
    with suppress(OSError):
        return drop_unused(leaf, file.name)
    return True


def _is_counted(file: _File, entries: set[str]) -> bool:
    """Whether *file* counts towards the bounds.

    A body without its entry does not: it goes with its last reader, and no eviction can make room by it.
    """
    return BODY.fullmatch(file.name) is None or (entry_of(file.name) in entries and not is_dropped(file.changed_at))


def _is_wanted(leaf: Directory, body: str, entries: set[str]) -> bool:
    name = entry_of(body)
    seen = see(leaf, name) if name in entries else None
    return seen is not None and body == body_name(name, seen.head.token)
