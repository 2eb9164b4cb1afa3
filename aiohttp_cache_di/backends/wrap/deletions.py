"""`Deletions`: what was deleted or replaced by a user while a request was under way, in one event loop."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

__all__ = ["Deletions"]

MAX_KEYS: Final = 10_000  # that are remembered; with one more, all keys count as deleted, and the table begins anew


class Deletions:
    """The latest deletions in one event loop, and writes by users: each deletes what was stored before.

    A request takes the `count` before it reads an entry. Before it writes the entry again, `has` tells whether that was
    deleted meanwhile.
    """

    def __init__(self) -> None:
        self.count: int = 0
        """How many deletions there were."""
        self._of_all = 0
        self._latest: dict[str, int] = {}

    def note(self, keys: Collection[str] | None) -> None:
        """Note that what is stored under *keys* (None: all) is deleted."""
        self.count += 1
        if keys is None or len(self._latest) + len(keys) > MAX_KEYS:
            self._of_all = self.count
            self._latest.clear()
        else:
            self._latest.update(dict.fromkeys(keys, self.count))

    def has(self, key: str, *, after: int) -> bool:
        """Whether *key* was deleted after the `count` was *after*; perhaps also if many others were."""
        return self._of_all > after or self._latest.get(key, 0) > after
