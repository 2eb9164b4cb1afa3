"""`Bounded`: a table that remembers the latest keys, such as those that were found to be missing."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, TypeVar

__all__ = ["MAX_HELD", "Bounded"]

MAX_HELD: Final = 10_000
"""Leases whose tokens are remembered: no more requests are under way at once, and other leases expire by themselves."""

K = TypeVar("K")
V = TypeVar("V")


class Bounded(OrderedDict[K, V]):
    """A table with a greatest number of keys; when it is exceeded, the keys that were noted longest ago are dropped.

    Event loops in several threads may use it at once.

    Args:
        most: the greatest number of keys.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def __repr__(self) -> str:
        return f"<{type(self).__name__} with {len(self)} keys>"  # they may contain secrets

    def note(self, key: K, value: V) -> None:
        """Set *key* to *value*."""
        self[key] = value
        try:  # suppress() would cost each noted key a microsecond
            self.move_to_end(key)
            if len(self) > self._most:
                self.popitem(last=False)
        except KeyError:  # another thread has deleted the key meanwhile, or all keys
            pass
