"""Eviction: when a bound is exceeded or the disk is full, records go until there is room again.

They are chosen from random leaves: those that have expired or cannot be read first, then the least recently used. The
last use is the modification time of an entry's file.

The record of a purge has to outlive the entries that it applies to, which may be used again without it. So such records
do not count as entries and, until they expire, go only when nothing else is left.
"""

from __future__ import annotations

import errno
import random
import threading
import time
from typing import Final, NamedTuple

from aiohttp_cache_di.backends.filesystem.eviction.counting import Count, Counts, File
from aiohttp_cache_di.backends.filesystem.places.directory import Directory
from aiohttp_cache_di.backends.filesystem.places.names import LEAVES, is_name_of_mark
from aiohttp_cache_di.backends.filesystem.places.tree import Tree
from aiohttp_cache_di.backends.filesystem.records.files import drop, see
from aiohttp_cache_di.backends.forks import note_forks
from aiohttp_cache_di.backends.store.sizes import Bounds

__all__ = ["Evictor"]

STEP_S: Final = 0.005
SHARE: Final = 20  # one in so many parts of a thread's time is for counting, and only while something is written
MIN_REST_S: Final = 0.02
LAST_BEYOND: Final = 64  # a single entry may exceed the bound by one in so many parts, for what is not its body
SAMPLE: Final = 64  # candidates, of which some are evicted
FULL_SHARE: Final = 16  # one in so many parts of the files' size is evicted when the disk is full
FULL_EVERY_S: Final = 1.0  # least interval of that, so that an entry larger than the disk does not evict all others
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class _Candidate(NamedTuple):
    """A record that may be evicted; sorted, the first one is evicted first."""

    is_of_use: bool
    used_at: float
    name: str
    disk_bytes: int


class Evictor:
    """Counts and evicts, in threads, one step at a time.

    Args:
        tree: the cache's directories.
        bounds: the limits.
    """

    def __init__(self, tree: Tree, bounds: Bounds) -> None:
        self.counts: Counts = Counts(tree)
        self._tree = tree
        self._bounds = bounds
        self._rest_until = 0.0
        self._is_full = False
        self._full_again_at = 0.0
        self.after_fork()
        note_forks(self)

    def after_fork(self) -> None:
        """Make a new lock, at first and in a forked child, where a thread of the parent may hold the old one."""
        self._stepping = threading.Lock()

    def note_failed(self, error: OSError) -> None:
        """Make room with the next step if a write has failed with *error* because the disk is full."""
        if error.errno in _FULL and time.monotonic() >= self._full_again_at:
            self._is_full = True

    @property
    def is_due(self) -> bool:
        """Whether a step may be taken now."""
        return self._must_evict() or time.monotonic() >= self._rest_until

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
        evicted = self._evict(now) if self._must_evict() else 0
        if self._is_full:
            self._is_full, self._full_again_at = False, began_at + FULL_EVERY_S
        self.counts.count_until(began_at + STEP_S, now)
        ended_at = time.monotonic()
        self._rest_until = ended_at + max(MIN_REST_S, SHARE * (ended_at - began_at))
        return evicted, not self.counts.are_complete or self._must_evict()

    def _must_evict(self) -> bool:
        (max_bytes, max_entries), total = self._bounds, self.counts.total
        if self._is_full:
            return True
        if max_bytes is not None and total.entries == 1:
            max_bytes += max_bytes // LAST_BEYOND  # so that a body as large as the bound may be the only entry
        return (max_bytes is not None and total.bytes > max_bytes) or (
            max_entries is not None and total.entries > max_entries
        )

    def _excess(self) -> Count:
        """How much has to be evicted for the bounds that are exceeded."""
        (max_bytes, max_entries), total = self._bounds, self.counts.total
        excess_bytes = 1 + total.bytes // FULL_SHARE if self._is_full else 0
        if max_bytes is not None and total.bytes > max_bytes:
            excess_bytes = total.bytes - int(self._bounds.low_bytes)
        is_exceeded = max_entries is not None and total.entries > max_entries
        return Count(excess_bytes, total.entries - int(self._bounds.low_entries) if is_exceeded else 0)

    def _evict(self, now: float) -> int:
        candidates, are_all = self._candidates(now)
        if not self._must_evict():  # by the counts of the leaves that were just counted
            return 0
        excess, most = self._excess(), len(candidates) if are_all else max(1, len(candidates) // 4)
        evicted, freed = 0, 0
        for candidate in candidates:
            is_enough = freed >= excess.bytes and evicted >= excess.entries
            if is_enough or (evicted >= most and candidate.is_of_use):
                break
            if self.counts.total.entries == 1 and not self._must_evict():
                break
            leaf = self._tree.leaf(candidate.name)
            if leaf is not None and drop(leaf, candidate.name) is not None:
                evicted += 1
                freed += candidate.disk_bytes
                self.counts.add(candidate.name, -candidate.disk_bytes, -1)
        return evicted

    def _candidates(self, now: float) -> tuple[list[_Candidate], bool]:
        """The records of random leaves, in the order in which they are evicted, and whether these are all there are.

        Those of purges that have not expired are among them only if there are no others.
        """
        leaves = random.sample(LEAVES, len(LEAVES))
        found: list[_Candidate] = []
        marks: list[_Candidate] = []
        while leaves and len(found) < SAMPLE:
            name = leaves.pop()
            if self.counts.is_empty(name):
                continue
            entries = self.counts.count(name, now)
            leaf = self._tree.leaf(name)
            if leaf is None:
                continue
            for entry in entries:
                is_mark = is_name_of_mark(entry.name)
                if is_mark and len(marks) >= SAMPLE:  # there may be very many, and each is read
                    continue
                candidate = _candidate(leaf, entry, now)
                (marks if is_mark and candidate.is_of_use else found).append(candidate)
        return sorted(found or marks), not leaves


def _candidate(leaf: Directory, entry: File, now: float) -> _Candidate:
    seen = see(leaf, entry.name)
    if seen is None:
        return _Candidate(False, entry.changed_at, entry.name, entry.disk_bytes)
    return _Candidate(seen.head.until > now, entry.changed_at, entry.name, seen.disk_bytes)
