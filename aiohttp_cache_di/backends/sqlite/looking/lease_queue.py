"""The queue of requests for leases: those that arrive while one job is under way share the next one."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TypeAlias

from aiohttp_cache_di.backends.sqlite.connections import Connections
from aiohttp_cache_di.backends.sqlite.file.schema import MAX_BATCH
from aiohttp_cache_di.backends.sqlite.looking.reading import Answer, LeaseRequest, Reading
from aiohttp_cache_di.backends.sqlite.writing.writes import fail
from aiohttp_cache_di.backends.store import Lease
from aiohttp_cache_di.backends.tasks import consume_error
from aiohttp_cache_di.errors import StorageError

__all__ = ["LeaseQueue"]

LeaseRequests: TypeAlias = list[tuple[LeaseRequest, asyncio.Future[Answer]]]


class LeaseQueue:
    """The requests for leases of one event loop, most of which are also look-ups.

    Args:
        connections: the loop's connections.
        reading: answers requests, in the reader's thread.
    """

    def __init__(self, connections: Connections, reading: Reading) -> None:
        self._connections = connections
        self._reading = reading
        self._waiting: LeaseRequests = []
        self._is_busy = False

    async def ask(self, request: LeaseRequest) -> Answer:
        """Send *request* now or with the next batch; a caller that is cancelled holds no lease."""
        future: asyncio.Future[Answer] = self._connections.loop.create_future()
        self._waiting.append((request, future))
        if not self._is_busy:
            self._send()
        try:
            return await future
        except asyncio.CancelledError:
            if not future.cancelled() and future.exception() is None:  # the answer had arrived before
                self._drop(request, future.result())
            raise

    def _send(self) -> None:
        self._is_busy = True
        asks, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
        job = partial(self._reading.answer, [request for request, _ in asks])
        self._connections.ask(job, partial(self._done, asks))

    def _done(self, asks: LeaseRequests, answers: list[Answer] | None, error: BaseException | None) -> None:
        self._is_busy = False
        if answers is None:
            failure = self._connections.dealt_with(error or StorageError("the reader's thread has not answered"))
            fail([future for _, future in asks], failure)
        else:
            self._tell(asks, answers)
        if self._waiting and not self._is_busy:
            self._send()

    def _tell(self, asks: LeaseRequests, answers: list[Answer]) -> None:
        for (request, asking), answer in zip(asks, answers, strict=True):
            if asking.cancelled():
                self._drop(request, answer)
            else:
                asking.set_result(answer)

    def _drop(self, request: LeaseRequest, answer: Answer) -> None:
        if isinstance(answer, Lease) and answer:
            releasing = self._connections.query(lambda _: self._reading.leases.release(request.key))
            releasing.add_done_callback(consume_error)
