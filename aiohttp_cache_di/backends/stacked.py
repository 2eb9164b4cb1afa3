"""Where a backend keeps responses and redirects: one stack, and the two storages that users see."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Protocol
from weakref import WeakSet

from aiohttp_cache_di.backends.revision import Revised
from aiohttp_cache_di.backends.storage import BaseCache
from aiohttp_cache_di.backends.store import Record
from aiohttp_cache_di.backends.wrap.foreign import pair_of
from aiohttp_cache_di.backends.wrap.guard import StoreGuard
from aiohttp_cache_di.backends.wrap.items import StackCache
from aiohttp_cache_di.backends.wrap.ping import ping
from aiohttp_cache_di.backends.wrap.stack import StoreStack
from aiohttp_cache_di.rfc9111.messages import StoredResponse
from aiohttp_cache_di.telemetry import CacheStats, Health

__all__ = ["Stacked"]


class Runtime(Protocol):
    """What uses a backend in one event loop."""

    def use(self, stack: StoreStack) -> None:
        """Keep and look for responses on *stack* from now on."""


class _Storage:
    """One of the two storages of a backend: setting it makes a store of the two."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __set__(self, backend: Stacked, storage: BaseCache) -> None:
        both = {"responses": backend.responses, "redirects": backend.redirects, self._name: storage}
        if isinstance(storage, BaseCache):
            storage.count_into(backend.stats)
        stack = StoreStack(pair_of(**both), guard=backend.guard)
        backend._set_stack(stack, **both)


def _storage() -> Any:
    return _Storage()


class Stacked(Revised):
    """What has storages that users may set, and the stack that is made of them."""

    stack: StoreStack
    """What the engine asks: pending writes, near tier, guard and batches around the store."""
    stats: CacheStats
    guard: StoreGuard
    responses: BaseCache = _storage()
    redirects: BaseCache = _storage()

    def __init__(self) -> None:
        super().__init__()
        self._runtimes: WeakSet[Runtime] = WeakSet()

    @property
    def response_aliases(self) -> BaseCache:
        """The older name of `redirects`."""
        return self.redirects

    @response_aliases.setter
    def response_aliases(self, storage: BaseCache) -> None:
        self.redirects = storage

    def use(self, stack: StoreStack, face: type[StackCache]) -> None:
        """Keep responses and redirects on *stack* from now on, and show them by two objects of the class *face*."""
        stack.count_into(self.guard)
        self._set_stack(stack, face.on(stack, leads_on=False), face.on(stack, leads_on=True))

    def attach(self, runtime: Runtime) -> None:
        """Tell *runtime* of the stack, now and whenever it is another one."""
        self._runtimes.add(runtime)
        runtime.use(self.stack)

    def _set_stack(self, stack: StoreStack, responses: BaseCache, redirects: BaseCache) -> None:
        self.stack = stack
        self.__dict__.update(responses=responses, redirects=redirects)
        for runtime in list(self._runtimes):
            runtime.use(stack)
        self.revise()

    async def ping(self) -> Health:
        """Open the storage, write a record to it, read that and drop it again; tell what is wrong, and where.

        Raises nothing: what is wrong is logged, and ``stats.health()`` tells it too until it is mended.
        """
        return await ping(self.stack.store, self.guard)

    async def write(self, entry: StoredResponse) -> None:
        """Write *entry* to the storage that it belongs to."""
        stack = self.stack
        await stack.put(Record(entry.key, stack.packing.packed(entry), entry.store_until))

    async def settle(self, keys: Collection[str] | None = None) -> None:
        """Wait until what is being written in the running loop, under *keys* or at all, is written or a try has failed.

        Responses whose bodies have not been read yet are waited for too, if only for a moment.
        """
        await self.stack.settle(keys)
