"""One request to the origin per key at a time: others wait for its outcome, never for a lock.

Each of them waits as long as its own timeout and cancellation let it. An outcome that helps no other request frees all
at once. Once the head of the response is there, the flight itself tells when waiting for the body is of no more use: it
is *let go* when a body with a known end has stopped arriving for a while, or one without has not ended in that time.
What is let go goes on, and may still answer those who have turned to the origin meanwhile.
"""

from __future__ import annotations

import asyncio
import enum
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar, cast

from msgspec import Struct

from aiohttp_cache_di.backends.wrap.alarms import Alarms
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["Flight", "FlightOutcome", "Flights", "Outcome", "unless_ended"]

R = TypeVar("R")
T = TypeVar("T")


class Outcome(enum.Enum):
    """How a flight ended for those who waited, if it did not bring an entry."""

    UNSHARED = "what came of it is for one request alone"
    ABANDONED = "it has no end, so that one of them has to take its place"
    LATE = "it has not ended in time for this one"


FlightOutcome: TypeAlias = StoredResponse | Outcome

MIN_WATCH_S = 0.001  # of a timer that is worth another one
ANNOUNCED_S = 1.0  # aiohttp follows a redirect at once; a busy store may be asked before
MAX_KEYS = 10_000  # whose responses cannot be shared


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
    is_let_go: bool = False
    """Whether it is no longer waited for, though it has not ended."""
    is_announced: bool = False
    """Whether its leader is still on its way, from a redirect that leads here."""
    body_for: object = None
    """A reference to the session whose response's body is on its way, and comes without being read."""

    _book: Flights | None = None
    _waiters: dict[asyncio.Future[FlightOutcome], bool] = {}
    """Those who wait, and whether they are free once it is let go."""
    _on_free: tuple[Callable[[], None], ...] = ()
    _watch: asyncio.TimerHandle | None = None
    _patience_s: float = 0.0
    _has_end: bool = False
    _arrived_at: float = 0.0
    _outcome: FlightOutcome | None = None
    _is_handed_over: bool = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            # These say little of another's request: the time of the caller was over.
            is_of_one = isinstance(error, asyncio.CancelledError | TimeoutError)
            self.end(Outcome.ABANDONED if is_of_one else Outcome.UNSHARED)
        elif not self._is_handed_over:
            self.end(Outcome.UNSHARED)

    def when_free(self, callback: Callable[[], None]) -> None:
        """Call *callback* once nothing more is to be waited for: when it ends, or is let go before."""
        if self._outcome is None and not self.is_let_go:
            self._on_free += (callback,)
        else:
            callback()

    def hand_over(self) -> None:
        """Let it go on after the ``with``: the caller of this ends it."""
        self._is_handed_over = True

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self._outcome is not None

    @property
    def outcome(self) -> FlightOutcome | None:
        """How it has ended; None while it has not."""
        return self._outcome

    # ---- the body

    def expect_body(self, patience_s: float, *, has_end: bool) -> None:
        """The head has come: let it go if the body takes longer than *patience_s* seconds.

        Args:
            has_end: the head says how long the body is, so that only a pause in its arriving counts.
        """
        if self._outcome is None and self._book is not None:
            self._arrived_at = time.monotonic()
            self._patience_s, self._has_end = patience_s, has_end
            self._book.watch(self, patience_s)

    def arrived(self) -> None:
        """A piece of the body has come."""
        self._arrived_at = time.monotonic()

    def look_after(self) -> None:
        """Let it go, unless more of the body has come meanwhile."""
        if self._outcome is not None:
            return
        left_s = self._arrived_at + self._patience_s - time.monotonic() if self._has_end else 0.0
        if left_s > MIN_WATCH_S:
            self._watch = asyncio.get_running_loop().call_later(left_s, self.look_after)
        else:
            self.let_go()

    def let_go(self) -> None:
        """Free those who wait; it may still end with an entry."""
        self.is_let_go = True
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
        if self._outcome is not None:
            return
        self._outcome = outcome
        if self._watch is not None or self._on_free:
            self._free()
        if self._book is not None:
            self._book.note_end(self, is_watched=self._arrived_at > 0)
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(outcome)
        self._waiters.clear()

    async def join(self, patience_s: float | None = None) -> FlightOutcome:
        """Wait for its outcome while that is of use, and for *patience_s* seconds at most."""
        if self._outcome is not None:
            return self._outcome
        if self.is_let_go:
            return Outcome.LATE
        waiter = self.begin_wait(until_let_go=True)
        timer = None
        if patience_s is not None:
            timer = asyncio.get_running_loop().call_later(patience_s, _give_up, waiter)
        try:
            return await waiter
        finally:
            if timer is not None:
                timer.cancel()
            self.end_wait(waiter)

    def begin_wait(self, *, until_let_go: bool = False) -> asyncio.Future[FlightOutcome]:
        """A future that gets the outcome when there is one; `end_wait` must follow.

        Args:
            until_let_go: it is told `Outcome.LATE` when the flight is let go.
        """
        waiter: asyncio.Future[FlightOutcome] = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = until_let_go
        return waiter

    def end_wait(self, waiter: asyncio.Future[FlightOutcome]) -> None:
        """End what `begin_wait` has begun."""
        self._waiters.pop(waiter, None)


def _end_announced(flight: Flight) -> None:
    if flight.is_announced:
        flight.end(Outcome.ABANDONED)


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


class Flights:
    """The flights of one backend in one process, by key, and the keys whose responses cannot be shared.

    Args:
        hit_for_miss_s: how long a key is remembered whose response could not be stored, so that requests for it go
            out side by side at once.
    """

    def __init__(self, hit_for_miss_s: float = 30.0) -> None:
        self._flights: dict[str, Flight] = {}
        self._fetching: dict[str, list[Flight]] = {}
        self._hits_for_miss: OrderedDict[str, float] = OrderedDict()
        self._hit_for_miss_s = hit_for_miss_s
        self._watches = Alarms[Flight](math.inf, Flight.look_after)

    def current(self, place: str) -> Flight | None:
        """The flight that may be joined, if there is one."""
        return self._flights.get(place)

    def start(self, key: str, *, joinable: bool, place: str = "") -> Flight:
        """Begin a flight; others can join it when *joinable*, by its *place* or else its key."""
        flight = Flight(key, place or key, _book=self)
        if joinable:
            self._flights[flight.place] = flight
        self._fetching.setdefault(key, []).append(flight)
        return flight

    def lead(self, key: str, place: str = "") -> Flight:
        """Begin a flight that others can join, led by the running task; or the one that this has announced."""
        flight, task = self._flights.get(place or key), asyncio.current_task()
        if flight is None or not flight.is_announced or flight.leader is not task:
            flight = self.start(key, joinable=True, place=place)
        flight.is_announced = False
        flight.leader = task
        return flight

    def announce(self, key: str) -> None:
        """The running task is about to ask for *key*; where it does not, others are free after a moment."""
        if key not in self._flights:
            flight = self.lead(key)
            flight.is_announced = True
            asyncio.get_running_loop().call_later(ANNOUNCED_S, _end_announced, flight)

    def watch(self, flight: Flight, patience_s: float) -> None:
        """Look after *flight* in *patience_s* seconds, if it has not ended by then."""
        if self._watches.delay_s != patience_s:
            self._watches = Alarms(patience_s, Flight.look_after)
        self._watches.set(flight)

    def note_end(self, flight: Flight, *, is_watched: bool) -> None:
        """*flight* ends, and is to be joined no more."""
        if is_watched:
            self._watches.unset(flight)
        if self._flights.get(flight.place) is flight:
            del self._flights[flight.place]
        fetching = self._fetching[flight.key]
        fetching.remove(flight)
        if not fetching:
            del self._fetching[flight.key]

    def invalidate(self, key: str) -> None:
        """What is on its way for *key* must not be stored: it may have been sent before a change."""
        for flight in list(self._fetching.get(key, ())):
            flight.store_allowed = False
            if self._flights.get(flight.place) is flight:
                flight.end(Outcome.UNSHARED)

    def invalidate_all(self) -> None:
        """As `invalidate`, for all keys."""
        for key in list(self._fetching):
            self.invalidate(key)

    async def drain_bodies(self, keys: Collection[str] | None, patience_s: float, *, owner: object = None) -> None:
        """Wait for bodies on their way (under *keys*, or all; of *owner*, or all), *patience_s* seconds at most."""
        coming = [
            flight.join(patience_s)
            for key, flights in self._fetching.items()
            if keys is None or key in keys
            for flight in flights
            if flight.body_for is not None and flight.store_allowed and owner in (None, flight.body_for)
        ]
        if coming:
            await asyncio.gather(*coming)

    def remember_hit_for_miss(self, key: str, *, now: float) -> None:
        """Responses to *key* cannot be shared for a while."""
        self._hits_for_miss[key] = now + self._hit_for_miss_s
        self._hits_for_miss.move_to_end(key)
        if len(self._hits_for_miss) > MAX_KEYS:
            self._hits_for_miss.popitem(last=False)

    def is_hit_for_miss(self, key: str, *, now: float) -> bool:
        """Whether responses to *key* could not be shared lately."""
        until = self._hits_for_miss.get(key)
        if until is None:
            return False
        if until > now:
            return True
        del self._hits_for_miss[key]
        return False
