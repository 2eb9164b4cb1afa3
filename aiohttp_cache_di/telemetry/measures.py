"""How long requests and operations on the store take, and what a cache saves; measured from the first use of it on."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import Final, TypeVar

from msgspec import Struct

from aiohttp_cache_di.telemetry.decisions import Decision, Observer, Result
from aiohttp_cache_di.telemetry.per_thread import PerThread

__all__ = ["BOUNDS_S", "Histogram", "Measures", "Saved"]

K = TypeVar("K")

# From a hit in memory to a slow origin: 1, 2.5 and 5 times powers of ten in the range of hits, then the buckets that
# OpenTelemetry's semantic conventions recommend for HTTP clients.
_OF_HITS: Final = (5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3)
BOUNDS_S: Final = (*_OF_HITS, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

MAX_OPERATIONS: Final = 32  # measured separately; there are fewer


class Histogram:
    """Durations, counted in buckets."""

    __slots__ = ("counts", "total_s")

    def __init__(self) -> None:
        self.counts: list[int] = [0] * (len(BOUNDS_S) + 1)
        """The number of durations in each bucket, whose upper bounds are `BOUNDS_S`; the last has none."""
        self.total_s: float = 0.0

    def add(self, seconds: float) -> None:
        """Count a duration."""
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.total_s += seconds

    def add_all(self, other: Histogram) -> None:
        """Count the durations that *other* has counted."""
        self.counts = [mine + its for mine, its in zip(self.counts, other.counts, strict=True)]
        self.total_s += other.total_s

    @property
    def cumulative(self) -> Sequence[int]:
        """The number of durations up to each of `BOUNDS_S`; the last number is that of all."""
        return tuple(accumulate(self.counts))


class Saved(Struct, frozen=True):
    """What answers from a cache have saved since measuring began.

    Attributes:
        requests: requests to the origin.
        bytes: bytes of bodies from the origin.
        seconds: seconds that the origin took to begin those responses when they were fetched.
    """

    requests: int = 0
    bytes: int = 0
    seconds: float = 0.0


class _Measured:
    """What one thread has measured."""

    __slots__ = ("bytes", "operations", "requests", "saved_requests", "seconds")

    def __init__(self) -> None:
        self.requests: dict[Result, Histogram] = {}
        self.operations: dict[str, Histogram] = {}
        self.saved_requests = 0
        self.bytes = 0
        self.seconds = 0.0


class Measures(Observer):
    """The measurements of one cache; event loops in several threads may measure at the same time."""

    def __init__(self) -> None:
        self._measured: Final = PerThread(_Measured)

    @property
    def requests(self) -> dict[Result, Histogram]:
        """Durations of requests, by result."""
        return _added_up([each.requests for each in self._measured.all()])

    @property
    def operations(self) -> dict[str, Histogram]:
        """Durations of operations on the store, by operation."""
        return _added_up([each.operations for each in self._measured.all()])

    @property
    def saved(self) -> Saved:
        """What was saved."""
        parts = self._measured.all()
        requests, size = sum(each.saved_requests for each in parts), sum(each.bytes for each in parts)
        return Saved(requests, size, sum(each.seconds for each in parts))

    def decided(self, decision: Decision) -> None:
        """Measure a request."""
        here, result = self._measured.here(), decision.result
        histogram = here.requests.get(result)
        if histogram is None:
            histogram = here.requests[result] = Histogram()
        histogram.add(decision.seconds)
        if result == "hit":
            here.saved_requests += 1
            here.bytes += decision.body_bytes
            here.seconds += decision.origin_s
        elif result == "coalesced":
            here.saved_requests += 1
            here.bytes += decision.body_bytes
        elif result == "revalidated":
            here.bytes += decision.body_bytes

    def operated(self, operation: str, seconds: float, *, failed: bool) -> None:
        """Measure an operation on the store."""
        here = self._measured.here()
        histogram = here.operations.get(operation)
        if histogram is None:
            if len(here.operations) >= MAX_OPERATIONS:
                return
            histogram = here.operations[operation] = Histogram()
        histogram.add(seconds)


def _added_up(parts: Sequence[dict[K, Histogram]]) -> dict[K, Histogram]:
    """The histograms of all *parts* together; the threads that they belong to may measure meanwhile."""
    whole: dict[K, Histogram] = {}
    for part in parts:
        for name, histogram in list(part.items()):
            whole.setdefault(name, Histogram()).add_all(histogram)
    return whole
