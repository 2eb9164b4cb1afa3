"""Reads in batches: a lone read is sent at once; reads that arrive while others are under way share the next call.

A store may take several calls at a time, but few of its largest: in a flood of requests, the loop takes long to use the
answers, and the deadline of a call that waits behind many others would end. Also, few reads are not sent beside a large
batch: they wait for its end, though not for long, to share a call with its readers, who often read again. Else each of
the few would go on as a call of its own, at the cost of a whole batch.

A batch lasts for as long as one of its readers waits. Cancelling one reader, for example by a deadline, does not affect
the others; when all readers are cancelled, so is the batch, so that a store that hangs is asked anew.

The deadline of guarded reads begins when their batch is sent: a read may queue for as long as the store answers others.
When a batch fails and none was answered for the time of a deadline, all reads that queue fail.

A read that queues is not sent if its answer is at hand by then. That matters after a pause: then the copies of the near
tier are not current for a store whose versions have to be checked, and the check comes with the first read.
"""

from __future__ import annotations

import asyncio
import enum
import math
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import islice
from typing import Final, TypeVar

from aiohttp_cache_di.backends.store import Found, PartlyReadError, Store
from aiohttp_cache_di.backends.tasks import background
from aiohttp_cache_di.backends.wrap.guarding.guard import READ, StoreGuard
from aiohttp_cache_di.errors import StorageError

__all__ = ["BatchedReads", "UnansweredError"]

T = TypeVar("T")

Waiting = dict[str, list[asyncio.Future[Found | None]]]

SHARE: Final = 4  # a batch that is smaller than 1/SHARE of one under way waits for it; with less, calls are not spread
FULL: Final = 4  # most large batches that are under way together
HELD_FOR: Final = 0.2  # of a deadline: how long few reads wait for a large batch
MAX_HELD_S: Final = 1.0  # the same if the deadline is long


class UnansweredError(StorageError):
    """The guard has no answer: the store has failed or timed out, or its circuit is open."""


class _Next(enum.Enum):
    """When the next read is sent, if the store takes another call."""

    AT_ONCE = "by itself"
    WITH_OTHERS = "at the end of the turn of the loop in which it arrives: others probably arrive in it, or wait"
    AT_END = "at the end of this turn, with all that wait"


class BatchedReads:
    """The reads of one event loop from one store.

    Args:
        guard: limits the time of each batch; without it there is no limit, and errors of the store are raised.
        at_hand: returns the record under a key if it is known without asking the store.
    """

    def __init__(
        self, store: Store, guard: StoreGuard | None = None, at_hand: Callable[[str], Found | None] | None = None
    ) -> None:
        self._store = store
        self._guard = guard
        self._at_hand = at_hand
        self._answered_at = -math.inf
        self._parallel = store.limits.parallel
        self._batch = store.limits.reads or store.limits.batch
        self._most_keys = max(self._parallel, FULL * self._batch)
        self._under_way = 0  # calls of the store, those for a lone read included
        self._batches: dict[asyncio.Task[None], Waiting] = {}
        self._waiting: Waiting = {}
        self._next = _Next.AT_ONCE
        self._hold: asyncio.TimerHandle | None = None  # sends few reads, which wait for a large batch

    async def get(self, key: str) -> Found | None:
        """The record under *key*, read now or later, but not from a read that is under way."""
        try:
            return await self.ask(key)
        except asyncio.CancelledError:
            self.leave(key)
            raise

    def ask(self, key: str) -> Awaitable[Found | None]:
        """As `get`, with one coroutine less: await it at once, and call `leave` if that is cancelled."""
        is_free = self._under_way < self._parallel
        if is_free and self._next is _Next.AT_ONCE:
            return self._ask_alone(key)
        future: asyncio.Future[Found | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append(future)
        if is_free:
            self._send_soon()
        return future

    def leave(self, key: str) -> None:
        """A reader of *key* was cancelled: cancel a batch that has no readers left."""
        if key in self._waiting and all(future.done() for future in self._waiting[key]):
            del self._waiting[key]
        for task, batch in self._batches.items():
            if key in batch and not _unfinished(batch):
                task.cancel()

    async def _ask_alone(self, key: str) -> Found | None:
        guard, ask = self._guard, partial(self._store.get, (key,))
        self._under_way += 1
        try:
            found = await (ask() if guard is None else guard.run(READ, ask, None))
        finally:
            self._under_way -= 1
            if self._waiting:
                self._send_soon()
        return self._answered(found)[0]

    def _send_soon(self) -> None:
        """Send the reads that wait at the end of this turn of the loop, in which more may arrive."""
        if self._next is not _Next.AT_END:
            self._next = _Next.AT_END
            asyncio.get_running_loop().call_soon(self._send)

    def _send(self, *, even_few: bool = False) -> None:
        self._next = _Next.AT_ONCE
        while self._waiting and self._under_way < self._parallel:
            if self._is_full():
                self._next = _Next.WITH_OTHERS
                return
            if self._are_few() and not even_few:
                self._next = _Next.WITH_OTHERS
                if self._hold is None:
                    held_s = min(HELD_FOR * self._deadline_s(), MAX_HELD_S)
                    self._hold = asyncio.get_running_loop().call_later(held_s, self._send_few)
                return
            batch = {key: self._waiting.pop(key) for key in tuple(islice(self._waiting, self._batch))}
            if self._at_hand is not None and not (batch := _rest_of(batch, self._at_hand)):
                continue
            self._next = _Next.WITH_OTHERS if len(batch) > 1 else _Next.AT_ONCE
            self._under_way += 1
            task = background(self._ask_batch(batch))
            task.add_done_callback(self._end)  # also called if the task is cancelled before it begins
            self._batches[task] = batch

    def _send_few(self) -> None:
        self._hold = None
        self._send(even_few=True)

    def _are_few(self) -> bool:
        """Whether the reads that wait are few, compared to those of a batch under way."""
        return len(self._waiting) * SHARE < max(map(len, self._batches.values()), default=0)

    def _is_full(self) -> bool:
        """Whether as many keys are under way as the loop can use the answers for in time."""
        return sum(map(len, self._batches.values())) >= self._most_keys

    async def _ask_batch(self, batch: Waiting) -> None:
        try:
            found = await self._get(tuple(batch))
        except Exception as exc:
            for future in _unfinished(batch):
                future.set_exception(exc)
            return
        for futures, one in zip(batch.values(), found, strict=True):
            for future in futures:
                if future.done():
                    continue
                if isinstance(one, StorageError):
                    future.set_exception(one)
                else:
                    future.set_result(one)

    def _end(self, task: asyncio.Task[None]) -> None:
        batch = self._batches.pop(task)
        if task.cancelled() or task.exception() is not None:
            for future in _unfinished(batch):  # the store itself has cancelled the batch
                future.cancel()
        self._under_way -= 1
        if self._waiting:
            self._send_soon()

    async def _get(self, keys: Sequence[str]) -> Sequence[Found | StorageError | None]:
        """Like `Store.get` with the guard; if only some keys fail, their errors are among the answers."""
        if self._guard is None:
            return await self._get_partly(keys)
        return self._answered(await self._guard.run(READ, partial(self._get_partly, keys), None))

    async def _get_partly(self, keys: Sequence[str]) -> Sequence[Found | StorageError | None]:
        try:
            return await self._store.get(keys)
        except PartlyReadError as exc:
            if self._guard is None:
                return exc.answers
            self._guard.note_failure(READ, exc)
            unanswered = UnansweredError("a server of the store has not answered")
            return [unanswered if isinstance(one, StorageError) else one for one in exc.answers]

    def _answered(self, found: Sequence[T] | None) -> Sequence[T]:
        """Return *found*, or raise UnansweredError if it is None, which means that the guard has no answer."""
        now = asyncio.get_running_loop().time()
        if found is not None:
            self._answered_at = now
            return found
        if now - self._answered_at >= self._deadline_s():  # so those that wait have waited for long, too
            for future in _unfinished(self._waiting):
                future.set_exception(UnansweredError("the store answers no reads"))
            self._waiting = {}
        raise UnansweredError("the store has not answered")

    def _deadline_s(self) -> float:
        return math.inf if self._guard is None else self._guard.deadline_s


def _rest_of(batch: Waiting, at_hand: Callable[[str], Found | None]) -> Waiting:
    """The reads of *batch* whose answers are not *at_hand*; the others are answered."""
    rest: Waiting = {}
    for key, futures in batch.items():
        found = at_hand(key)
        if found is None:
            rest[key] = futures
            continue
        for future in futures:
            if not future.done():
                future.set_result(found)
    return rest


def _unfinished(batch: Waiting) -> list[asyncio.Future[Found | None]]:
    return [future for futures in batch.values() for future in futures if not future.done()]
