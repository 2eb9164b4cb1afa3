"""Keys whose deletion failed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from typing import Final

__all__ = ["Tombstones"]

MAX_TOMBSTONES: Final = 100_000


class Tombstones(OrderedDict[str, None]):
    """Keys whose deletion failed; what is stored under them must not be used. A new write of a key removes it."""

    def add(self, keys: Collection[str]) -> None:
        """Add *keys*; if there are too many, the oldest are dropped."""
        self.update(dict.fromkeys(keys))
        while len(self) > MAX_TOMBSTONES:
            self.popitem(last=False)
