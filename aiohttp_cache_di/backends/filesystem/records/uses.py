"""When the uses of entries were recorded in their files."""

from __future__ import annotations

import time
from typing import Final

__all__ = ["Uses"]

NOTED_EVERY_S: Final = 60.0
MAX_REMEMBERED: Final = 16_384


class Uses:
    """When this process recorded uses of entries; threads share it, by atomic operations on a dictionary."""

    def __init__(self) -> None:
        self._noted: dict[str, float] = {}

    def is_new(self, name: str) -> bool:
        """Whether a use of the entry *name* has to be recorded now; at most once in `NOTED_EVERY_S`."""
        noted_at = self._noted.get(name)
        if noted_at is not None and time.monotonic() - noted_at < NOTED_EVERY_S:
            return False
        self.note(name)
        return True

    def note(self, name: str) -> None:
        """Note that a use of the entry *name* has been recorded."""
        if len(self._noted) >= MAX_REMEMBERED:
            self._noted = {}
        self._noted[name] = time.monotonic()
