"""The counters of a cache, and the health that follows from them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from operator import attrgetter
from types import MappingProxyType
from typing import Final, overload

from aiohttp_cache_di.telemetry.decisions import Observer
from aiohttp_cache_di.telemetry.health import CircuitState, Health, StatsSnapshot
from aiohttp_cache_di.telemetry.log import log_end, log_start
from aiohttp_cache_di.telemetry.measures import Measures
from aiohttp_cache_di.telemetry.per_thread import PerThread
from aiohttp_cache_di.telemetry.watch import Watch

__all__ = ["CacheStats", "Counts"]

_MAX_KINDS: Final = 64  # of errors counted separately; a driver has a few
_RECENT_S: Final = (
    30.0  # three periods of a Kubernetes readiness probe (10 s each), so that a probe notices every error
)
_COUNTERS: Final = tuple(name for name in StatsSnapshot.__struct_fields__ if name not in {"store_errors", "circuit"})


class Counts:
    """What one thread has counted; the attributes are those of `CacheStats`."""

    __slots__ = (*_COUNTERS, "errors")

    def __init__(self) -> None:
        self.hits: int = 0
        self.misses: int = 0
        self.stale: int = 0
        self.revalidated: int = 0
        self.coalesced: int = 0
        self.stored: int = 0
        self.evicted: int = 0
        self.invalidated: int = 0
        self.purged: int = 0
        self.bypassed: int = 0
        self.unreadable: int = 0
        self.skipped: int = 0
        self.errors: dict[str, int] = {}
        """Operations on the store that failed, by kind of failure."""


class _Total:
    """A counter of a cache: the sum of what all threads have counted."""

    __slots__ = ("_name", "_of")

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name
        self._of: Callable[[Counts], int] = attrgetter(name)

    @overload
    def __get__(self, stats: None, owner: type) -> _Total: ...
    @overload
    def __get__(self, stats: CacheStats, owner: type) -> int: ...
    def __get__(self, stats: CacheStats | None, owner: type) -> _Total | int:
        return self if stats is None else sum(map(self._of, stats.counts.all()))

    def __set__(self, stats: CacheStats, value: int) -> None:
        here = stats.counts.here()
        setattr(here, self._name, self._of(here) + value - sum(map(self._of, stats.counts.all())))


class CacheStats:
    """The counters of one backend, counting up from its creation; read them here or take a `snapshot`.

    Event loops of several threads may count at the same time, with or without a GIL: what counts adds to ``counts``, to
    the numbers of its own thread, and a counter is the sum of those of all threads. ``stats.hits += 1`` works too, but
    loses what other threads count meanwhile.

    Args:
        clock: returns seconds, and never goes back.
        counted: what has been counted before, by name of the counter.

    Attributes:
        hits: requests answered from the cache, including those answered with a stale response.
        misses: requests whose response came from the origin, because nothing stored could be used.
        stale: hits whose response was stale, because the origin failed or is being asked in the background.
        revalidated: requests for which the origin confirmed the stored response (304).
        coalesced: requests answered with the response to another request that was under way.
        stored: responses written to the store.
        evicted: entries deleted to make room.
        invalidated: entries deleted because an unsafe request changed the resource; not those of the groups that a
            response invalidates (RFC 9875).
        purged: entries deleted or made stale by `CacheBackend.purge`, `delete_url` and `delete_expired_responses`.
        bypassed: requests sent to the origin without looking into the store.
        unreadable: stored entries that could not be read: damaged, foreign, or wrongly signed. A database file that
            is damaged, deleted or replaced counts as one.
        skipped: operations on the store that were not tried because its circuit was open.
        counts: the counters of each thread.
        circuits: the state of the circuits that are not closed, by operation.
        found_wrong: faults that `CacheBackend.ping` has found and that no success has cleared since, by operation.
        stand_in: why responses are kept in memory instead of the configured store; "" if they are not.
        since: POSIX time at which counting began.
        clock: returns seconds, and never goes back.
        watch: passes decisions on to observers.

    Raises:
        TypeError: ``counted`` names no counter.
    """

    __slots__ = (
        "_is_started",
        "_measures",
        "_recent",
        "circuits",
        "clock",
        "counts",
        "found_wrong",
        "since",
        "stand_in",
        "watch",
    )

    hits: _Total = _Total()
    misses: _Total = _Total()
    stale: _Total = _Total()
    revalidated: _Total = _Total()
    coalesced: _Total = _Total()
    stored: _Total = _Total()
    evicted: _Total = _Total()
    invalidated: _Total = _Total()
    purged: _Total = _Total()
    bypassed: _Total = _Total()
    unreadable: _Total = _Total()
    skipped: _Total = _Total()

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, **counted: int) -> None:
        self.counts: Final[PerThread[Counts]] = PerThread(Counts)
        self.circuits: dict[str, CircuitState] = {}
        self.found_wrong: dict[str, str] = {}
        self.stand_in: str = ""
        self.since: float = time.time()
        self.clock: Callable[[], float] = clock
        self.watch: Final = Watch()
        self._recent: dict[str, tuple[float, str]] = {}
        self._measures = Measures()
        self._is_started = False
        here = self.counts.here()
        for name, count in counted.items():
            if name not in _COUNTERS:
                raise TypeError(f"{name}={count!r}: {type(self).__name__} has no counter of this name")
            setattr(here, name, count)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.snapshot()}>"

    @property
    def store_errors(self) -> dict[str, int]:
        """Operations on the store that failed, by kind of failure."""
        errors: dict[str, int] = {}
        for counts in self.counts.all():
            for kind, count in list(counts.errors.items()):  # a copy in one step: its thread may count meanwhile
                errors[kind] = errors.get(kind, 0) + count
        return errors

    def count_error(self, operation: str, kind: str) -> None:
        """Count an operation on the store that failed.

        Args:
            operation: "read", "write" …
            kind: why it failed: one of a small set of words without secrets, since it becomes a label of a metric.
        """
        errors, known = self.counts.here().errors, self.store_errors
        counted = kind if kind in known or len(known) < _MAX_KINDS else "other"
        errors[counted] = errors.get(counted, 0) + 1
        self._recent[operation] = (self.clock(), kind)

    def recovered(self, operation: str) -> None:
        """Note that *operation* works again, which clears its earlier failures from `health`."""
        self._recent.pop(operation, None)
        self.found_wrong.pop(operation, None)

    def count_evicted(self, count: int) -> None:
        """Count entries that were deleted to make room."""
        self.counts.here().evicted += count

    def count_unreadable(self, count: int = 1) -> None:
        """Count stored entries that could not be read."""
        self.counts.here().unreadable += count

    def observe(self, observer: Observer) -> Callable[[], None]:
        """Report each decision and each operation on the store to *observer*; the returned function ends that."""
        return self.watch.add(observer)

    def measure(self) -> Measures:
        """The measurements of durations and savings, which begin with the first call."""
        self.watch.add(self._measures, key=self._measures)
        return self._measures

    def started(self, name: str, kind: str, where: str, mode: str) -> None:
        """Log the first use of the cache; see `log.log_start`."""
        if not self._is_started:
            self._is_started = True
            log_start(name, kind, where, mode)

    @property
    def is_in_use(self) -> bool:
        """Whether the cache has been used and has not been closed since."""
        return self._is_started

    def ended(self, name: str) -> None:
        """Log that the cache is closed and what it has done, if it was in use."""
        if self._is_started:
            self._is_started = False
            log_end(name, self.snapshot())

    def set_circuit(self, operation: str, state: CircuitState) -> None:
        """Note the state of the circuit of *operation*."""
        if state == "closed":
            self.circuits.pop(operation, None)
        else:
            self.circuits[operation] = state

    @property
    def circuit(self) -> CircuitState:
        """The worst state of all circuits."""
        states = list(self.circuits.values())  # a copy in one step: another thread may change one
        return "open" if "open" in states else "half-open" if states else "closed"

    def snapshot(self) -> StatsSnapshot:
        """An immutable copy of the counters."""
        counted = {name: getattr(self, name) for name in _COUNTERS}
        return StatsSnapshot(**counted, store_errors=MappingProxyType(self.store_errors), circuit=self.circuit)

    def health(self, recent_s: float = _RECENT_S) -> Health:
        """Whether the store works.

        The cache is degraded while a circuit is not closed, while a fault that `CacheBackend.ping` found (such as at
        the start of an app) is not cleared, while memory replaces a file that cannot be written, and for *recent_s*
        after an operation failed, unless that operation succeeds sooner.

        A readiness probe should report a degraded cache and still let the service take requests.

        Args:
            recent_s: for how many seconds a failed operation counts.
        """
        recent = self._recent.copy()  # another thread may count meanwhile
        failed_at, kind, operation = max(
            ((at, kind, operation) for operation, (at, kind) in recent.items()), default=(-math.inf, "", "")
        )
        because = f"; the last error was {kind!r} on {operation}" if operation else ""
        if self.circuits:
            waiting = ", ".join(sorted(self.circuits))
            return Health("degraded", f"the storage is left alone after failures of: {waiting}{because}")
        if self.found_wrong:
            return Health("degraded", f"the storage cannot be used: {'; '.join(self.found_wrong.values())}")
        if self.stand_in:
            return Health("degraded", self.stand_in)
        if self.clock() - failed_at < recent_s:
            return Health("degraded", f"storage operations failed within the last {recent_s:g} s{because}")
        return Health("ok")
