"""One request to the origin per key at a time: others wait for its outcome, never for a lock.

Whoever waits keeps its own timeout and cancellation. An outcome that helps nobody sets everybody free at once.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Literal, TypeAlias, TypeVar, cast

from msgspec import Struct, field

from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["Flight", "Flights", "Outcome", "unless_landed"]

R = TypeVar("R")
T = TypeVar("T")

Outcome: TypeAlias = StoredResponse | Literal["parallel", "abandoned", "late"]
"""How a flight ended for those who waited: with an entry; with nothing that can be shared ("parallel"); without
an end, so that one of them should take its place ("abandoned"); or not in time for this one ("late")."""

MAX_PASSES = 10_000


class Flight(Struct, eq=False):
    """A request to the origin that others may wait for."""

    key: str
    store_allowed: bool = True
    """Set to False when what it fetches was invalidated meanwhile."""
    leader: asyncio.Task[object] | None = None
    """The task that asked first; it would wait for itself if it asked again before it has read the response."""
    asked_at: float = 0.0
    """Loop time at which the leader turned to the origin after it had waited for another process; else 0."""
    arriving_for: object = None
    """A reference to the session whose response's body is on its way, needing nobody to read it."""

    _waiters: set[asyncio.Future[Outcome]] = field(default_factory=set[asyncio.Future[Outcome]])
    _outcome: Outcome | None = None

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self._outcome is not None

    def end(self, outcome: Outcome) -> None:
        """End it; only the first outcome counts."""
        if self._outcome is not None:
            return
        self._outcome = outcome
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(outcome)
        self._waiters.clear()

    async def join(self, patience_s: float) -> Outcome:
        """Wait for its outcome for *patience_s* seconds at most, or as long from when the origin was asked at last."""
        loop = asyncio.get_running_loop()
        joined_at = loop.time()
        outcome = await self._wait(loop, patience_s)
        if outcome == "late" and self.asked_at > joined_at:
            return await self._wait(loop, self.asked_at + patience_s - loop.time())
        return outcome

    async def _wait(self, loop: asyncio.AbstractEventLoop, patience_s: float) -> Outcome:
        if self._outcome is not None:
            return self._outcome
        waiter = self.begin_wait()
        timer = loop.call_later(patience_s, _give_up, waiter)
        try:
            return await waiter
        finally:
            timer.cancel()
            self.end_wait(waiter)

    def begin_wait(self) -> asyncio.Future[Outcome]:
        """A future that gets the outcome when there is one; `end_wait` must follow."""
        waiter: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        return waiter

    def end_wait(self, waiter: asyncio.Future[Outcome]) -> None:
        """Nobody waits for *waiter* any more."""
        self._waiters.discard(waiter)


def _give_up(waiter: asyncio.Future[Outcome]) -> None:
    if not waiter.done():
        waiter.set_result("late")


async def unless_landed(flight: Flight, usable: Callable[[StoredResponse], T | None], work: Awaitable[R]) -> R | T:
    """The result of *work*; or what *usable* makes of the entry of *flight*, if that comes first and is of use.

    For one who was late, and now does the same work: nobody shall wait longer than without a flight, or with it.
    """
    task = cast("asyncio.Task[Any]", asyncio.current_task())
    cancelling = task.cancelling()
    found: T | None = None

    def landed(waiter: asyncio.Future[Outcome]) -> None:
        nonlocal found
        outcome = waiter.result()
        found = usable(outcome) if isinstance(outcome, StoredResponse) else None
        if found is not None:
            task.cancel()

    waiter = flight.begin_wait()
    waiter.add_done_callback(landed)
    try:
        return await work
    except asyncio.CancelledError:
        if found is None or task.cancelling() > cancelling + 1:  # somebody else's cancellation
            raise
        return found
    finally:
        waiter.remove_done_callback(landed)
        flight.end_wait(waiter)
        if found is not None:
            task.uncancel()


class Flights:
    """The flights of one backend in one process, by key, and the keys whose responses cannot be shared.

    Args:
        pass_s: how long a key is remembered whose response could not be stored, so that requests for it go out
            side by side at once.
    """

    def __init__(self, pass_s: float = 30.0) -> None:
        self._flights: dict[str, Flight] = {}
        self._fetching: dict[str, set[Flight]] = {}
        self._passes: OrderedDict[str, float] = OrderedDict()
        self._pass_s = pass_s

    def current(self, key: str) -> Flight | None:
        """The flight that may be joined, if there is one."""
        return self._flights.get(key)

    def start(self, key: str, *, joinable: bool) -> Flight:
        """Begin a flight; others can join it when *joinable*."""
        flight = Flight(key)
        if joinable:
            self._flights[key] = flight
        self._fetching.setdefault(key, set()).add(flight)
        return flight

    def end(self, flight: Flight, outcome: Outcome) -> None:
        """End a flight; harmless when it has ended before."""
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]
        fetching = self._fetching.get(flight.key)
        if fetching is not None:
            fetching.discard(flight)
            if not fetching:
                del self._fetching[flight.key]
        flight.end(outcome)

    def invalidate(self, key: str) -> None:
        """What is on its way for *key* must not be stored: it may have been sent before a change."""
        for flight in self._fetching.get(key, ()):
            flight.store_allowed = False
        if key in self._flights:
            self.end(self._flights[key], "parallel")

    def invalidate_all(self) -> None:
        """As `invalidate`, for all keys."""
        for key in list(self._fetching):
            self.invalidate(key)

    async def arrive(self, keys: Collection[str] | None, patience_s: float, *, owner: object = None) -> None:
        """Wait for bodies on their way (under *keys*, or all; of *owner*, or all), *patience_s* seconds at most."""
        coming = [
            flight.join(patience_s)
            for key, flights in self._fetching.items()
            if keys is None or key in keys
            for flight in flights
            if flight.arriving_for is not None and flight.store_allowed and owner in (None, flight.arriving_for)
        ]
        if coming:
            await asyncio.gather(*coming)

    def remember_pass(self, key: str, *, now: float) -> None:
        """Responses to *key* cannot be shared for a while."""
        self._passes[key] = now + self._pass_s
        self._passes.move_to_end(key)
        if len(self._passes) > MAX_PASSES:
            self._passes.popitem(last=False)

    def is_pass(self, key: str, *, now: float) -> bool:
        """Whether responses to *key* could not be shared lately."""
        until = self._passes.get(key)
        if until is None:
            return False
        if until > now:
            return True
        del self._passes[key]
        return False
