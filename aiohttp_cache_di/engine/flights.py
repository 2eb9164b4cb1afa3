"""Flights: requests to the origin, whose outcome other requests wait for; one at a time for each key.

Each waiting request keeps its own timeout and can be cancelled by itself. All are woken together by the outcome, even
if it is of no use to them: there is no lock to pass from one to the next. Once the head of the response has arrived,
the flight can become *late*: when the body has a known length and no byte of it has come for a while, or when its
length is not known and it has not ended in that time. Requests then stop waiting and ask the origin themselves. A late
flight goes on, and may still answer them if it ends first (`unless_ended`).
"""

from __future__ import annotations

import asyncio
import enum
import math
import time
from collections.abc import Awaitable, Callable, Collection, Generator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar, cast

from msgspec import Struct

from aiohttp_cache_di.backends.wrap.alarms import Alarms
from aiohttp_cache_di.engine.hits_for_miss import HitsForMiss
from aiohttp_cache_di.rfc9111.messages import StoredResponse
from aiohttp_cache_di.rfc9111.validation import entity_tag

__all__ = ["Flight", "FlightOutcome", "Flights", "Outcome", "changed_before_now", "changed_by", "unless_ended"]

R = TypeVar("R")
T = TypeVar("T")

ANNOUNCED_S = 1.0  # aiohttp follows a redirect at once, but a busy store may be asked first
MIN_WATCH_S = 0.001  # for a shorter time, another timer is not worth its cost


class Outcome(enum.Enum):
    """Why a flight has no entry for the requests that waited for it."""

    UNSHARED = "its response cannot be shared"
    ABANDONED = "it ended early, so that one of those that wait has to take its place"
    LATE = "it is late, or has not ended within the timeout of the one that waits"


FlightOutcome: TypeAlias = StoredResponse | Outcome


class Flight(Struct, eq=False):
    """One request to the origin that others may wait for.

    It is used in a ``with`` statement, which ends it, unless `is_handed_over` is set meanwhile: then the recording of
    the body ends it.
    """

    key: str
    place: str
    """The name by which requests find it: its key, or for a URL whose responses vary, the key of the variant."""
    _flights: Flights
    store_allowed: bool = True
    """Whether its response may be stored; False if it was invalidated, or a later one was stored, on its way."""
    number: int = 0
    """How many flights had begun before it."""
    leader: asyncio.Task[object] | None = None
    """The task that sends the request. If it asks again before it has read the body, it must not wait for itself."""
    is_late: bool = False
    """Whether requests no longer wait for it, although it has not ended."""
    outcome: FlightOutcome | None = None
    """How it has ended; None as long as it has not."""
    is_handed_over: bool = False
    """Whether it goes on after the ``with`` statement; the code that sets this has to end it."""
    is_announced: bool = False
    """Whether it was started for the target of a redirect, and its leader has not asked for that yet."""
    body_for: object = None
    """A reference to the session that asked, while a body arrives that needs no reader; else None."""
    coming: StoredResponse | None = None
    """The entry of the response whose body arrives, without that body; None if there is none."""

    _waiters: dict[asyncio.Future[FlightOutcome], bool] = {}
    """The futures of the requests that wait, and whether each stops waiting when the flight is late."""
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
            # The caller's time was over, which says nothing about requests of others: one of them takes over.
            is_of_one = isinstance(error, asyncio.CancelledError | TimeoutError)
            self.end(Outcome.ABANDONED if is_of_one else Outcome.UNSHARED)
        elif not self.is_handed_over:
            self.end(Outcome.UNSHARED)

    def when_free(self, callback: Callable[[], None]) -> None:
        """Call *callback* when requests stop waiting for the flight: when it ends or is late, whichever comes first."""
        if self.outcome is None and not self.is_late:
            self._on_free += (callback,)
        else:
            callback()

    # ---- the body

    def expect_body(self, patience_s: float, *, has_end: bool) -> None:
        """Begin to watch the body, whose head has arrived: the flight is late after *patience_s* seconds.

        Args:
            has_end: whether the head states the length of the body; then the time begins anew with each piece.
        """
        if self.outcome is None:
            self._arrived_at = time.monotonic()
            self._patience_s, self._has_end = patience_s, has_end
            self._flights.watch(self, patience_s)

    def arrived(self) -> None:
        """Note that a piece of the body has arrived."""
        self._arrived_at = time.monotonic()

    def look_after(self) -> None:
        """Mark the flight late, or look again later if more of a body of known length has arrived."""
        if self.outcome is not None:
            return
        left_s = self._arrived_at + self._patience_s - time.monotonic() if self._has_end else 0.0
        if left_s > MIN_WATCH_S:
            self._watch = asyncio.get_running_loop().call_later(left_s, self.look_after)
        else:
            self.mark_late()

    def mark_late(self) -> None:
        """Wake the requests that do not wait for a late flight; it may still end with an entry."""
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
        """End the flight with *outcome*, and wake all that wait; later calls have no effect."""
        if self.outcome is not None:
            return
        self.outcome = outcome
        if self._watch is not None or self._on_free:
            self._free()
        self._flights.note_end(self, is_watched=self._arrived_at > 0)
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(outcome)
        self._waiters.clear()

    async def join(self, patience_s: float | None = None) -> FlightOutcome:
        """Wait for the outcome, until the flight is late and for *patience_s* seconds (None: no limit) at most."""
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
        """Return a future for the outcome; the caller has to call `end_wait` with it afterwards.

        Args:
            until_late: set the result `Outcome.LATE` if the flight becomes late.
        """
        waiter: asyncio.Future[FlightOutcome] = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = until_late
        return waiter

    def end_wait(self, waiter: asyncio.Future[FlightOutcome]) -> None:
        """Forget *waiter*, which `begin_wait` returned."""
        self._waiters.pop(waiter, None)


def _give_up(waiter: asyncio.Future[FlightOutcome]) -> None:
    if not waiter.done():
        waiter.set_result(Outcome.LATE)


_SPARES: ContextVar[Callable[[Flight], bool]] = ContextVar("aiohttp_cache_di_spares", default=lambda flight: False)
"""Whether the current deletion does not concern a flight."""


def changed_by(flight: Flight | None) -> AbstractContextManager[None]:
    """Inside the ``with`` statement, this task deletes what the response of *flight* has made outdated."""
    return _sparing(lambda each: each is flight)


def changed_before_now(flights: Flights) -> AbstractContextManager[None]:
    """Inside the ``with`` statement, begin tasks that delete what has changed by now: later flights may be stored."""
    begun = flights.begun
    return _sparing(lambda each: each.number >= begun)


@contextmanager
def _sparing(spares: Callable[[Flight], bool]) -> Generator[None]:
    token = _SPARES.set(spares)
    try:
        yield
    finally:
        _SPARES.reset(token)


class Flights:
    """The flights of one backend in one event loop, by key."""

    def __init__(self) -> None:
        self.begun: int = 0
        """How many flights have begun."""
        self._flights: dict[str, Flight] = {}
        self._fetching: dict[str, list[Flight]] = {}
        self._placed: dict[str, tuple[StoredResponse, int]] = {}
        self.hits_for_miss: HitsForMiss = HitsForMiss()
        """Keys of which requests need not wait for a flight."""
        self._watches = Alarms[Flight](math.inf, Flight.look_after)
        self.current: Callable[[str], Flight | None] = self._flights.get
        """Returns the flight at a place that can be joined, if there is one."""

    def start(self, key: str) -> Flight:
        """Start a flight that others cannot join."""
        return self._begun(Flight(key, key, self))

    def lead(self, key: str, place: str = "") -> Flight:
        """Start a flight that others can join, with the running task as leader; or take the one that it announced."""
        place = place or key
        flight, task = self._flights.get(place), asyncio.current_task()
        if flight is not None and flight.is_announced and flight.leader is task:
            flight.is_announced = False
            return flight
        self._flights[place] = flight = Flight(key, place, self, leader=task)
        return self._begun(flight)

    def _begun(self, flight: Flight) -> Flight:
        flight.number = self.begun
        self.begun += 1
        self._fetching.setdefault(flight.key, []).append(flight)
        return flight

    def announce(self, key: str) -> None:
        """Start a flight for *key*, which the running task will ask for; it ends after `ANNOUNCED_S` if that does not.

        Does nothing if there is a flight for *key* already.
        """
        if key not in self._flights:
            flight = self.lead(key)
            flight.is_announced = True
            asyncio.get_running_loop().call_later(ANNOUNCED_S, _end_announced, flight)

    def watch(self, flight: Flight, patience_s: float) -> None:
        """Call `Flight.look_after` in *patience_s* seconds, unless *flight* has ended by then."""
        if self._watches.delay_s != patience_s:
            self._watches = Alarms(patience_s, Flight.look_after)
        self._watches.set(flight)

    def note_end(self, flight: Flight, *, is_watched: bool) -> None:
        """Remove *flight*, which ends, so that it cannot be joined any more."""
        if is_watched:
            self._watches.unset(flight)
        if self._flights.get(flight.place) is flight:
            del self._flights[flight.place]
        fetching = self._fetching[flight.key]
        fetching.remove(flight)
        if not fetching:
            del self._fetching[flight.key]
            self._placed.pop(flight.key, None)

    def note_placed(self, entry: StoredResponse, deletions: int) -> None:
        """Note that *entry* is written under its key, of whose URL responses vary, after so many *deletions*."""
        if entry.key in self._fetching:
            self._placed[entry.key] = entry, deletions

    def placed(self, key: str) -> tuple[StoredResponse, int] | None:
        """What was noted last by `note_placed` for *key*, as long as there are flights for that.

        They have looked the entry up before it was written, and some stores have no copy in memory.
        """
        return self._placed.get(key)

    def invalidate(self, keys: Collection[str] | None) -> None:
        """Forbid storing responses under way for *keys* (None: all): they may have been sent before a change."""
        spares = _SPARES.get()
        for key in list(self._fetching) if keys is None else keys:
            self._placed.pop(key, None)
            for flight in list(self._fetching.get(key, ())):
                if spares(flight):
                    continue
                flight.store_allowed = False
                if self._flights.get(flight.place) is flight:
                    flight.end(Outcome.UNSHARED)

    def supersede(self, key: str, entry: StoredResponse) -> None:
        """Forbid storing, in place of *entry*, responses to *key* that had arrived before *entry* was asked for.

        Their bodies still arrive. Other variants of the URL may be stored, and what has the same entity tag, such as
        the whole of which *entry* is a part.
        """
        for flight in self._fetching.get(key, ()):
            coming = flight.coming
            if coming is None or coming.received_at >= entry.requested_at:
                continue
            is_other = coming.vary_fields == entry.vary_fields and coming.vary_digest != entry.vary_digest
            tag = entity_tag(coming.headers)
            if not is_other and (tag is None or tag != entity_tag(entry.headers)):
                flight.store_allowed = False

    async def drain_bodies(self, keys: Collection[str] | None, patience_s: float, *, owner: object = None) -> None:
        """Wait for bodies that arrive without being read, each *patience_s* seconds at most.

        Args:
            keys: of which responses; None for all.
            owner: a reference to the session that asked for them; None for any.
        """
        coming = [
            flight.join(patience_s)
            for key, flights in self._fetching.items()
            if keys is None or key in keys
            for flight in flights
            if flight.body_for is not None and flight.store_allowed and owner in (None, flight.body_for)
        ]
        if coming:
            await asyncio.gather(*coming)

    def end_unshared(self, flight: Flight) -> None:
        """End *flight*, and remember for a while that requests for its key need not wait for others (hit-for-miss)."""
        if flight.outcome is None:
            self.hits_for_miss.add(flight.key)
            flight.end(Outcome.UNSHARED)


def _end_announced(flight: Flight) -> None:
    if flight.is_announced:
        flight.end(Outcome.ABANDONED)


async def unless_ended(flight: Flight, usable: Callable[[StoredResponse], T | None], work: Awaitable[R]) -> R | T:
    """The result of *work*; or what *usable* makes of the entry of *flight*, if that comes first and is not None.

    For a request that has stopped waiting for a late *flight* and asks the origin itself: it takes what comes first.
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
        if found is None or task.cancelling() > cancelling + 1:  # cancelled from outside
            raise
        return found
    finally:
        waiter.remove_done_callback(ended)
        flight.end_wait(waiter)
        if found is not None:
            task.uncancel()
