"""One request to the origin per key at a time: the flights of one process."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable, Collection

from aiohttp_cache_di.backends.wrap.alarms import Alarms
from aiohttp_cache_di.engine.flight import Flight, Outcome

__all__ = ["Flights"]

ANNOUNCED_S = 1.0  # aiohttp follows a redirect at once; a busy store may be asked before
MAX_KEYS = 10_000  # whose responses cannot be shared


class Flights:
    """The flights of one backend in one process, by key, and the keys whose responses cannot be shared.

    Args:
        hit_for_miss_s: how long a key is remembered whose response could not be stored, so that requests for it go
            out side by side at once.
    """

    def __init__(self, hit_for_miss_s: float = 30.0) -> None:
        self._flights: dict[str, Flight] = {}
        self._fetching: dict[str, list[Flight]] = {}
        self.hits_for_miss: OrderedDict[str, float] = OrderedDict()
        """Keys whose responses could not be shared lately, and until when that counts: see `is_hit_for_miss`."""
        self._hit_for_miss_s = hit_for_miss_s
        self._watches = Alarms[Flight](math.inf, Flight.look_after)
        self.current: Callable[[str], Flight | None] = self._flights.get
        """Gives the flight that may be joined at a place, if there is one."""

    def start(self, key: str, *, joinable: bool) -> Flight:
        """Begin a flight of no task's own; others can join it by its key when *joinable*."""
        flight = Flight(key, key, _flights=self)
        if joinable:
            self._flights[key] = flight
        self._fetching.setdefault(key, []).append(flight)
        return flight

    def lead(self, key: str, place: str = "") -> Flight:
        """Begin a flight that others can join, led by the running task; or the one that this has announced."""
        place = place or key
        flight, task = self._flights.get(place), asyncio.current_task()
        if flight is not None and flight.is_announced and flight.leader is task:
            flight.is_announced = False
            return flight
        self._flights[place] = flight = Flight(key, place, leader=task, _flights=self)
        self._fetching.setdefault(key, []).append(flight)
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
        self.hits_for_miss[key] = now + self._hit_for_miss_s
        self.hits_for_miss.move_to_end(key)
        if len(self.hits_for_miss) > MAX_KEYS:
            self.hits_for_miss.popitem(last=False)

    def is_hit_for_miss(self, key: str, *, now: float) -> bool:
        """Whether responses to *key* could not be shared lately."""
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
