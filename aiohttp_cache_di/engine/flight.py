"""One request to the origin that others wait for: for its outcome, never for a lock.

Each of them waits as long as its own timeout and cancellation let it. An outcome that helps no other request frees all
at once. Once the head of the response is there, the flight itself tells when waiting for the body is of no more use: it
is *late* when a body with a known end has stopped arriving for a while, or one without has not ended in that time.
What is late goes on, and may still answer those who have turned to the origin meanwhile.
"""

from __future__ import annotations

import asyncio
import enum
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Protocol, Self, TypeAlias, TypeVar, cast

from msgspec import Struct

from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["Flight", "FlightOutcome", "Outcome", "unless_ended"]

R = TypeVar("R")
T = TypeVar("T")


class Outcome(enum.Enum):
    """How a flight ended for those who waited, if it did not bring an entry."""

    UNSHARED = "what came of it is for one request alone"
    ABANDONED = "it has no end, so that one of them has to take its place"
    LATE = "it has not ended in time for this one"


FlightOutcome: TypeAlias = StoredResponse | Outcome

MIN_WATCH_S = 0.001  # of a timer that is worth another one


class Registry(Protocol):
    """What a flight asks of the `flights.Flights` that it is one of."""

    def watch(self, flight: Flight, patience_s: float) -> None:
        """Look after *flight* in *patience_s* seconds, if it has not ended by then."""

    def note_end(self, flight: Flight, *, is_watched: bool) -> None:
        """*flight* ends, and is to be joined no more."""


class Flight(Struct, eq=False):
    """A request to the origin that others may wait for.

    It has one owner, in a ``with`` at whose end the flight ends too: the exchange, until that hands it over to the
    recording of the body.
    """

    key: str
    place: str = ""
    """By which others find it: its key, or what tells the variants of one URL apart as well."""
    store_allowed: bool = True
    """Set to False when what it fetches was invalidated meanwhile."""
    leader: asyncio.Task[object] | None = None
    """The task that asked first; it would wait for itself if it asked again before it has read the response."""
    is_late: bool = False
    """Whether it is no longer waited for, though it has not ended."""
    outcome: FlightOutcome | None = None
    """How it has ended; None while it has not."""
    is_handed_over: bool = False
    """Whether it goes on after the ``with``: who says so ends it."""
    is_announced: bool = False
    """Whether its leader is still on its way, from a redirect that leads here."""
    body_for: object = None
    """A reference to the session whose response's body is on its way, and comes without being read."""

    _flights: Registry | None = None
    _waiters: dict[asyncio.Future[FlightOutcome], bool] = {}
    """Those who wait, and whether they are free once it is late."""
    _on_free: tuple[Callable[[], None], ...] = ()
    _watch: asyncio.TimerHandle | None = None
    _patience_s: float = 0.0
    _has_end: bool = False
    _arrived_at: float = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            # These say little of another's request: the time of the caller was over.
            is_of_one = isinstance(error, asyncio.CancelledError | TimeoutError)
            self.end(Outcome.ABANDONED if is_of_one else Outcome.UNSHARED)
        elif not self.is_handed_over:
            self.end(Outcome.UNSHARED)

    def when_free(self, callback: Callable[[], None]) -> None:
        """Call *callback* once nothing more is to be waited for: when it ends, or is late before."""
        if self.outcome is None and not self.is_late:
            self._on_free += (callback,)
        else:
            callback()

    # ---- the body

    def expect_body(self, patience_s: float, *, has_end: bool) -> None:
        """The head has come: it is late if the body takes longer than *patience_s* seconds.

        Args:
            has_end: the head says how long the body is, so that only a pause in its arriving counts.
        """
        if self.outcome is None and self._flights is not None:
            self._arrived_at = time.monotonic()
            self._patience_s, self._has_end = patience_s, has_end
            self._flights.watch(self, patience_s)

    def arrived(self) -> None:
        """A piece of the body has come."""
        self._arrived_at = time.monotonic()

    def look_after(self) -> None:
        """It is late, unless more of the body has come meanwhile."""
        if self.outcome is not None:
            return
        left_s = self._arrived_at + self._patience_s - time.monotonic() if self._has_end else 0.0
        if left_s > MIN_WATCH_S:
            self._watch = asyncio.get_running_loop().call_later(left_s, self.look_after)
        else:
            self.mark_late()

    def mark_late(self) -> None:
        """Free those who wait for it no longer; it may still end with an entry."""
        self.is_late = True
        for waiter, is_patient in self._waiters.items():
            if is_patient and not waiter.done():
                waiter.set_result(Outcome.LATE)
        self._free()

    def _free(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        callbacks, self._on_free = self._on_free, ()
        for callback in callbacks:
            callback()

    # ---- its end

    def end(self, outcome: FlightOutcome) -> None:
        """End it; only the first outcome counts."""
        if self.outcome is not None:
            return
        self.outcome = outcome
        if self._watch is not None or self._on_free:
            self._free()
        if self._flights is not None:
            self._flights.note_end(self, is_watched=self._arrived_at > 0)
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(outcome)
        self._waiters.clear()

    async def join(self, patience_s: float | None = None) -> FlightOutcome:
        """Wait for its outcome while that is of use, and for *patience_s* seconds at most."""
        if self.outcome is not None:
            return self.outcome
        if self.is_late:
            return Outcome.LATE
        waiter = self.begin_wait(until_late=True)
        timer = None
        if patience_s is not None:
            timer = asyncio.get_running_loop().call_later(patience_s, _give_up, waiter)
        try:
            return await waiter
        finally:
            if timer is not None:
                timer.cancel()
            self.end_wait(waiter)

    def begin_wait(self, *, until_late: bool = False) -> asyncio.Future[FlightOutcome]:
        """A future that gets the outcome when there is one; `end_wait` must follow.

        Args:
            until_late: it is told `Outcome.LATE` when the flight is late.
        """
        waiter: asyncio.Future[FlightOutcome] = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = until_late
        return waiter

    def end_wait(self, waiter: asyncio.Future[FlightOutcome]) -> None:
        """End what `begin_wait` has begun."""
        self._waiters.pop(waiter, None)


def _give_up(waiter: asyncio.Future[FlightOutcome]) -> None:
    if not waiter.done():
        waiter.set_result(Outcome.LATE)


async def unless_ended(flight: Flight, usable: Callable[[StoredResponse], T | None], work: Awaitable[R]) -> R | T:
    """The result of *work*; or what *usable* makes of the entry of *flight*, if that comes first and is of use.

    For a follower that was late and now does the same work: it waits no longer than without a flight, or with it.
    """
    task = cast("asyncio.Task[Any]", asyncio.current_task())
    cancelling = task.cancelling()
    found: T | None = None

    def ended(waiter: asyncio.Future[FlightOutcome]) -> None:
        nonlocal found
        outcome = waiter.result()
        found = usable(outcome) if isinstance(outcome, StoredResponse) else None
        if found is not None:
            task.cancel()

    waiter = flight.begin_wait()
    waiter.add_done_callback(ended)
    try:
        return await work
    except asyncio.CancelledError:
        if found is None or task.cancelling() > cancelling + 1:  # another's cancellation
            raise
        return found
    finally:
        waiter.remove_done_callback(ended)
        flight.end_wait(waiter)
        if found is not None:
            task.uncancel()
