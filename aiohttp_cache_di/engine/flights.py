"""The flights of one event loop by key, so that one request per key goes to the origin at a time."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager
from contextvars import ContextVar

from aiohttp_cache_di.backends.bounded import Bounded
from aiohttp_cache_di.backends.wrap.alarms import Alarms
from aiohttp_cache_di.engine.flight import Flight, Outcome
from aiohttp_cache_di.rfc9111.messages import StoredResponse
from aiohttp_cache_di.rfc9111.validation import entity_tag

__all__ = ["Flights", "changed_by"]

ANNOUNCED_S = 1.0  # aiohttp follows a redirect at once, but a busy store may be asked first
MAX_KEYS = 10_000  # hit-for-miss keys that are remembered

_CHANGES: ContextVar[Flight | int | None] = ContextVar("aiohttp_cache_di_changes", default=None)
"""What the current deletion does not concern: the flight whose response has caused it, or all from a number on."""


@contextmanager
def changed_by(flight: Flight | None) -> Generator[None]:
    """Inside the ``with`` statement, this task deletes what the response of *flight* has made outdated."""
    token = _CHANGES.set(flight)
    try:
        yield
    finally:
        _CHANGES.reset(token)


@contextmanager
def changed_before_now(flights: Flights) -> Generator[None]:
    """Inside the ``with`` statement, begin tasks that delete what has changed by now: later flights may be stored."""
    token = _CHANGES.set(flights.begun)
    try:
        yield
    finally:
        _CHANGES.reset(token)


class Flights:
    """The flights of one backend in one event loop, by key, and the keys whose responses cannot be shared.

    Args:
        hit_for_miss_s: how long a key is remembered whose response could not be stored; meanwhile, concurrent requests
            for it go to the origin without waiting for each other.
    """

    def __init__(self, hit_for_miss_s: float = 30.0) -> None:
        self.begun: int = 0
        """How many flights have begun."""
        self._flights: dict[str, Flight] = {}
        self._fetching: dict[str, list[Flight]] = {}
        self._placed: dict[str, tuple[StoredResponse, int]] = {}
        self.hits_for_miss: Bounded[str, float] = Bounded(MAX_KEYS)
        """Keys whose latest response could not be shared, and until when that is remembered; see `is_hit_for_miss`."""
        self._hit_for_miss_s = hit_for_miss_s
        self._watches = Alarms[Flight](math.inf, Flight.look_after)
        self.current: Callable[[str], Flight | None] = self._flights.get
        """Returns the flight at a place that can be joined, if there is one."""

    def start(self, key: str) -> Flight:
        """Start a flight that others cannot join."""
        return self._begun(Flight(key, key, self, number=self.begun))

    def lead(self, key: str, place: str = "") -> Flight:
        """Start a flight that others can join, with the running task as leader; or take the one that it announced."""
        place = place or key
        flight, task = self._flights.get(place), asyncio.current_task()
        if flight is not None and flight.is_announced and flight.leader is task:
            flight.is_announced = False
            return flight
        self._flights[place] = flight = Flight(key, place, self, leader=task, number=self.begun)
        return self._begun(flight)

    def _begun(self, flight: Flight) -> Flight:
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
        spared = _CHANGES.get()
        for key in list(self._fetching) if keys is None else keys:
            self._placed.pop(key, None)
            for flight in list(self._fetching.get(key, ())):
                if flight is spared or (isinstance(spared, int) and flight.number >= spared):
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

    def remember_hit_for_miss(self, key: str, *, now: float) -> None:
        """Remember for a while that the response to *key* could not be shared."""
        self.hits_for_miss.note(key, now + self._hit_for_miss_s)

    def end_unshared(self, flight: Flight) -> None:
        """End *flight*, and remember for a while that requests for its key need not wait for others (hit-for-miss)."""
        if flight.outcome is None:
            self.remember_hit_for_miss(flight.key, now=time.monotonic())
            flight.end(Outcome.UNSHARED)

    def is_hit_for_miss(self, key: str, *, now: float) -> bool:
        """Whether the latest response to *key* could not be shared, and that is still remembered."""
        until = self.hits_for_miss.get(key)
        if until is None:
            return False
        if until > now:
            return True
        del self.hits_for_miss[key]
        return False


def _end_announced(flight: Flight) -> None:
    if flight.is_announced:
        flight.end(Outcome.ABANDONED)
