"""The guard between requests and stores: whatever a store does, a request is answered in time.

A store that fails or hangs costs a caller one deadline at most. After a few failures it costs nothing: its circuit is
open, and only an occasional probe tries whether it has recovered.
"""

from __future__ import annotations

import asyncio
import enum
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, TypeVar, cast

from aiohttp_cache_di.backends.loops import LoopLocal
from aiohttp_cache_di.backends.wrap.guarding.circuit import MAX_BACKOFF_S, Circuit
from aiohttp_cache_di.backends.wrap.guarding.deadline import Deadline, Deadlines
from aiohttp_cache_di.backends.wrap.guarding.outages import TIMEOUT, Outages, kind_of
from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.telemetry import CacheStats, CircuitState

__all__ = ["DEFAULT_DEADLINE_S", "FAILED", "OF_THE_DATA", "PATIENCE", "READ", "Failed", "StoreGuard"]

T = TypeVar("T")
D = TypeVar("D")

DEFAULT_DEADLINE_S: Final = 0.25
"""Seconds that an operation on the store may take."""

READ: Final = "read"
"""The operation that each request begins with; while it fails, the store counts as unavailable."""

PATIENCE: Final = 8
"""Deadlines that an operation may take if no caller waits for it."""

ABANDONED: Final = "abandoned"
"""Callers gave up on operations that had taken suspiciously long, and the store answered no other meanwhile."""
CANCELLED: Final = "cancelled"
"""The store cancelled the operation, for example because it is being closed."""

# Errors about one entry or one answer: the store is healthy, and its circuit stays closed.
OF_THE_DATA: Final = frozenset({"UnreadableEntryError", "UnicodeEncodeError", "UnicodeDecodeError", "OverflowError"})


class Failed(enum.Enum):
    """The result of an operation on a store that fails."""

    FAILED = enum.auto()


FAILED: Final = Failed.FAILED

_SUSPECT: Final = 0.2  # of the deadline; a caller that gives up after this long may have done so because of the store


def _do_nothing(guard: StoreGuard) -> None:
    """The reaction to a failure unless there is another."""


class _LoopDeadlines:
    """The deadlines of one event loop: for operations that a caller waits for (`usual`), and others (`patient`)."""

    __slots__ = ("patient", "usual")

    def __init__(self, deadline_s: float) -> None:
        self.usual = Deadlines(deadline_s)
        self.patient = Deadlines(PATIENCE * deadline_s)


class StoreGuard:
    """Runs operations on a store so that none makes a request fail, or delays it for longer than a deadline.

    Each kind of operation has its own circuit, so that a store that refuses writes still answers reads. While reads
    fail, no other operation is tried for a caller. When one kind recovers, the others are tried again at once.

    A deadline cancels the operation, just as cancelling the caller does: if several callers wait for one future, it
    must be shielded. An operation that does not end soon after its cancellation delays its caller.

    Args:
        stats: counts errors and shows the state of circuits.
        deadline_s: seconds that an operation may take; ``inf`` for no limit.
        clock: monotonic seconds, for circuits and for the rate of log messages.

    Raises:
        ConfigurationError: ``deadline_s`` is not positive.
    """

    def __init__(
        self,
        stats: CacheStats | None = None,
        *,
        deadline_s: float = DEFAULT_DEADLINE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not deadline_s > 0:
            raise ConfigurationError(f"storage_deadline={deadline_s!r}: use a positive number of seconds")
        self.stats: CacheStats = CacheStats(clock=clock) if stats is None else stats
        self.deadline_s: float = deadline_s
        self._clock = clock
        self._circuits: dict[str, Circuit] = {}
        self._reads = self._circuit(READ)
        self._reads_hang_until = 0.0
        self._deadlines = LoopLocal(partial(_LoopDeadlines, deadline_s))
        self.outages: Outages = Outages(clock)
        self.on_failure: Callable[[StoreGuard], object] = _do_nothing
        """Called in the running loop with this guard when an operation has failed, and not because of one entry."""

    def serve(self, stats: CacheStats, deadline_s: float) -> None:
        """From now on count in *stats*, and give operations that begin *deadline_s* seconds."""
        self.stats = stats
        if deadline_s != self.deadline_s:
            self.deadline_s = deadline_s
            self._deadlines = LoopLocal(partial(_LoopDeadlines, deadline_s))

    @property
    def is_open(self) -> bool:
        """Whether the circuit for reads is open."""
        return self._reads.is_open

    def is_failing(self, operation: str) -> bool:
        """Whether *operation* failed the last time it was tried, or reads fail so that it is not tried."""
        circuit = self._circuits.get(operation)
        return (
            (circuit is not None and circuit.failures > 0)
            or self._reads.is_open
            or self._clock() < self._reads_hang_until
        )

    @property
    def is_any_failing(self) -> bool:
        """Whether some operation failed the last time it was tried."""
        return any(circuit.failures for circuit in list(self._circuits.values()))  # another thread may add one

    async def run(
        self,
        operation: str,
        call: Callable[[], Awaitable[T]],
        default: D,
        *,
        patient: bool = False,
        failed: Callable[[BaseException], object] | None = None,
    ) -> T | D:
        """The result of ``await call()``, or *default* if it fails, takes too long, or is not tried.

        Args:
            operation: the kind of operation: "read", "write", "delete", "lease" ….
            call: begins the operation; not called while the circuit is open, except as a probe.
            patient: no caller waits for it, so it may take `PATIENCE` deadlines, and is tried even while reads fail.
            failed: called with the error, if it fails.

        Raises:
            CancelledError: the caller was cancelled.
        """
        circuit = self._circuits.get(operation) or self._circuit(operation)
        probe, reads_may_fail = circuit.is_open, self._reads.is_open or self._reads_hang_until
        if (reads_may_fail and circuit is not self._reads and not patient and self._reads_fail()) or (
            probe and not circuit.begin_probe()
        ):
            self.stats.counts.here().skipped += 1
            return default
        loop = asyncio.get_running_loop()
        both = self._deadlines.here(loop)
        deadlines = both.patient if patient else both.usual
        deadline = deadlines.begin(loop, cast("asyncio.Task[Any]", asyncio.current_task(loop)))
        failed_here = True
        try:
            result = await call()
            failed_here = False
        except (asyncio.CancelledError, Exception) as exc:
            if failed is not None:
                failed(exc)
            self._note_end(operation, circuit, exc, deadline, probe=probe)
            return default
        finally:
            deadlines.end(deadline)
            if probe:
                circuit.end_probe()
            if self.stats.watch.is_on:
                self.stats.watch.operated(operation, deadline.elapsed_s(), failed=failed_here)
        if deadline.was_cancelled_by_others():  # the store has ignored that
            raise asyncio.CancelledError
        if circuit.failures or circuit.given_up_at is not None:
            self._succeeded(operation, circuit, probe=probe)
        return result

    def probe_in_s(self, operation: str) -> float | None:
        """Seconds until *operation* may be probed, by one caller at a time; None if its circuit is closed."""
        circuit = self._circuits.get(operation)
        return None if circuit is None or not circuit.is_open else circuit.probe_in_s()

    def retry_now(self, operation: str) -> None:
        """Let *operation* be probed at once, even if its circuit is open."""
        circuit = self._circuits.get(operation)
        if circuit is not None:
            circuit.retry_now()

    def note_success(self, operation: str) -> None:
        """Close the circuit of *operation*, which the store has carried out together with one of another kind."""
        circuit = self._circuits.get(operation)
        if circuit is not None and circuit.failures:
            self._succeeded(operation, circuit, probe=True)

    def note_failure(self, operation: str, exc: BaseException) -> None:
        """Count and log a failure that does not concern the health of the store, such as that of one record."""
        kind = kind_of(exc)
        self.stats.count_error(operation, kind)
        self.outages.failed(operation, kind, exc)

    def _note_end(
        self, operation: str, circuit: Circuit, exc: BaseException, deadline: Deadline, *, probe: bool
    ) -> None:
        """Count *exc* as a failure of the store, or raise it if the caller itself was cancelled."""
        is_cancelled = isinstance(exc, asyncio.CancelledError)
        if deadline.was_cancelled_by_others() or (is_cancelled and not deadline.expired and deadline.task.cancelling()):
            took_s, begun_at = deadline.elapsed_s(), deadline.begun_at
            if took_s > self.deadline_s * _SUSPECT and circuit.given_up(begun_at=begun_at, now=begun_at + took_s):
                self._failed(operation, circuit, ABANDONED, probe=probe)
            if is_cancelled:
                raise exc
            raise asyncio.CancelledError from exc  # the store has turned the cancellation into an error
        kind = TIMEOUT if deadline.expired else CANCELLED if is_cancelled else kind_of(exc)
        self._failed(operation, circuit, kind, None if is_cancelled else exc, probe=probe)

    def _reads_fail(self) -> bool:
        """Whether reads fail: their circuit is open, or one has timed out or been given up lately."""
        if not self._reads.is_open and self._clock() >= self._reads_hang_until:
            self._reads_hang_until = 0.0
            return False
        return True

    def _succeeded(self, operation: str, circuit: Circuit, *, probe: bool) -> None:
        if circuit is self._reads:
            self._reads_hang_until = 0.0
        was_open = circuit.is_open
        circuit.succeeded(probe=probe)
        if was_open and not circuit.is_open:  # the store is back: do not wait for the other operations' own times
            for other in list(self._circuits.values()):  # another thread may add one
                other.retry_now()
        if not circuit.failures:
            self.stats.recovered(operation)
            self.outages.recovered(operation)

    def _failed(
        self, operation: str, circuit: Circuit, kind: str, error: BaseException | None = None, *, probe: bool
    ) -> None:
        self.stats.count_error(operation, kind)
        self.outages.failed(operation, kind, error)
        if kind in OF_THE_DATA:
            return
        if circuit is self._reads and kind in (TIMEOUT, ABANDONED):
            self._reads_hang_until = self._clock() + MAX_BACKOFF_S
        circuit.failed(probe=probe)
        self.on_failure(self)

    def _circuit(self, operation: str) -> Circuit:
        circuit = Circuit(self._clock, partial(self._note_circuit, operation))
        return self._circuits.setdefault(operation, circuit)

    def _note_circuit(self, operation: str, state: CircuitState) -> None:
        self.stats.set_circuit(operation, state)
