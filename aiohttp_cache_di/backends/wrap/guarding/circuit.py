"""A circuit breaker: stops an operation that keeps failing, and lets one caller at a time try it again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from aiohttp_cache_di.backends.forks import note_forks
from aiohttp_cache_di.telemetry import CircuitState

__all__ = ["FIRST_BACKOFF_S", "MAX_BACKOFF_S", "THRESHOLD", "Circuit"]

THRESHOLD: Final = 3
"""Failures in a row that open a circuit."""

FIRST_BACKOFF_S: Final = 0.5
"""Seconds for which a circuit stays open before the first probe; doubled by each probe that fails."""

MAX_BACKOFF_S: Final = 2.0
"""Longest time between two probes: a store that has recovered is used again after this and a deadline at most."""


class Circuit:
    """The state of one kind of operation: closed, open, or half-open while a probe is under way.

    Event loops in several threads may use it at once.

    Args:
        clock: seconds of a clock that never goes back.
        on_change: called with each new state.
    """

    __slots__ = (
        "__weakref__",
        "_backoff_s",
        "_clock",
        "_on_change",
        "_probing",
        "_retry_at",
        "failures",
        "given_up_at",
        "is_open",
    )

    def __init__(self, clock: Callable[[], float], on_change: Callable[[CircuitState], None]) -> None:
        self._clock = clock
        self._on_change = on_change
        self._backoff_s = FIRST_BACKOFF_S
        self._retry_at = 0.0
        self.failures: int = 0
        self.given_up_at: float | None = None
        """When a caller last gave up waiting, if the store has not answered since."""
        self.is_open: bool = False
        self.after_fork()
        note_forks(self)

    def after_fork(self) -> None:
        """A probe that is under way is the parent's, and does not end in a forked child."""
        self._probing = threading.Lock()  # held by the caller that probes; nobody waits for it

    def probe_in_s(self) -> float | None:
        """Seconds until the next caller may probe an open circuit; None for a closed one."""
        return max(0.0, self._retry_at - self._clock()) if self.is_open else None

    def retry_now(self) -> None:
        """Let the next caller probe at once."""
        self._retry_at = self._clock()

    def begin_probe(self) -> bool:
        """Whether the caller may probe an open circuit; if so, it must call `end_probe` afterwards."""
        if not self.is_open or self._clock() < self._retry_at or not self._probing.acquire(blocking=False):
            return False
        self._show()
        return True

    def end_probe(self) -> None:
        """The probe has ended, in success, failure or cancellation; the next one may begin."""
        if self._probing.locked():  # it is not in a forked child that forgets a probe of its parent
            self._probing.release()
        self._show()

    def succeeded(self, *, probe: bool) -> None:
        """Note a success; while the circuit is open, only a probe's counts, as others began before it opened."""
        if self.is_open and not probe:
            return
        self.failures = 0
        self.given_up_at = None
        if self.is_open:
            self.is_open = False
            self._backoff_s = FIRST_BACKOFF_S
            self._show()

    def given_up(self, *, begun_at: float, now: float) -> bool:
        """Note that a caller has given up at *now*, before its deadline; return whether that counts as a failure.

        The first time does not count: the machine may have been busy for a moment, or many callers that queue may give
        up together. It counts if the operation began after the last give-up, and nothing was answered in between.
        """
        earlier = self.given_up_at
        if earlier is not None and begun_at < earlier:
            return False
        self.given_up_at = now
        return earlier is not None

    def failed(self, *, probe: bool) -> None:
        """Note a failure; while the circuit is open, only a probe's prolongs it, as others began before it opened."""
        self.failures += 1
        if self.is_open:
            if probe:
                self._backoff_s = min(self._backoff_s * 2, MAX_BACKOFF_S)
                self._retry_at = self._clock() + self._backoff_s
        elif self.failures >= THRESHOLD:
            self.is_open = True
            self._retry_at = self._clock() + self._backoff_s
            self._show()

    @property
    def state(self) -> CircuitState:
        """The present state."""
        return "closed" if not self.is_open else "half-open" if self._probing.locked() else "open"

    def _show(self) -> None:
        """Report the present state, and again if another thread has changed it meanwhile: the last report is true."""
        shown = None
        while shown != (state := self.state):
            self._on_change(state)
            shown = state
