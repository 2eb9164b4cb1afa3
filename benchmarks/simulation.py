"""Hit ratio against size, by simulation: what is evicted here, and others: ``python -m benchmarks.simulation``.

The requests are made up, from a seed: popularity by Zipf's law, sizes and lifetimes as APIs and sites have them, and a
share of URLs that are asked for once and never again (crawlers, searches). A hit is an entry that is there and fresh.
Policies are the published ones, in their simplest form, with the bounds in bytes; each drops what has expired first,
as the stores here do.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import random
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

URLS: Final = 50_000
REQUESTS: Final = 400_000
PER_SECOND: Final = 200.0
ONCE: Final = 0.1  # of the requests are for a URL that nothing else asks for
LIFETIMES_S: Final = ((10, 0.10), (60, 0.20), (300, 0.30), (3_600, 0.25), (86_400, 0.15))
MEDIAN_BYTES, SPREAD = 6_000, 1.3  # of a log-normal distribution
SEED: Final = 20_260


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, when it comes, and what its response would be."""

    at: float
    key: int
    size: int
    lifetime_s: float


class Policy(Protocol):
    """Which entries are there. Told of each request; `evict` makes room for a new entry."""

    def __contains__(self, key: int) -> bool: ...
    def used(self, key: int) -> None: ...
    def add(self, key: int, size: int) -> None: ...
    def drop(self, key: int) -> None: ...
    def evict(self) -> None: ...
    @property
    def total(self) -> int: ...


class LRU:
    """What was used least recently goes first: what memory and SQLite do here."""

    def __init__(self, bound: int) -> None:
        self.sizes: OrderedDict[int, int] = OrderedDict()
        self.total = 0

    def __contains__(self, key: int) -> bool:
        return key in self.sizes

    def used(self, key: int) -> None:
        self.sizes.move_to_end(key)

    def add(self, key: int, size: int) -> None:
        self.sizes[key] = size
        self.total += size

    def drop(self, key: int) -> None:
        self.total -= self.sizes.pop(key, 0)

    def evict(self) -> None:
        self.drop(next(iter(self.sizes)))


class Sampled(LRU):
    """The least recently used of 16 that are picked at random: what files do here."""

    def __init__(self, bound: int) -> None:
        super().__init__(bound)
        self._keys: list[int] = []
        self._used: dict[int, int] = {}
        self._now = itertools.count()
        self._random = random.Random(SEED)  # a simulation

    def used(self, key: int) -> None:
        self._used[key] = next(self._now)

    def add(self, key: int, size: int) -> None:
        super().add(key, size)
        self._keys.append(key)
        self.used(key)

    def evict(self) -> None:
        picked: list[int] = []
        while len(picked) < 16 and self._keys:
            place = self._random.randrange(len(self._keys))
            key = self._keys[place]
            if key in self.sizes:
                picked.append(key)
            else:  # dropped meanwhile
                self._keys[place] = self._keys[-1]
                self._keys.pop()
            if len(self.sizes) < 16 and len(picked) >= len(self.sizes):
                break
        self.drop(min(picked, key=self._used.__getitem__))


class Sieve(LRU):
    """SIEVE: a queue, a mark for what was used, and a hand that takes marks away and evicts what has none."""

    def __init__(self, bound: int) -> None:
        super().__init__(bound)
        self._marked: set[int] = set()
        self._hand: Iterator[int] = iter(())

    def used(self, key: int) -> None:
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
    """S3-FIFO: a small queue for what is new (10 %), a large one, and the names of what the small one has let go."""

    def __init__(self, bound: int) -> None:
        self._small_bound = bound // 10
        self._sizes: dict[int, int] = {}
        self._uses: dict[int, int] = {}
        self._small: deque[int] = deque()
        self._large: deque[int] = deque()
        self._in_small: set[int] = set()
        self._small_total = 0
        self._ghosts: OrderedDict[int, None] = OrderedDict()
        self.total = 0

    def __contains__(self, key: int) -> bool:
        return key in self._sizes

    def used(self, key: int) -> None:
        self._uses[key] = min(3, self._uses[key] + 1)

    def add(self, key: int, size: int) -> None:
        self._sizes[key], self._uses[key] = size, 0
        self.total += size
        if key in self._ghosts:
            del self._ghosts[key]
            self._large.append(key)
        else:
            self._small.append(key)
            self._in_small.add(key)
            self._small_total += size

    def drop(self, key: int) -> None:
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
    """W-TinyLFU: a window (1 %) before an LRU, into which only what is asked for more often than its last is let."""

    def __init__(self, bound: int) -> None:
        self._window, self._main = LRU(bound), LRU(bound)
        self._window_bound = bound // 100
        self._main_bound = bound - self._window_bound
        self._counts: dict[int, int] = {}
        self._counted = 0

    @property
    def total(self) -> int:
        return self._window.total + self._main.total

    def __contains__(self, key: int) -> bool:
        return key in self._main or key in self._window

    def used(self, key: int) -> None:
        self._count(key)
        (self._window if key in self._window else self._main).used(key)

    def add(self, key: int, size: int) -> None:
        self._count(key)
        self._window.add(key, size)
        while self._window.total > self._window_bound and self._admit(forced=False):
            pass

    def drop(self, key: int) -> None:
        self._window.drop(key)
        self._main.drop(key)

    def evict(self) -> None:
        if self._window.total > self._window_bound or not self._main.sizes:
            self._admit(forced=True)
        else:
            self._main.evict()

    def _admit(self, *, forced: bool) -> bool:
        """Let the window's last into the main part if there is room; or if forced, let the less used of two go."""
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

    def _count(self, key: int) -> None:
        self._counts[key] = min(15, self._counts.get(key, 0) + 1)
        self._counted += 1
        if self._counted >= 10 * max(1_000, len(self._main.sizes)):  # age
            self._counted = 0
            self._counts = {one: count // 2 for one, count in self._counts.items() if count > 1}


POLICIES: Final[dict[str, Callable[[int], Policy]]] = {
    "LRU (memory, SQLite)": LRU,
    "LRU of 16 samples (files)": Sampled,
    "SIEVE": Sieve,
    "S3-FIFO": S3FIFO,
    "W-TinyLFU": WTinyLFU,
}


def requests(alpha: float, *, once: float = ONCE, seed: int = SEED) -> list[Asked]:
    """The made-up requests: *alpha* of Zipf's law, *once* the share of URLs that are asked for a single time."""
    chance = random.Random(seed)
    weights = list(itertools.accumulate(1 / rank**alpha for rank in range(1, URLS + 1)))
    popular = iter(chance.choices(range(URLS), cum_weights=weights, k=REQUESTS))
    spans, shares = zip(*LIFETIMES_S, strict=True)
    sizes = [max(200, int(chance.lognormvariate(0, SPREAD) * MEDIAN_BYTES)) for _ in range(URLS)]
    lifetimes = chance.choices(spans, shares, k=URLS)
    asked: list[Asked] = []
    at = 0.0
    for number in range(REQUESTS):
        at += chance.expovariate(PER_SECOND)
        if chance.random() < once:
            asked.append(Asked(at, URLS + number, sizes[number % URLS], lifetimes[number % URLS]))
        else:
            key = next(popular)
            asked.append(Asked(at, key, sizes[key], lifetimes[key]))
    return asked


def hit_ratio(policy: Policy, bound: int, asked: list[Asked]) -> float:
    """The share of *asked* that finds a fresh entry, with at most *bound* bytes of them."""
    fresh_until: dict[int, float] = {}
    expiries: list[tuple[float, int]] = []
    hits = 0
    for one in asked:
        if one.key in policy and fresh_until[one.key] > one.at:
            hits += 1
            policy.used(one.key)
            continue
        if one.key in policy:
            policy.drop(one.key)
        if one.size > bound:
            continue
        fresh_until[one.key] = one.at + one.lifetime_s
        heapq.heappush(expiries, (fresh_until[one.key], one.key))
        while policy.total + one.size > bound:
            if expiries and expiries[0][0] <= one.at:
                _, key = heapq.heappop(expiries)
                if key in policy and fresh_until[key] <= one.at:
                    policy.drop(key)
            else:
                policy.evict()
        policy.add(one.key, one.size)
    return hits / len(asked)


def table(alphas: tuple[float, ...], shares: tuple[float, ...]) -> list[str]:
    """The hit ratios as rows of a table in Markdown."""
    heads = [f"Zipf {alpha}, {share:.0%}" for alpha in alphas for share in shares]
    rows = {name: [] for name in POLICIES}  # type: dict[str, list[float]]
    for alpha in alphas:
        asked = requests(alpha)
        everything = sum({one.key: one.size for one in asked}.values())
        for share in shares:
            bound = int(everything * share)
            for name, make in POLICIES.items():
                rows[name].append(hit_ratio(make(bound), bound, asked))
    lines = [f"| | {' | '.join(heads)} |", "|---|" + "---:|" * len(heads)]
    lines += [f"| {name} | {' | '.join(f'{ratio:.1%}' for ratio in ratios)} |" for name, ratios in rows.items()]
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Hit ratios by policy and size.")
    parser.add_argument("--alphas", type=float, nargs="*", default=[0.7, 0.9, 1.1])
    parser.add_argument("--shares", type=float, nargs="*", default=[0.01, 0.05, 0.2])
    given = parser.parse_args()
    print("\n".join(table(tuple(given.alphas), tuple(given.shares))))
