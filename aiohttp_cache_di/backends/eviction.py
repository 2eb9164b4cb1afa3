"""Which entry of a bounded table is evicted next: S3-FIFO (Yang et al., SOSP 2023), kept beside the table.

A new entry is on trial: it waits in a small queue, with a tenth of the table's weight. If it is used there, it moves to
the main queue. If not, it is evicted first, but a hash of its key is kept (a *ghost*): if the key is soon added again,
it goes straight to the main queue. In the main queue (first in, first out), an entry that was used since its last turn
gets another one. So entries that are used once do not evict those that are used often, as they do with LRU. A use is
recorded as membership of a set; counting uses up to three, as S3-FIFO does, changes the hit ratio by half a percentage
point (`benchmarks/simulation.py`).
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Final, Generic, TypeVar

__all__ = ["NEARLY_FULL", "EvictionOrder"]

K = TypeVar("K", bound=Hashable)

TRIAL_SHARE: Final = 10  # new entries have 1/TRIAL_SHARE of the weight
NEARLY_FULL: Final = 0.9  # of a bound; below it, nothing has to be evicted soon
FEW: Final = 100
MAX_SPARED: Final = 1000  # entries that get another turn during one eviction, since others wait for it
LEAST_PLACES: Final = 256  # for hashes of evicted keys; a larger table has one or two places for each entry


class EvictionOrder(Generic[K]):
    """The order of eviction of *table*. Its owner reports each entry that is added, used and removed.

    Not thread-safe, except `used`: losing a use does no harm.
    """

    __slots__ = ("_ghosts", "_has_ghosts", "_newest", "_on_trial", "_table", "_trial_weight", "_used", "used")

    def __init__(self, table: OrderedDict[K, Any]) -> None:
        self._table = table
        self._on_trial: OrderedDict[K, int] = OrderedDict()  # the weight of each
        self._trial_weight = 0
        self._newest: K | None = None
        self._used: set[K] = set()
        self.used: Callable[[K], None] = self._used.add
        """Report that a key was used; called on each hit, so it is the bare method of a set."""
        self._has_ghosts = False
        self._ghosts = array("I", bytes(4 * LEAST_PLACES))  # hashes of evicted keys, each at an index made from it

    def came(self, key: K, weight: int, *, has_room: bool = False, total: int = 0) -> None:
        """Report that *key* was added to the table.

        Args:
            weight: the weight of the entry.
            has_room: nothing has to be evicted soon, so the oldest entries on trial may move to the main queue. With
                `FEW` entries or less all stay on trial: then the oldest that was not used is evicted first.
            total: the weight of the table now; only needed if *has_room*.
        """
        self._newest = key
        on_trial = self._on_trial
        if not self._has_ghosts or not self._take_ghost(key):
            on_trial[key] = weight
            self._trial_weight += weight
        if has_room and len(on_trial) > FEW:
            while self._trial_weight * TRIAL_SHARE > total and len(on_trial) > FEW:
                self._trial_weight -= on_trial.popitem(last=False)[1]

    def went(self, key: K) -> None:
        """Report that *key* was removed from the table."""
        self._used.discard(key)
        self._end_trial(key)

    def next_to_go(self, total: int) -> K:
        """The key of the entry to evict next; it is not the newest one, if there is another.

        Args:
            total: the weight of the table, which is not empty.
        """
        table, on_trial, used = self._table, self._on_trial, self._used
        if len(used) > len(table):  # another thread has reported uses of keys that were just removed
            used.intersection_update(table)
        for _ in range(min(MAX_SPARED, 5 * len(table))):
            key = next(iter(on_trial), self._newest)
            if self._trial_weight * TRIAL_SHARE > total and key != self._newest and key is not None:
                if key not in used:
                    self._add_ghost(key)
                    return key
                self._end_trial(key)
                used.discard(key)
            else:
                key = next(iter(table))
                if key not in on_trial and key != self._newest:
                    if key not in used:
                        return key
                    used.discard(key)
            table.move_to_end(key)
        return next(iter(table))

    def clear(self, table: OrderedDict[K, Any]) -> None:
        """Begin again with *table*, which is empty."""
        self._table = table
        self._on_trial.clear()
        self._used.clear()
        self._trial_weight = 0

    def _end_trial(self, key: K) -> None:
        self._trial_weight -= self._on_trial.pop(key, 0)

    def _add_ghost(self, key: K) -> None:
        if len(self._table) > len(self._ghosts):
            self._ghosts = array("I", bytes(8 * len(self._ghosts)))
        self._has_ghosts = True
        place, mark = self._mark(key)
        self._ghosts[place] = mark

    def _take_ghost(self, key: K) -> bool:
        """Whether *key* was evicted lately; its ghost is removed."""
        place, mark = self._mark(key)
        if self._ghosts[place] != mark:
            return False
        self._ghosts[place] = 0
        return True

    def _mark(self, key: K) -> tuple[int, int]:
        known = hash(key)
        return known % len(self._ghosts), (known >> 32) & 0xFFFFFFFF or 1
