"""The state of a backend in one event loop: requests under way, pending writes, background tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine
from typing import Any
from weakref import WeakSet, ref

from aiohttp import ClientSession, hdrs

from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.backends.tasks import FINISH_WITHIN_S, Tasks
from aiohttp_cache_di.backends.wrap.loop import LoopStack
from aiohttp_cache_di.backends.wrap.stack import StoreStack
from aiohttp_cache_di.engine.calls.call import CURRENT_CALL
from aiohttp_cache_di.engine.flights import Flights
from aiohttp_cache_di.engine.watching import tell_start
from aiohttp_cache_di.policy import Question
from aiohttp_cache_di.rfc9111.messages import StoredResponse
from aiohttp_cache_di.telemetry.counters import Counts

__all__ = ["Runtime"]

DRAIN_WITHIN_S = 0.5  # a body commonly follows its head at once


class Runtime:
    """The state of one backend in one event loop, shared by all sessions that use the backend there."""

    here: LoopStack
    """This event loop's part of the backend's stack, through which the store is read and written."""
    peek: Callable[[str], StoredResponse | None]
    """Returns the response under a key if it is at hand; a pending write counts as written."""

    def __init__(self, backend: CacheBackend) -> None:
        self.flights: Flights = Flights()
        self.changing: WeakSet[ClientSession] | None = None
        """Sessions that have changed the user of a request after the cache was asked; None if there were none."""
        self.counts: Counts = backend.stats.counts.here()
        """The counters of the thread in which this event loop runs."""
        self._loop = ref(asyncio.get_running_loop())
        self._tasks = Tasks()
        backend.attach(self)
        tell_start(backend)

    @classmethod
    def of(cls, backend: CacheBackend) -> Runtime:
        """The runtime of *backend* in the running event loop; made if there is none."""
        runtime = backend.attached(asyncio.get_running_loop())
        return runtime if isinstance(runtime, cls) else cls(backend)

    def is_current(self) -> bool:
        """Whether this is the runtime of the running event loop."""
        return self._loop() is asyncio.get_running_loop()

    def use(self, stack: StoreStack) -> None:
        """Read and write responses through *stack* from now on."""
        loop = self._loop()
        if loop is not None:
            self.here = stack.here(loop)
            self.here.under_way = self
            self.peek = self.here.peek

    # ---- sessions that change credentials after the cache was asked: nothing is stored for them

    def has_changed(self, session: ClientSession) -> None:
        """Remember that *session* has sent a request with other credentials than the cache was asked with."""
        if self.changing is None:
            self.changing = WeakSet()
        self.changing.add(session)

    def changes(self, session: ClientSession) -> bool:
        """Whether *session* has ever sent a request with other credentials than the cache was asked with."""
        return self.changing is not None and session in self.changing

    # ---- the store

    def pending(self, key: str) -> StoredResponse | None:
        """The pending write under *key*, if there is one."""
        return self.here.pending.entries.get(key)

    def early_lease_s(self, question: Question, backend: CacheBackend) -> float:
        """How long to lease the key of *question*, in seconds, if the look-up finds nothing; 0 not to lease it.

        The key is leased if the request goes to the origin on a miss, and no other in this process is on its way.
        """
        key = question.key
        asks = (
            backend.coalesce
            and question.method == hdrs.METH_GET
            and question.plain_until > 0
            and self.flights.current(key) is None
            and not self.flights.hits_for_miss.has(key)
        )
        return backend.lease_s if asks else 0.0

    async def settle(self, keys: Collection[str] | None = None, within_s: float | None = None) -> None:
        """Wait until each pending write under *keys* (None: all) is done, or an attempt has failed."""
        if self.is_current():  # tasks of another event loop cannot be awaited
            await self.here.pending.settle(keys, within_s)

    # ---- requests under way

    async def drain_bodies(self, keys: Collection[str] | None = None, *, owner: object = None) -> None:
        """Wait for bodies that arrive without being read, `DRAIN_WITHIN_S` at most.

        Args:
            keys: of which responses; None for all.
            owner: a reference to the session that asked for them; None for any.
        """
        if self.is_current() and CURRENT_CALL.get() is None:  # inside a request, it might wait for that request's body
            await self.flights.drain_bodies(keys, DRAIN_WITHIN_S, owner=owner)

    def invalidate(self, keys: Collection[str] | None) -> None:
        """Forbid storing responses under way for *keys* (None: all): they may have been sent before a change."""
        self.flights.invalidate(keys)

    # ---- tasks in the background

    def spawn(self, coroutine: Coroutine[Any, Any, object], *, owner: object, name: str | None = None) -> bool:
        """Run *coroutine* in the background for *owner*; with a *name*, only if no task of that name is running."""
        return self._tasks.spawn(coroutine, owner=owner, name=name)

    async def finish(self, owner: object) -> None:
        """Wait a moment for background tasks of *owner*, such as the release of a lease, and for pending writes."""
        if self.is_current():
            await self._tasks.finish(owner)
            await self.here.tasks.finish(owner)
            await self.here.pending.finish(FINISH_WITHIN_S)

    async def cancel(self, owner: object) -> None:
        """Cancel the background tasks of *owner*, and wait until they have ended."""
        await self._tasks.cancel(owner)
        await self.here.tasks.cancel(owner)
