"""Keys whose deletion failed."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from aiohttp_cache_di.backends.bounded import Bounded

__all__ = ["Tombstones"]

MAX_TOMBSTONES: Final = 100_000


class Tombstones(Bounded[str, None]):
    """Keys whose deletion failed; what is stored under them must not be used. A new write of a key removes it."""

    def __init__(self) -> None:
        super().__init__(MAX_TOMBSTONES)

    def add(self, keys: Collection[str]) -> None:
        """Add *keys*."""
        for key in keys:
            self.note(key, None)
