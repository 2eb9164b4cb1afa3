"""What a backend has going on in one event loop: requests under way, writes under way, tasks in the background."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Collection, Coroutine
from typing import Any, ClassVar
from weakref import WeakKeyDictionary, ref

from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.backends.memory.store import DictCache
from aiohttp_cache_di.backends.storage import BaseCache
from aiohttp_cache_di.engine.call import CURRENT_CALL
from aiohttp_cache_di.engine.flights import Flights
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["Runtime"]

logger = logging.getLogger(__name__)

MAX_PENDING_BYTES = 64 * 1024 * 1024  # of entries that wait to be written; more than that is not stored
MAX_DOOMED = 100_000
ARRIVE_WITHIN_S = 0.5  # bodies commonly follow their heads at once
FINISH_WITHIN_S = 1.0  # several storage deadlines; only a user's own code could take longer


class Runtime:
    """The moving parts of one backend in one event loop; sessions that share the backend share them.

    A write is off the caller's path: it is pending until the storage has it, and meanwhile read from here.
    """

    _all: ClassVar[WeakKeyDictionary[CacheBackend, WeakKeyDictionary[asyncio.AbstractEventLoop, Runtime]]] = (
        WeakKeyDictionary()
    )

    def __init__(self, backend: CacheBackend) -> None:
        self.flights = Flights()
        self._loop = ref(asyncio.get_running_loop())
        self._stats = backend.stats
        self._guard = backend.guard
        self._pending: dict[str, StoredResponse] = {}
        self._pending_bytes = 0
        self.doomed: OrderedDict[str, None] = OrderedDict()
        """Keys whose deletion failed: what is stored under them must not be used any more."""
        self._writes: dict[asyncio.Task[None], str] = {}
        self._queued: dict[str, BaseCache] = {}  # keys of writes that have not begun
        self._leased: set[str] = set()  # keys of those among them with which a lease ends
        self._tasks: dict[asyncio.Task[None], object] = {}
        self._names: set[tuple[object, str]] = set()

    @classmethod
    def of(cls, backend: CacheBackend) -> Runtime:
        """The runtime of *backend* in the running loop, made when there is none."""
        loop = asyncio.get_running_loop()
        loops = cls._all.setdefault(backend, WeakKeyDictionary())
        runtime = loops.get(loop)
        if runtime is None:
            runtime = loops[loop] = cls(backend)
            backend.watch(runtime)
        return runtime

    def is_current(self) -> bool:
        """Whether this is the runtime of the running loop."""
        return self._loop() is asyncio.get_running_loop()

    # ---- writes

    def pending(self, key: str) -> StoredResponse | None:
        """The entry that is being written under *key*, if there is one."""
        return self._pending.get(key)

    def store(
        self, entry: StoredResponse, storage: BaseCache, *, outcome: Callable[[bool], None] | None = None
    ) -> None:
        """Write *entry* to *storage*: at once where that takes no waiting, else in the background.

        Args:
            outcome: called with True when it is written; with False when it is refused, or a try has failed.
        """
        if isinstance(storage, DictCache):
            storage.put(entry)
            self._tell(outcome, is_written=entry.key in storage.data)  # or too large for the storage's bounds
            return
        size = entry.size_bytes
        if self._pending_bytes + size > MAX_PENDING_BYTES:
            self._stats.count_error("write", "backlog")
            self._tell(outcome, is_written=False)
            return
        self._pending[entry.key] = entry
        self._pending_bytes += size
        self._queued[entry.key] = storage  # before the task, which may begin at once
        task = _background(self._write(entry, storage, size, outcome))
        self._writes[task] = entry.key
        task.add_done_callback(self._writes.pop)

    def _tell(self, outcome: Callable[[bool], None] | None, *, is_written: bool) -> None:
        self._stats.stored += is_written
        if outcome is not None:
            outcome(is_written)

    async def _write(
        self, entry: StoredResponse, storage: BaseCache, size: int, outcome: Callable[[bool], None] | None
    ) -> None:
        key = entry.key
        self._queued.pop(key, None)
        is_leased = key in self._leased
        self._leased.discard(key)
        write = storage.write_leased if is_leased else storage.write_entry
        is_written = False
        try:
            is_written = await self._guard.run("write", lambda: write(entry), False) is not False
            if is_written:
                self.doomed.pop(key, None)
        finally:
            self._pending_bytes -= size
            if self._pending.get(key) is entry:
                del self._pending[key]
            self._tell(outcome, is_written=is_written)
        if is_leased and not is_written:
            await self._guard.run("lease", lambda: storage.release_lease(key), None)

    def give_back(self, key: str, storage: BaseCache, *, owner: object) -> None:
        """Give the lease on *key* back, once what is being written under it is there to be seen."""
        if self._queued.get(key) is storage:  # with the write, which has not begun
            self._leased.add(key)
            return

        async def release() -> None:
            await self.settle({key})
            await self._guard.run("lease", lambda: storage.release_lease(key), None)

        self.spawn(release(), owner=owner)

    async def arrive(self, keys: Collection[str] | None = None, *, owner: object = None) -> None:
        """Wait a moment for bodies that are on their way, and that nobody need read for them to come.

        Args:
            keys: of which responses; None for all.
            owner: a reference to the session that asked for them; None for any.
        """
        if self.is_current() and CURRENT_CALL.get() is None:  # within a request, it might be its own that it waits for
            await self.flights.arrive(keys, ARRIVE_WITHIN_S, owner=owner)

    async def settle(self, keys: Collection[str] | None = None) -> None:
        """Wait until pending writes (those of *keys*, or all) are done, or have been given up."""
        if not self.is_current() or asyncio.current_task() in self._writes:
            return  # a loop cannot wait for another one's tasks, nor a write for itself
        waited = [task for task, key in self._writes.items() if keys is None or key in keys]
        if waited:
            await asyncio.wait(waited)

    def forget(self, keys: Collection[str] | None) -> None:
        """Entries under *keys* (None: all) are being deleted: nothing older may be stored or read any more."""
        loop = self._loop()
        if self.is_current():
            self._forget(keys)
        elif loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._forget, keys)  # those who wait do so in the loop of another thread

    def _forget(self, keys: Collection[str] | None) -> None:
        if keys is None:
            self.flights.invalidate_all()
            self._pending.clear()
            return
        for key in keys:
            self.flights.invalidate(key)
            self._pending.pop(key, None)

    def doom(self, keys: Collection[str]) -> None:
        """Remember that *keys* could not be deleted."""
        for key in keys:
            self.doomed[key] = None
        while len(self.doomed) > MAX_DOOMED:
            self.doomed.popitem(last=False)

    # ---- tasks in the background

    def spawn(self, coroutine: Coroutine[Any, Any, None], *, owner: object, name: str | None = None) -> bool:
        """Run *coroutine* in the background for *owner*; with a *name*, only if none of that name is running."""
        if name is not None and (owner, name) in self._names:
            coroutine.close()
            return False
        task = _background(coroutine)
        self._tasks[task] = owner
        if name is not None:
            self._names.add((owner, name))

        def over(task: asyncio.Task[None]) -> None:
            del self._tasks[task]
            self._names.discard((owner, name or ""))
            if not task.cancelled() and (error := task.exception()) is not None:
                logger.warning("A background task of the cache failed: %s", type(error).__name__)

        task.add_done_callback(over)
        return True

    async def finish(self, owner: object) -> None:
        """Wait a moment for what runs in the background for *owner*, such as a lease that is given back."""
        tasks = [task for task, whose in self._tasks.items() if whose is owner]
        if tasks and asyncio.get_running_loop() is self._loop():
            await asyncio.wait(tasks, timeout=FINISH_WITHIN_S)

    async def cancel(self, owner: object) -> None:
        """Cancel what runs in the background for *owner* and wait until it has ended."""
        tasks = [task for task, whose in self._tasks.items() if whose is owner]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def _background(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """A task that nobody is told of when a program drops its loop without closing: only what is cached may be lost."""
    task = asyncio.get_running_loop().create_task(coroutine)
    inner: Any = task
    with contextlib.suppress(AttributeError):  # of a task of another make
        inner._log_destroy_pending = False
    return task
