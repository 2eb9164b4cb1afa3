"""How long requests and operations on the store take, and what a cache saves; measured from the first use of it on."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from msgspec import Struct

from aiohttp_cache_di.telemetry.decisions import Decision, Observer, Result

__all__ = ["BOUNDS_S", "Histogram", "Measures", "Saved"]

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


class Measures(Observer):
    """The measurements of one cache."""

    def __init__(self) -> None:
        self.requests: dict[Result, Histogram] = {}
        """Durations of requests, by result."""
        self.operations: dict[str, Histogram] = {}
        """Durations of operations on the store, by operation."""
        self._hits = 0
        self._shared = 0
        self._bytes = 0
        self._seconds = 0.0

    @property
    def saved(self) -> Saved:
        """What was saved."""
        return Saved(self._hits + self._shared, self._bytes, self._seconds)

    def decided(self, decision: Decision) -> None:
        """Measure a request."""
        result = decision.result
        histogram = self.requests.get(result)
        if histogram is None:
            histogram = self.requests.setdefault(result, Histogram())  # another thread may have made one meanwhile
        histogram.add(decision.seconds)
        if result == "hit":
            self._hits += 1
            self._bytes += decision.body_bytes
            self._seconds += decision.origin_s
        elif result == "coalesced":
            self._shared += 1
            self._bytes += decision.body_bytes
        elif result == "revalidated":
            self._bytes += decision.body_bytes

    def operated(self, operation: str, seconds: float, *, failed: bool) -> None:
        """Measure an operation on the store."""
        histogram = self.operations.get(operation)
        if histogram is None:
            if len(self.operations) >= MAX_OPERATIONS:
                return
            histogram = self.operations.setdefault(operation, Histogram())
        histogram.add(seconds)
