"""When the uses of entries were recorded in their files."""

from __future__ import annotations

import time
from typing import Final

from aiohttp_cache_di.backends.bounded import Bounded

__all__ = ["Uses"]

NOTED_EVERY_S: Final = 60.0
MAX_REMEMBERED: Final = 16_384


class Uses:
    """When this process recorded uses of entries, for threads."""

    def __init__(self) -> None:
        self._noted: Bounded[str, float] = Bounded(MAX_REMEMBERED)

    def is_new(self, name: str) -> bool:
        """Whether a use of the entry *name* has to be recorded now; at most once in `NOTED_EVERY_S`."""
        noted_at = self._noted.get(name)
        if noted_at is not None and time.monotonic() - noted_at < NOTED_EVERY_S:
            return False
        self.note(name)
        return True

    def note(self, name: str) -> None:
        """Note that a use of the entry *name* has been recorded."""
        self._noted.note(name, time.monotonic())
