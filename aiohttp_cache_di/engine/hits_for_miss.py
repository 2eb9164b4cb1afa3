"""`HitsForMiss`: for which keys it is of no use to wait for the response to another request."""

from __future__ import annotations

import time
from typing import Final

from aiohttp_cache_di.backends.bounded import Bounded

__all__ = ["HitsForMiss"]

MAX_KEYS: Final = 10_000
KEPT_S: Final = 30.0


class HitsForMiss(Bounded[str, float]):
    """Keys whose latest response could not be shared: for `KEPT_S`, requests for them do not wait for each other."""

    def __init__(self) -> None:
        super().__init__(MAX_KEYS)

    def add(self, key: str) -> None:
        """Remember that the response to *key* could not be shared."""
        self.note(key, time.monotonic() + KEPT_S)

    def has(self, key: str) -> bool:
        """Whether the latest response to *key* could not be shared, and that is still remembered."""
        until = self.get(key)
        if until is None:
            return False
        if time.monotonic() < until:
            return True
        del self[key]
        return False
