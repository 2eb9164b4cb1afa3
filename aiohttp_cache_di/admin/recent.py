"""What a cache has done in the last minutes, in steps of a few seconds: for the plots and the busiest hosts."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from aiohttp_cache_di.backends.forks import note_forks
from aiohttp_cache_di.keys import host_of
from aiohttp_cache_di.telemetry import Decision, Observer
from aiohttp_cache_di.telemetry.measures import BOUNDS_S

__all__ = ["KEPT_S", "OTHERS", "STEP_S", "BusyHost", "Recent", "Sample"]

STEP_S: Final = 5
KEPT_S: Final = 900
HOSTS_STEP_S: Final = 60
MAX_HOSTS: Final = 256  # counted separately within a minute
OTHERS: Final = "(others)"
"""What further hosts are counted as."""

Counts = list[tuple[int, int]]
"""A histogram without its empty buckets: the index of each bucket in `BOUNDS_S`, and its count."""


class Sample(Struct, frozen=True):
    """What happened in one step.

    Args:
        at: POSIX time of its beginning, a multiple of `STEP_S`.
        results: the number of requests by result.
        cached: durations of requests that were answered from the cache alone.
        origin: durations of requests that were sent to the origin.
        store: durations of operations on the store.
        failed: the number of operations on the store that failed.
    """

    at: int
    results: dict[str, int]
    cached: Counts
    origin: Counts
    store: Counts
    failed: int


class BusyHost(Struct, frozen=True):
    """The latest requests to one upstream.

    Args:
        cached: how many of them were answered from the cache alone.
    """

    host: str
    requests: int
    cached: int


class _Step:
    __slots__ = ("at", "cached", "failed", "origin", "results", "store")

    def __init__(self, at: int) -> None:
        self.at = at
        self.results: dict[str, int] = {}
        self.cached, self.origin, self.store = ([0] * (len(BOUNDS_S) + 1) for _ in range(3))
        self.failed = 0

    def sample(self) -> Sample:
        counts = _sparse(self.cached), _sparse(self.origin), _sparse(self.store)
        return Sample(self.at, dict(self.results), *counts, self.failed)


class Recent(Observer):
    """Counts what one cache does, in bounded memory and without a timer: the first event of a step begins it.

    Event loops in several threads may use it at once.

    Args:
        clock: returns POSIX time.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._steps: deque[_Step] = deque(maxlen=KEPT_S // STEP_S)
        self._hosts: deque[tuple[int, dict[str, list[int]]]] = deque(maxlen=KEPT_S // HOSTS_STEP_S)
        self._from = self._until = 0.0
        self.after_fork()
        self._turn()
        note_forks(self)

    def after_fork(self) -> None:
        """Make a new lock, at first and in a forked child, where a thread of the parent may hold the old one."""
        self._lock = threading.Lock()  # held for microseconds

    def decided(self, decision: Decision) -> None:
        """Count a request."""
        host = host_of(decision.url)
        with self._lock:
            self._turn_if_due()
            step, result = self._step, decision.result
            step.results[result] = step.results.get(result, 0) + 1
            is_cached = result == "hit" or result == "stale"
            if is_cached:
                step.cached[bisect_left(BOUNDS_S, decision.seconds)] += 1
            elif result != "error":
                step.origin[bisect_left(BOUNDS_S, decision.seconds)] += 1
            hosts = self._latest
            counts = hosts.get(host)
            if counts is None:
                counts = hosts.setdefault(host if len(hosts) < MAX_HOSTS else OTHERS, [0, 0])
            counts[0] += 1
            counts[1] += is_cached

    def operated(self, operation: str, seconds: float, *, failed: bool) -> None:
        """Count an operation of the store."""
        with self._lock:
            self._turn_if_due()
            self._step.store[bisect_left(BOUNDS_S, seconds)] += 1
            self._step.failed += failed

    def samples(self, after: int = 0) -> list[Sample]:
        """The steps that began after the POSIX time *after* and in which anything happened, oldest first."""
        since = max(self._clock() - KEPT_S, after)
        with self._lock:
            steps = list(self._steps)
        return [step.sample() for step in steps if step.at > since and (step.results or any(step.store))]

    def busiest(self, within_s: float = KEPT_S, limit: int = 50) -> list[BusyHost]:
        """The upstreams with the most requests."""
        since, totals = self._clock() - within_s, dict[str, list[int]]()
        with self._lock:
            minutes = [(at, list(hosts.items())) for at, hosts in self._hosts]
        for at, counted in minutes:
            if at + HOSTS_STEP_S > since:
                for host, (requests, cached) in counted:
                    total = totals.setdefault(host, [0, 0])
                    total[0] += requests
                    total[1] += cached
        found = [BusyHost(host, *counts) for host, counts in totals.items()]
        return sorted(found, key=lambda one: (-one.requests, one.host))[:limit]

    def _turn_if_due(self) -> None:
        if not self._from <= self._clock() < self._until:
            self._turn()

    def _turn(self) -> None:
        """Begin a step, and a minute if the last one is over."""
        now = self._clock()
        at = int(now // STEP_S) * STEP_S
        self._from, self._until = float(at), float(at + STEP_S)
        self._step = _Step(at)
        self._steps.append(self._step)
        minute = int(now // HOSTS_STEP_S) * HOSTS_STEP_S
        if not self._hosts or self._hosts[-1][0] != minute:
            self._latest: dict[str, list[int]] = {}
            self._hosts.append((minute, self._latest))


def _sparse(counts: list[int]) -> Counts:
    return [(at, count) for at, count in enumerate(counts) if count]
