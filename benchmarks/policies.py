"""The eviction policies that `simulation` compares, in their simplest form, with bounds in bytes."""

from __future__ import annotations

import itertools
import random
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from aiohttp_cache_di.backends.eviction import NEARLY_FULL, EvictionOrder

__all__ = ["POLICIES", "Policy"]

SAMPLES: Final = 16


class Policy(Protocol):
    """The entries of a cache, and which of them to evict next. It is notified of each request."""

    def __contains__(self, key: str) -> bool: ...
    def used(self, key: str) -> None: ...
    def add(self, key: str, size: int) -> None: ...
    def drop(self, key: str) -> None: ...
    def evict(self) -> None: ...
    @property
    def total(self) -> int: ...


class LRU:
    """Evicts the least recently used entry, as our SQLite store does."""

    def __init__(self, bound: int) -> None:
        self.sizes: OrderedDict[str, int] = OrderedDict()
        self.total = 0

    def __contains__(self, key: str) -> bool:
        return key in self.sizes

    def used(self, key: str) -> None:
        self.sizes.move_to_end(key)

    def add(self, key: str, size: int) -> None:
        self.sizes[key] = size
        self.total += size

    def drop(self, key: str) -> None:
        self.total -= self.sizes.pop(key, 0)

    def evict(self) -> None:
        self.drop(next(iter(self.sizes)))


class Ours(LRU):
    """The policy of our store in memory and of the near tiers."""

    def __init__(self, bound: int) -> None:
        super().__init__(bound)
        self._bound = bound
        self._order = EvictionOrder(self.sizes)

    def used(self, key: str) -> None:
        self._order.used(key)

    def add(self, key: str, size: int) -> None:
        super().add(key, size)
        self._order.came(key, size, has_room=self.total < NEARLY_FULL * self._bound, total=self.total)

    def drop(self, key: str) -> None:
        super().drop(key)
        self._order.went(key)

    def evict(self) -> None:
        self.drop(self._order.next_to_go(self.total))


class Sampled(LRU):
    """Evicts the least recently used of 16 random entries, as our store in files does."""

    def __init__(self, bound: int) -> None:
        super().__init__(bound)
        self._keys: list[str] = []
        self._used: dict[str, int] = {}
        self._now = itertools.count()
        self._random = random.Random(1)  # seeded, so that results are reproducible

    def used(self, key: str) -> None:
        self._used[key] = next(self._now)

    def add(self, key: str, size: int) -> None:
        super().add(key, size)
        self._keys.append(key)
        self.used(key)

    def evict(self) -> None:
        picked: list[str] = []
        while len(picked) < SAMPLES and self._keys:
            place = self._random.randrange(len(self._keys))
            key = self._keys[place]
            if key in self.sizes:
                picked.append(key)
            else:  # dropped meanwhile
                self._keys[place] = self._keys[-1]
                self._keys.pop()
            if len(self.sizes) < SAMPLES and len(picked) >= len(self.sizes):
                break
        self.drop(min(picked, key=self._used.__getitem__))


class Sieve(LRU):
    """SIEVE: a queue with a mark on each used entry; a hand removes marks, and evicts an entry without one."""

    def __init__(self, bound: int) -> None:
        super().__init__(bound)
        self._marked: set[str] = set()
        self._hand: Iterator[str] = iter(())

    def used(self, key: str) -> None:
        self._marked.add(key)

    def evict(self) -> None:
        while True:
            for key in self._hand:
                if key not in self.sizes:
                    continue
                if key in self._marked:
                    self._marked.discard(key)
                    continue
                self.drop(key)
                return
            self._hand = iter(list(self.sizes))


class S3FIFO:
    """S3-FIFO: a small queue for new entries (10 %), a large one, and the keys that the small one has evicted."""

    def __init__(self, bound: int) -> None:
        self._small_bound = bound // 10
        self._sizes: dict[str, int] = {}
        self._uses: dict[str, int] = {}
        self._small: deque[str] = deque()
        self._large: deque[str] = deque()
        self._in_small: set[str] = set()
        self._small_total = 0
        self._ghosts: OrderedDict[str, None] = OrderedDict()
        self.total = 0

    def __contains__(self, key: str) -> bool:
        return key in self._sizes

    def used(self, key: str) -> None:
        self._uses[key] = min(3, self._uses[key] + 1)

    def add(self, key: str, size: int) -> None:
        self._sizes[key], self._uses[key] = size, 0
        self.total += size
        if key in self._ghosts:
            del self._ghosts[key]
            self._large.append(key)
        else:
            self._small.append(key)
            self._in_small.add(key)
            self._small_total += size

    def drop(self, key: str) -> None:
        size = self._sizes.pop(key, 0)
        self.total -= size
        if key in self._in_small:
            self._in_small.discard(key)
            self._small_total -= size

    def evict(self) -> None:
        before = self.total
        while self.total == before:
            if self._small_total > self._small_bound or not self._large:
                self._evict_small()
            else:
                self._evict_large()

    def _evict_small(self) -> None:
        while self._small:
            key = self._small.popleft()
            if key not in self._in_small:
                continue
            if self._uses[key] > 1:
                self._in_small.discard(key)
                self._small_total -= self._sizes[key]
                self._large.append(key)
                continue
            self.drop(key)
            self._ghosts[key] = None
            if len(self._ghosts) > max(1, len(self._sizes)):
                self._ghosts.popitem(last=False)
            return

    def _evict_large(self) -> None:
        while self._large:
            key = self._large.popleft()
            if key not in self._sizes or key in self._in_small:
                continue
            if self._uses[key]:
                self._uses[key] -= 1
                self._large.append(key)
                continue
            self.drop(key)
            return


class WTinyLFU:
    """W-TinyLFU: a window (1 %) before an LRU, which admits an entry only if it is used more often than its victim."""

    def __init__(self, bound: int) -> None:
        self._window, self._main = LRU(bound), LRU(bound)
        self._window_bound = bound // 100
        self._main_bound = bound - self._window_bound
        self._counts: dict[str, int] = {}
        self._counted = 0

    @property
    def total(self) -> int:
        return self._window.total + self._main.total

    def __contains__(self, key: str) -> bool:
        return key in self._main or key in self._window

    def used(self, key: str) -> None:
        self._count(key)
        (self._window if key in self._window else self._main).used(key)

    def add(self, key: str, size: int) -> None:
        self._count(key)
        self._window.add(key, size)
        while self._window.total > self._window_bound and self._admit(forced=False):
            pass

    def drop(self, key: str) -> None:
        self._window.drop(key)
        self._main.drop(key)

    def evict(self) -> None:
        if self._window.total > self._window_bound or not self._main.sizes:
            self._admit(forced=True)
        else:
            self._main.evict()

    def _admit(self, *, forced: bool) -> bool:
        """Move the window's oldest entry to the main part if it fits; else, if *forced*, evict the less used of two."""
        candidate, size = next(iter(self._window.sizes.items()))
        fits = self._main.total + size <= self._main_bound
        if not fits and not forced:
            return False
        if not fits and self._main.sizes:
            victim = next(iter(self._main.sizes))
            if self._counts.get(candidate, 0) <= self._counts.get(victim, 0):
                self._window.drop(candidate)
                return True
            self._main.drop(victim)
        elif not fits:
            self._window.drop(candidate)
            return True
        self._window.drop(candidate)
        self._main.add(candidate, size)
        return True

    def _count(self, key: str) -> None:
        self._counts[key] = min(15, self._counts.get(key, 0) + 1)
        self._counted += 1
        if self._counted >= 10 * max(1_000, len(self._main.sizes)):  # so that old uses count less
            self._counted = 0
            self._counts = {one: count // 2 for one, count in self._counts.items() if count > 1}


POLICIES: Final[dict[str, Callable[[int], Policy]]] = {
    "here, in memory": Ours,
    "LRU (SQLite)": LRU,
    "LRU of 16 samples (files)": Sampled,
    "SIEVE": Sieve,
    "S3-FIFO": S3FIFO,
    "W-TinyLFU": WTinyLFU,
}
