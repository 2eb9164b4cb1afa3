"""A circuit breaker: leaves alone what keeps failing, and tries it again one caller at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from aiohttp_cache_di.telemetry import CircuitState

__all__ = ["FIRST_BACKOFF_S", "MAX_BACKOFF_S", "THRESHOLD", "Circuit"]

THRESHOLD: Final = 3
"""Failures in a row that open a circuit."""

FIRST_BACKOFF_S: Final = 0.5
"""How long a circuit stays open before the first probe; it doubles with each probe that fails."""

MAX_BACKOFF_S: Final = 2.0
"""The longest time between two probes: a storage that comes back is used again within it and a deadline."""


class Circuit:
    """The state of one kind of operation: closed, open, or half-open while a probe is under way.

    Args:
        clock: seconds of a clock that never goes back.
        on_change: told of each new state.
    """

    __slots__ = ("_backoff_s", "_clock", "_on_change", "_probing", "_retry_at", "failures", "given_up_at", "is_open")

    def __init__(self, clock: Callable[[], float], on_change: Callable[[CircuitState], None]) -> None:
        self._clock = clock
        self._on_change = on_change
        self._backoff_s = FIRST_BACKOFF_S
        self._retry_at = 0.0
        self._probing = False
        self.failures: int = 0
        self.given_up_at: float | None = None
        """When callers gave up on the storage last, if it has answered none since."""
        self.is_open: bool = False

    def probe_in_s(self) -> float | None:
        """Seconds until the next caller may try an open circuit; None for a closed one."""
        return max(0.0, self._retry_at - self._clock()) if self.is_open else None

    def retry_now(self) -> None:
        """Let the next caller try, however lately it was tried."""
        self._retry_at = self._clock()

    def begin_probe(self) -> bool:
        """Whether the caller may try an open circuit; who is told so must end with `end_probe`."""
        if self._probing or self._clock() < self._retry_at:
            return False
        self._probing = True
        self._on_change("half-open")
        return True

    def end_probe(self) -> None:
        """The probe is over, however it ended; one that was cancelled lets the next caller try."""
        self._probing = False
        if self.is_open:
            self._on_change("open")

    def succeeded(self, *, probe: bool) -> None:
        """An operation succeeded; a late one, begun before the circuit opened, proves nothing."""
        if self.is_open and not probe:
            return
        self.failures = 0
        self.given_up_at = None
        if self.is_open:
            self.is_open = False
            self._backoff_s = FIRST_BACKOFF_S
            self._on_change("closed")

    def given_up(self, *, begun_at: float, now: float) -> bool:
        """A caller gives up on an operation at *now*; whether that tells of a storage that does not answer.

        Once it does not: the machine may have been busy for a moment, or many operations have waited for their turn
        whose callers leave all at once. It does when others give up on what began later, and none was answered.
        """
        earlier = self.given_up_at
        if earlier is not None and begun_at < earlier:
            return False
        self.given_up_at = now
        return earlier is not None

    def failed(self, *, probe: bool) -> None:
        """An operation failed; those begun before the circuit opened do not prolong it."""
        self.failures += 1
        if self.is_open:
            if probe:
                self._backoff_s = min(self._backoff_s * 2, MAX_BACKOFF_S)
                self._retry_at = self._clock() + self._backoff_s
        elif self.failures >= THRESHOLD:
            self.is_open = True
            self._retry_at = self._clock() + self._backoff_s
            self._on_change("open")
