"""What a backend has going on in one event loop: requests under way, what is on its way into the store, tasks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Coroutine
from typing import Any, ClassVar
from weakref import WeakKeyDictionary, WeakSet, ref

from aiohttp import ClientSession, hdrs

from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.backends.wrap.loop import LoopStack
from aiohttp_cache_di.backends.wrap.stack import StoreStack
from aiohttp_cache_di.backends.wrap.tasks import FINISH_WITHIN_S, Tasks
from aiohttp_cache_di.backends.wrap.writing.tombstones import Tombstones
from aiohttp_cache_di.backends.wrap.writing.write import OnWritten
from aiohttp_cache_di.engine.calls.call import CURRENT_CALL
from aiohttp_cache_di.engine.flights import Flights
from aiohttp_cache_di.engine.watching import tell_start
from aiohttp_cache_di.policy import Question
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["Runtime"]

DRAIN_WITHIN_S = 0.5  # bodies commonly follow their heads at once


class Runtime:
    """The moving parts of one backend in one event loop; sessions that share the backend share them."""

    _all: ClassVar[WeakKeyDictionary[CacheBackend, WeakKeyDictionary[asyncio.AbstractEventLoop, Runtime]]] = (
        WeakKeyDictionary()
    )

    here: LoopStack
    """The store as this loop has it."""
    peek: Callable[[str], StoredResponse | None]
    """Gives the response under a key if it is at hand; what is being written counts as written."""

    def __init__(self, backend: CacheBackend) -> None:
        self.flights: Flights = Flights()
        self.changing: WeakSet[ClientSession] | None = None
        """Sessions of which it is known that they do so; None as long as there were none."""
        self._loop = ref(asyncio.get_running_loop())
        self._tasks = Tasks()
        backend.attach(self)
        tell_start(backend)

    @classmethod
    def of(cls, backend: CacheBackend) -> Runtime:
        """The runtime of *backend* in the running loop, made when there is none."""
        loop = asyncio.get_running_loop()
        loops = cls._all.setdefault(backend, WeakKeyDictionary())
        runtime = loops.get(loop)
        if runtime is None:
            runtime = loops[loop] = cls(backend)
        return runtime

    def is_current(self) -> bool:
        """Whether this is the runtime of the running loop."""
        return self._loop() is asyncio.get_running_loop()

    def use(self, stack: StoreStack) -> None:
        """Keep and look for responses on *stack* from now on."""
        loop = self._loop()
        if loop is not None:
            self.here = stack.part_in(loop)
            self.here.under_way = self
            self.peek = self.here.peek

    # ---- sessions that change whom a request is for after the cache was asked: nothing is stored for them

    def has_changed(self, session: ClientSession) -> None:
        """*session* has done so."""
        if self.changing is None:
            self.changing = WeakSet()
        self.changing.add(session)

    def changes(self, session: ClientSession) -> bool:
        """Whether *session* has ever done so."""
        return self.changing is not None and session in self.changing

    # ---- the store

    @property
    def tombstones(self) -> Tombstones:
        """Keys whose deletion failed: what is stored under them must not be used any more."""
        return self.here.tombstones

    def pending(self, key: str) -> StoredResponse | None:
        """The entry that is being written under *key*, if there is one."""
        return self.here.pending.entries.get(key)

    def store(self, entry: StoredResponse, *, outcome: OnWritten | None = None) -> None:
        """Write *entry*: at once where that takes no waiting, else in the background.

        Args:
            outcome: called with True when it is written, and with False when a try has failed or it is given up;
                True may follow.
        """
        self.here.store(entry, outcome)

    def early_lease_s(self, question: Question, backend: CacheBackend) -> float:
        """For how long to ask for the lease on a key with the look for it, in seconds; 0 for not at all.

        It is asked for where a first look is due, and the request will lead the way to the origin if nothing is there.
        """
        key = question.key
        asks = (
            backend.coalesce
            and question.method == hdrs.METH_GET
            and question.plain_until > 0
            and self.flights.current(key) is None
            and not self.flights.is_hit_for_miss(key, now=time.monotonic())
        )
        return backend.lease_s if asks else 0.0

    def give_back(self, key: str, *, owner: object, written: str = "", spare: bool = False) -> None:
        """Give the lease on *key* back, once what is being written under it is there to be seen.

        Args:
            written, spare: see `LoopStack.give_back`.
        """
        self.here.give_back(key, owner=owner, written=written, spare=spare)

    async def settle(self, keys: Collection[str] | None = None, within_s: float | None = None) -> None:
        """Wait until what is being written under *keys* (None: all) is written, or a try has failed."""
        if self.is_current():  # a loop cannot wait for another one's tasks
            await self.here.pending.settle(keys, within_s)

    # ---- bodies and fetches on their way

    async def drain_bodies(self, keys: Collection[str] | None = None, *, owner: object = None) -> None:
        """Wait a moment for bodies that are on their way, and that come without being read.

        Args:
            keys: of which responses; None for all.
            owner: a reference to the session that asked for them; None for any.
        """
        if self.is_current() and CURRENT_CALL.get() is None:  # within a request, it might be its own that it waits for
            await self.flights.drain_bodies(keys, DRAIN_WITHIN_S, owner=owner)

    def invalidate(self, keys: Collection[str] | None) -> None:
        """What is on its way for *keys* (None: all) is not to be stored: it may have been sent before a change."""
        if keys is None:
            self.flights.invalidate_all()
            return
        for key in keys:
            self.flights.invalidate(key)

    # ---- tasks in the background

    def spawn(self, coroutine: Coroutine[Any, Any, None], *, owner: object, name: str | None = None) -> bool:
        """Run *coroutine* in the background for *owner*; with a *name*, only if none of that name is running."""
        return self._tasks.spawn(coroutine, owner=owner, name=name)

    async def finish(self, owner: object) -> None:
        """Wait a moment for what runs in the background for *owner*, such as a lease that is given back."""
        if self.is_current():
            await self._tasks.finish(owner)
            await self.here.tasks.finish(owner)
            await self.here.pending.finish(FINISH_WITHIN_S)

    async def cancel(self, owner: object) -> None:
        """Cancel what runs in the background for *owner* and wait until it has ended."""
        await self._tasks.cancel(owner)
        await self.here.tasks.cancel(owner)
