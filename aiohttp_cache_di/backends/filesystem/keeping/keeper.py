"""Keeping a cache within its bounds, without an index: what is there is counted leaf by leaf, again and again.

What this process writes is added at once; what others write is found when its leaf is counted next. Counting takes at
most a twentieth of one thread's time, and only while something is written. Whatever is found to be a remnant on the way
(of a process that died while it wrote, or of two that replaced an entry at once) is removed when it is old.

When a bound is passed, or the disk is full, some leaves are drawn. Of the records in them, those that have expired or
cannot be read go first, then those whose last use, noted in the time of their file's last change, lies farthest back.
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

__all__ = ["Bounds", "Keeper"]

LOW_WATER: Final = 0.97  # evict down to this share of a bound, so that not every write evicts
EXACT_BELOW: Final = 100  # entries; a bound below it is kept exactly
STEP_S: Final = 0.005
SHARE: Final = 20  # of the time, one part is for counting
MIN_REST_S: Final = 0.02
LAST_BEYOND: Final = 64  # of the bound, the part that the last entry may take beyond it, for what is not its body
SAMPLE: Final = 64  # records of which some go
TRIES: Final = 3
FULL_SHARE: Final = 16  # of what is there, one part goes where the disk is full
FULL_EVERY_S: Final = 1.0  # at most: what is too large for the disk is not to cost all the others
LEASE_AFTER_S: Final = 3600.0
ORPHAN_AFTER_S: Final = 300.0  # since it was last written to, and unless a lock tells that its writer or a reader lives
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class Bounds(NamedTuple):
    """What a cache may hold; None for no bound."""

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
    """A record that may go; the least of them goes first."""

    is_of_use: bool
    used_at: float
    name: str
    size: int


class Keeper:
    """Counts and evicts, in threads, one step at a time.

    Args:
        tree: where the files are.
        bounds: what is allowed.
    """

    def __init__(self, tree: Tree, bounds: Bounds) -> None:
        self._tree = tree
        self._bounds = bounds
        self._counts: dict[str, _Count] = {}
        self._total = _Count()
        self._written: set[str] = set()  # leaves, since they were last looked at
        self._next = random.randrange(len(LEAVES))  # noqa: S311  # processes that start together begin apart
        self._rest_until = 0.0
        self._is_full = False
        self._full_again_at = 0.0
        self.begin_anew()

    def begin_anew(self) -> None:
        """Free the locks: a parent process's threads held them."""
        self._adding = threading.Lock()
        self._stepping = threading.Lock()

    def wrote(self, name: str, more_bytes: int, more_entries: int) -> None:
        """Add what was written for the entry of that *name*, and take away what it replaced."""
        leaf = name[:2]
        with self._adding:
            self._written.add(leaf)
            before = self._counts.get(leaf)
            if before is not None:
                self._set(leaf, _Count(before.bytes + more_bytes, before.entries + more_entries))

    def note_failed(self, error: OSError) -> None:
        """Something could not be written; if the disk is full, make room with the next step."""
        if error.errno in _FULL and time.monotonic() >= self._full_again_at:
            self._is_full = True

    @property
    def is_due(self) -> bool:
        """Whether a step may be taken now."""
        return self._is_over() or time.monotonic() >= self._rest_until

    def step(self, now: float) -> tuple[int, bool]:
        """Count for a moment, and evict if need be; *now* is POSIX time.

        Returns:
            How many records went, and whether to go on at once.
        """
        if not self._stepping.acquire(blocking=False):  # for another loop
            return 0, False
        try:
            return self._step(now)
        finally:
            self._stepping.release()

    def _step(self, now: float) -> tuple[int, bool]:
        began_at = time.monotonic()
        evicted = self._evict(now) if self._is_over() else 0
        if self._is_full:
            self._is_full, self._full_again_at = False, began_at + FULL_EVERY_S
        while time.monotonic() < began_at + STEP_S:
            self._count(LEAVES[self._next], now)
            self._next = (self._next + 1) % len(LEAVES)
            if self._next == 0 and len(self._counts) == len(LEAVES):
                break
        ended_at = time.monotonic()
        self._rest_until = ended_at + max(MIN_REST_S, SHARE * (ended_at - began_at))
        return evicted, len(self._counts) < len(LEAVES) or self._is_over()

    # ---- counting

    def _is_over(self) -> bool:
        max_bytes, max_entries = self._bounds
        if self._is_full:
            return True
        if max_bytes is not None and self._total.entries == 1:
            max_bytes += max_bytes // LAST_BEYOND  # a body that is as large as the bound is of use, without any other
        return (max_bytes is not None and self._total.bytes > max_bytes) or (
            max_entries is not None and self._total.entries > max_entries
        )

    def _excess(self) -> _Count:
        """What has to go for the bounds that are passed."""
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
        """Count what is in a leaf, and remove remnants from it; return the entries' files."""
        tries_left = TRIES
        while True:
            tries_left -= 1
            self._written.discard(name)
            entries, others = self._found(name, now)
            with self._adding:
                if name not in self._written or not tries_left:  # else what was written meanwhile may not be among them
                    self._set(name, _Count(sum(each.size for each in (*entries, *others)), len(entries)))
                    return entries

    def _found(self, name: str, now: float) -> tuple[list[_File], list[_File]]:
        leaf = self._tree.leaf(name)
        if leaf is None:
            return [], []
        entries, others = _files(leaf)
        known = {entry.name for entry in entries}
        others = [other for other in others if not _swept(leaf, other, known, now)]
        return entries, [other for other in others if _counts(other, known)]

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
        if not self._is_over():
            return 0
        candidates.sort()
        excess, most = self._excess(), max(1, len(candidates) // 4) if leaves else len(candidates)
        evicted, freed = 0, 0
        for candidate in candidates:
            is_enough = freed >= excess.bytes and evicted >= excess.entries
            if is_enough or (evicted >= most and candidate.is_of_use):
                break
            if self._total.entries == 1 and not self._is_over():
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
    """Entries' files, and others of ours."""
    entries: list[_File] = []
    others: list[_File] = []
    for name in leaf.names():
        is_entry = ENTRY.fullmatch(name) is not None
        if is_entry or BODY.fullmatch(name) or LEFT_OVER.fullmatch(name):
            with suppress(OSError):  # it has gone meanwhile
                status = leaf.status_of(name)
                file = _File(name, disk_bytes(status.st_size), status.st_mtime)
                (entries if is_entry else others).append(file)
    return entries, others


def _swept(leaf: Directory, file: _File, entries: set[str], now: float) -> bool:
    """Remove what belongs to no entry, if it is old; tell whether it was."""
    age_s = now - file.changed_at
    if age_s <= (LEASE_AFTER_S if file.name.endswith(".lease") else ORPHAN_AFTER_S):
        return False
    if BODY.fullmatch(file.name) and _is_wanted(leaf, file.name, entries):
        return False
    with suppress(OSError):
        return drop_unused(leaf, file.name)
    return True


def _counts(file: _File, entries: set[str]) -> bool:
    """Whether it is of the room that evicting makes: a body without its entry is not, which goes with its readers."""
    return BODY.fullmatch(file.name) is None or (entry_of(file.name) in entries and not is_dropped(file.changed_at))


def _is_wanted(leaf: Directory, body: str, entries: set[str]) -> bool:
    name = entry_of(body)
    seen = see(leaf, name) if name in entries else None
    return seen is not None and body == body_name(name, seen.head.token)
