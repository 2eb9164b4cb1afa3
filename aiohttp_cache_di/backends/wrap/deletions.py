"""`Deletions`: what was deleted or replaced by a user while a request was under way, in one event loop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Generator
from contextlib import contextmanager
from typing import Final

__all__ = ["Deletions"]

MAX_KEYS: Final = 10_000  # that are remembered; with one more, all keys count as deleted, and the table begins anew


class Deletions:
    """The latest deletions in one event loop, and writes by users: each deletes what was stored before.

    A request takes the `count` before it reads an entry. Before it writes the entry again, `has` tells whether that was
    deleted meanwhile, or is being deleted: then it would be written after its deletion.
    """

    def __init__(self) -> None:
        self.count: int = 0
        """How many deletions there were."""
        self._of_all = 0
        self._latest: dict[str, int] = {}
        self._under_way: Counter[str | None] = Counter()  # None: of all keys

    def note(self, keys: Collection[str] | None) -> None:
        """Note that what is stored under *keys* (None: all) is deleted."""
        self.count += 1
        if keys is None or len(self._latest) + len(keys) > MAX_KEYS:
            self._of_all = self.count
            self._latest.clear()
        else:
            self._latest.update(dict.fromkeys(keys, self.count))

    def begin(self, keys: Collection[str] | None) -> None:
        """Note that the deletion of *keys* (None: all) begins; `end` must follow."""
        self._under_way.update((None,) if keys is None else keys)

    def end(self, keys: Collection[str] | None) -> None:
        """Note that the deletion of *keys*, which has begun, is over."""
        for key in (None,) if keys is None else keys:
            if self._under_way[key] > 1:
                self._under_way[key] -= 1
            else:
                del self._under_way[key]
        self.note(keys)

    @contextmanager
    def during(self, keys: Collection[str] | None) -> Generator[None]:
        """Inside the ``with`` statement, *keys* are being deleted."""
        self.begin(keys)
        try:
            yield
        finally:
            self.end(keys)

    def is_under_way(self, key: str) -> bool:
        """Whether *key* is being deleted."""
        under_way = self._under_way
        return bool(under_way) and (key in under_way or None in under_way)

    def has(self, key: str, *, after: int) -> bool:
        """Whether *key* was deleted after the `count` was *after*, or is being; perhaps also if many others were."""
        return self._of_all > after or self._latest.get(key, 0) > after or self.is_under_way(key)
