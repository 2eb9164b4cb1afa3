"""What a cache has done: counters, read as they are or as a snapshot, and the verdict that they come to."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from types import MappingProxyType
from typing import Final

from msgspec import Struct, field

from aiohttp_cache_di.telemetry.decisions import Observer
from aiohttp_cache_di.telemetry.health import CircuitState, Health, StatsSnapshot
from aiohttp_cache_di.telemetry.log import log_end, log_start
from aiohttp_cache_di.telemetry.measures import Measures
from aiohttp_cache_di.telemetry.watch import Watch

__all__ = ["CacheStats"]

_MAX_KINDS: Final = 64  # of errors that are told apart; a driver has a few
_RECENT_S: Final = 30.0  # Three periods of a Kubernetes readiness probe (10 s), so that none overlooks an error.


class CacheStats(Struct, repr_omit_defaults=True):
    """The counters of one backend, counting up from its creation; read them here or take a `snapshot`.

    Attributes:
        hits: answered from the cache, stale ones included.
        misses: fetched from the origin and not found in the cache.
        stale: answered with a stale response, as the rules allow when the origin fails or is being asked.
        revalidated: validated with the origin, which said that nothing had changed.
        coalesced: answered by another request's fetch that was under way.
        stored: responses written to the store.
        evicted: entries dropped to make room.
        invalidated: entries dropped because a request changed what they show; members of the groups that a response
            names (RFC 9875) are not counted.
        purged: entries that operators have dropped or made stale: by `CacheBackend.purge`,
            `delete_url` and `delete_expired_responses`.
        bypassed: sent to the origin without asking the cache.
        unreadable: stored entries that could not be read: damaged, foreign, or wrongly signed. A file that is
            damaged, deleted or replaced counts as one.
        skipped: storage operations that were not tried because the storage is left alone (an open circuit).
        store_errors: storage operations that failed, by kind of failure.
        circuits: the state of the circuits that are not closed, by operation.
        found_wrong: what a check of the storage (`ping`) has found and is not known to be mended, by operation.
        stand_in: why responses are kept in memory though another storage was meant; "" where it is that one.
        since: POSIX time at which counting began.
        clock: seconds of a clock that never goes back.
        watch: hands decisions to those who observe the cache.
    """

    hits: int = 0
    misses: int = 0
    stale: int = 0
    revalidated: int = 0
    coalesced: int = 0
    stored: int = 0
    evicted: int = 0
    invalidated: int = 0
    purged: int = 0
    bypassed: int = 0
    unreadable: int = 0
    skipped: int = 0
    store_errors: dict[str, int] = field(default_factory=dict[str, int])
    circuits: dict[str, CircuitState] = field(default_factory=dict[str, CircuitState])
    found_wrong: dict[str, str] = field(default_factory=dict[str, str])
    stand_in: str = ""
    since: float = field(default_factory=time.time)
    clock: Callable[[], float] = time.monotonic
    watch: Watch = field(default_factory=Watch)
    _recent: dict[str, tuple[float, str]] = field(default_factory=dict[str, tuple[float, str]])
    _measures: Measures | None = None
    _is_started: bool = False

    def count_error(self, operation: str, kind: str) -> None:
        """Count a storage operation that failed.

        Args:
            operation: what was tried: "read", "write" …
            kind: why it failed, in a word of a small set: a label of a metric, with no secrets in it.
        """
        counted = kind if kind in self.store_errors or len(self.store_errors) < _MAX_KINDS else "other"
        self.store_errors[counted] = self.store_errors.get(counted, 0) + 1
        self._recent[operation] = (self.clock(), kind)

    def recovered(self, operation: str) -> None:
        """Note that a storage operation works again: what went wrong with it before is history."""
        self._recent.pop(operation, None)
        self.found_wrong.pop(operation, None)

    def count_evicted(self, count: int) -> None:
        """Count *count* entries that were dropped to make room."""
        self.evicted += count

    def count_unreadable(self, count: int = 1) -> None:
        """Count *count* stored entries that could not be read."""
        self.unreadable += count

    def observe(self, observer: Observer) -> Callable[[], None]:
        """Hand each decision, and each operation of the store, to *observer* until the function returned is called."""
        return self.watch.add(observer)

    def measure(self) -> Measures:
        """Measure from now on, if it is not done yet, how long requests take and what is saved."""
        if self._measures is None:
            self._measures = Measures()
            self.watch.add(self._measures)
        return self._measures

    def started(self, name: str, kind: str, where: str, mode: str) -> None:
        """Log that the cache begins to be used, unless that has been done; see `log.log_start`."""
        if not self._is_started:
            self._is_started = True
            log_start(name, kind, where, mode)

    @property
    def is_in_use(self) -> bool:
        """Whether the cache has begun to be used, and has not been closed since."""
        return self._is_started

    def ended(self, name: str) -> None:
        """Log what the cache has done, if it was in use."""
        if self._is_started:
            self._is_started = False
            log_end(name, self.snapshot())

    def set_circuit(self, operation: str, state: CircuitState) -> None:
        """Note the state of an operation's circuit."""
        if state == "closed":
            self.circuits.pop(operation, None)
        else:
            self.circuits[operation] = state

    @property
    def circuit(self) -> CircuitState:
        """The worst state of any operation's circuit."""
        states = set(self.circuits.values())
        return "open" if "open" in states else "half-open" if states else "closed"

    def snapshot(self) -> StatsSnapshot:
        """The counters as they are now, immutable."""
        return StatsSnapshot(
            hits=self.hits,
            misses=self.misses,
            stale=self.stale,
            revalidated=self.revalidated,
            coalesced=self.coalesced,
            stored=self.stored,
            evicted=self.evicted,
            invalidated=self.invalidated,
            purged=self.purged,
            bypassed=self.bypassed,
            unreadable=self.unreadable,
            skipped=self.skipped,
            store_errors=MappingProxyType(dict(self.store_errors)),
            circuit=self.circuit,
        )

    def health(self, recent_s: float = _RECENT_S) -> Health:
        """Whether the storage is well: no circuit is open, and nothing that failed lately has not worked again since.

        Nor was anything found wrong by `CacheBackend.ping`, as at the start of an application, that still is; nor does
        memory stand in for a file that cannot be written.

        Args:
            recent_s: for how many seconds a failure counts, unless that operation succeeds before.

        A readiness probe should report a degraded cache and let the service take requests all the same.
        """
        failed_at, kind, operation = max(
            ((at, kind, operation) for operation, (at, kind) in self._recent.items()), default=(-math.inf, "", "")
        )
        because = f"; the last error was {kind!r} on {operation}" if operation else ""
        if self.circuits:
            waiting = ", ".join(sorted(self.circuits))
            return Health("degraded", f"the storage is left alone after failures of: {waiting}{because}")
        if self.found_wrong:
            return Health("degraded", f"the storage is of no use: {'; '.join(self.found_wrong.values())}")
        if self.stand_in:
            return Health("degraded", self.stand_in)
        if self.clock() - failed_at < recent_s:
            return Health("degraded", f"storage operations failed within the last {recent_s:g} s{because}")
        return Health("ok")
