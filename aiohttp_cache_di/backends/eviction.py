"""Which entry of a bounded table goes first: S3-FIFO (Yang et al., SOSP 2023), kept beside the table.

What is new is on trial, in a tenth of the weight. What is asked for meanwhile stays, in the order of arrival, and goes
round once more if it has been used since; what is not goes, and stays when it comes back soon. So what is asked for
once does not drive out what is asked for often, as it does where the least recently used goes first. A use is one mark
in a set: that S3-FIFO counts up to three makes half a point of difference (`benchmarks/simulation.py`).
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Final, Generic, TypeVar

__all__ = ["NEARLY_FULL", "EvictionOrder"]

K = TypeVar("K", bound=Hashable)

TRIAL_SHARE: Final = 10  # one in so many of the weight is for what is new
NEARLY_FULL: Final = 0.9  # of a bound; below it, there is room for all
FEW: Final = 100
MAX_SPARED: Final = 1000  # entries that get another turn at one eviction: it is to take no time in which others wait
LEAST_PLACES: Final = 256  # for marks of what has gone; else one for each entry of the table, or two


class EvictionOrder(Generic[K]):
    """The order of *table*, which its owner changes; the owner says here what comes, is used and goes.

    Not thread-safe, but for `used`: a use more or less makes no difference.
    """

    __slots__ = ("_gone", "_has_gone", "_newest", "_on_trial", "_table", "_trial_weight", "_used", "used")

    def __init__(self, table: OrderedDict[K, Any]) -> None:
        self._table = table
        self._on_trial: OrderedDict[K, int] = OrderedDict()  # and what each weighs
        self._trial_weight = 0
        self._newest: K | None = None
        self._used: set[K] = set()
        self.used: Callable[[K], None] = self._used.add
        """Tell that a key was asked for: on the way of each hit."""
        self._has_gone = False
        self._gone = array("I", bytes(4 * LEAST_PLACES))  # marks of names, each in the place that its hash says

    def came(self, key: K, weight: int, *, has_room: bool = False, total: int = 0) -> None:
        """*key* has just been put into the table, where it was not before.

        Args:
            has_room: there is room for all, in a table that weighs *total* by now: of what is on trial, let the oldest
                stay. Of few entries, all are on trial: then the oldest goes first that was not used.
        """
        self._newest = key
        on_trial = self._on_trial
        if not self._has_gone or not self._take_gone(key):
            on_trial[key] = weight
            self._trial_weight += weight
        if has_room and len(on_trial) > FEW:
            while self._trial_weight * TRIAL_SHARE > total and len(on_trial) > FEW:
                self._trial_weight -= on_trial.popitem(last=False)[1]

    def went(self, key: K) -> None:
        """*key* is no more in the table."""
        self._used.discard(key)
        self._end_trial(key)

    def next_to_go(self, total: int) -> K:
        """The key of the entry that is to go, of a table that is not empty and weighs *total*.

        It is not the one that has just come, if there is another.
        """
        table, on_trial, used = self._table, self._on_trial, self._used
        for _ in range(min(MAX_SPARED, 5 * len(table))):
            key = next(iter(on_trial), self._newest)
            if self._trial_weight * TRIAL_SHARE > total and key != self._newest and key is not None:
                if key not in used:
                    self._remember_gone(key)
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
        """The table is empty, and *table* from now on."""
        self._table = table
        self._on_trial.clear()
        self._used.clear()
        self._trial_weight = 0

    def _end_trial(self, key: K) -> None:
        self._trial_weight -= self._on_trial.pop(key, 0)

    def _remember_gone(self, key: K) -> None:
        if len(self._table) > len(self._gone):
            self._gone = array("I", bytes(8 * len(self._gone)))
        self._has_gone = True
        place, mark = self._mark(key)
        self._gone[place] = mark

    def _take_gone(self, key: K) -> bool:
        """Whether *key* has gone lately; it is then forgotten that it has."""
        place, mark = self._mark(key)
        if self._gone[place] != mark:
            return False
        self._gone[place] = 0
        return True

    def _mark(self, key: K) -> tuple[int, int]:
        known = hash(key)
        return known % len(self._gone), (known >> 32) & 0xFFFFFFFF or 1
