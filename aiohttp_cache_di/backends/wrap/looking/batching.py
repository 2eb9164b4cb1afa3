"""Reading in batches: a lone read goes at once, and those that come while others are under way go together.

Each batch lasts as long as one of its readers waits. A reader who is cancelled, by a deadline for example, takes no
other with it; when all of them are gone the batch is cancelled, so that a store that hangs is asked anew.

The deadline of guarded reads begins when their batch is sent: those who wait for their turn wait as long as the store
answers others. Once a batch has failed and none was answered for a deadline, nothing is waited for any more.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from functools import partial
from itertools import islice
from typing import TypeVar

from aiohttp_cache_di.backends.store import Found, Store
from aiohttp_cache_di.backends.store.partly import PartlyReadError
from aiohttp_cache_di.backends.wrap.guarding.guard import READ, StoreGuard
from aiohttp_cache_di.backends.wrap.tasks import background
from aiohttp_cache_di.errors import StorageError

__all__ = ["BatchedReads", "UnansweredError"]

T = TypeVar("T")

Waiting = dict[str, list[asyncio.Future[Found | None]]]


class UnansweredError(StorageError):
    """The guard has no answer: the store has failed, takes too long, or is left alone."""


class BatchedReads:
    """The reads of one event loop from one store.

    Args:
        guard: bounds how long each batch takes; without one, what the store raises is raised.
    """

    def __init__(self, store: Store, guard: StoreGuard | None = None) -> None:
        self._store = store
        self._guard = guard
        self._answered_at = -math.inf
        self._limits = store.limits
        self._batch = store.limits.reads or store.limits.batch
        self._under_way = 0
        self._waiting: Waiting = {}
        self._batches: dict[asyncio.Task[None], Waiting] = {}
        self._is_scheduled = False
        self._is_crowded = False  # the last batch had several keys, so that others are likely to follow in this tick

    async def get(self, key: str) -> Found | None:
        """What the store has under *key*, asked for now or later than now."""
        if self._under_way < self._limits.parallel and not (self._is_crowded or self._waiting):
            guard, ask = self._guard, partial(self._store.get, (key,))
            self._under_way += 1
            try:
                found = await (ask() if guard is None else guard.run(READ, ask, None))
            finally:
                self._under_way -= 1
                if self._waiting:
                    self._flush_soon()
            return self._answered(found)[0]
        future: asyncio.Future[Found | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append(future)
        if self._under_way < self._limits.parallel:
            self._flush_soon()
        try:
            return await future
        except asyncio.CancelledError:
            self._left(key)
            raise

    async def _get(self, keys: Sequence[str]) -> Sequence[Found | StorageError | None]:
        """As `Store.get`, with the failures of some among the answers of others."""
        try:
            return await self._store.get(keys)
        except PartlyReadError as exc:
            if self._guard is None:
                return exc.answers
            self._guard.note_failure(READ, exc)
            unanswered = UnansweredError("a server of the store has not answered")
            return [unanswered if isinstance(one, StorageError) else one for one in exc.answers]

    async def _get_guarded(self, keys: Sequence[str]) -> Sequence[Found | StorageError | None]:
        if self._guard is None:
            return await self._get(keys)
        return self._answered(await self._guard.run(READ, partial(self._get, keys), None))

    def _answered(self, found: Sequence[T] | None) -> Sequence[T]:
        """*found*; where that is None the guard has no answer, which is raised."""
        if found is None:
            self._fail_waiting()
            raise UnansweredError("the store has not answered")
        self._answered_at = asyncio.get_running_loop().time()
        return found

    def _fail_waiting(self) -> None:
        """End the wait of those whose turn has not come, if the store has answered none for a deadline."""
        deadline_s = math.inf if self._guard is None else self._guard.deadline_s
        if asyncio.get_running_loop().time() - self._answered_at < deadline_s:
            return
        for future in _open(self._waiting):
            future.set_exception(UnansweredError("the store answers none"))
        self._waiting = {}

    def _left(self, key: str) -> None:
        """A reader of *key* does not wait any more: end what none is left to wait for."""
        if key in self._waiting and all(future.done() for future in self._waiting[key]):
            del self._waiting[key]
        for task, batch in self._batches.items():
            if key in batch and not _open(batch):
                task.cancel()

    def _flush_soon(self) -> None:
        """Send the next batch after those who run in this tick of the loop, and may ask for more."""
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._is_scheduled = False
        self._is_crowded = False
        while self._waiting and self._under_way < self._limits.parallel:
            if len(self._waiting) <= self._batch:
                batch, self._waiting = self._waiting, {}
            else:
                batch = {key: self._waiting.pop(key) for key in tuple(islice(self._waiting, self._batch))}
            keys = tuple(batch)
            self._is_crowded = self._batch > 1 and len(keys) > 1
            self._under_way += 1
            task = background(self._ask(keys, batch))
            task.add_done_callback(partial(self._end, batch))  # also of one that is cancelled before it begins
            self._batches[task] = batch

    async def _ask(self, keys: Sequence[str], batch: Waiting) -> None:
        try:
            found = await self._get_guarded(keys)
        except Exception as exc:
            for future in _open(batch):
                future.set_exception(exc)
        else:
            for futures, one in zip(batch.values(), found, strict=True):
                for future in futures:
                    if future.done():
                        continue
                    if isinstance(one, StorageError):
                        future.set_exception(one)
                    else:
                        future.set_result(one)

    def _end(self, batch: Waiting, task: asyncio.Task[None]) -> None:
        del self._batches[task]
        if task.cancelled() or task.exception() is not None:
            for future in _open(batch):  # the store has cancelled the batch by itself
                future.cancel()
        self._under_way -= 1
        if self._waiting:
            self._flush_soon()


def _open(batch: Waiting) -> list[asyncio.Future[Found | None]]:
    return [future for futures in batch.values() for future in futures if not future.done()]
