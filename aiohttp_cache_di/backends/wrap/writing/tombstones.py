"""Keys whose deletion failed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from typing import Final

__all__ = ["Tombstones"]

MAX_TOMBSTONES: Final = 100_000


class Tombstones(OrderedDict[str, None]):
    """Keys whose deletion failed: what is stored under them is not to be used any more."""

    def add(self, keys: Collection[str]) -> None:
        """Add *keys*; the oldest go when there are too many."""
        self.update(dict.fromkeys(keys))
        while len(self) > MAX_TOMBSTONES:
            self.popitem(last=False)
