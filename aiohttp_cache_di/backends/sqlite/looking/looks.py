"""Batching look-ups and requests for leases: those that arrive while one job is under way share the next one."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

from aiohttp_cache_di.backends.sqlite.connections import Connections
from aiohttp_cache_di.backends.sqlite.file.schema import MAX_BATCH
from aiohttp_cache_di.backends.sqlite.looking.reading import Answer, LeaseRequest, Seen
from aiohttp_cache_di.backends.sqlite.writing.writes import fail
from aiohttp_cache_di.backends.store import Lease
from aiohttp_cache_di.backends.tasks import consume_error
from aiohttp_cache_di.errors import StorageError

__all__ = ["Looks"]

Reads: TypeAlias = list[tuple[Sequence[str], asyncio.Future[Any]]]
LeaseRequests: TypeAlias = list[tuple[LeaseRequest, asyncio.Future[Any]]]


class Looks:
    """The look-ups and requests for leases of one event loop.

    Args:
        connections: the loop's connections.
        answer: looks keys up and takes leases, in the reader's thread.
        release: releases the lease on a key, in the reader's thread.
    """

    def __init__(
        self,
        connections: Connections,
        answer: Callable[
            [Sequence[str], Sequence[LeaseRequest], sqlite3.Connection], tuple[list[Seen | None], list[Answer]]
        ],
        release: Callable[[str], object],
    ) -> None:
        self._connections = connections
        self._answer = answer
        self._release = release
        self._reads: Reads = []
        self._waiting: LeaseRequests = []
        self._is_busy = False

    def get(self, keys: Sequence[str]) -> asyncio.Future[list[Seen | None]]:
        """Look *keys* up, at most `MAX_BATCH` of them."""
        future: asyncio.Future[list[Seen | None]] = self._connections.loop.create_future()
        self._reads.append((keys, future))
        if not self._is_busy:
            self._send()
        return future

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
        reads, room = self._next_reads()
        asks: LeaseRequests = []
        if self._waiting:
            asks, self._waiting = self._waiting[:room], self._waiting[room:]
        keys = reads[0][0] if len(reads) == 1 else [key for keys, _ in reads for key in keys]
        job = partial(self._answer, keys, [request for request, _ in asks] if asks else ())
        self._connections.ask(job, partial(self._done, reads, asks))

    def _next_reads(self) -> tuple[Reads, int]:
        """The look-ups of the next batch, and for how many more keys the batch has room."""
        if len(self._reads) < 2:
            reads, self._reads = self._reads, []
            return reads, MAX_BATCH - (len(reads[0][0]) if reads else 0)
        self._reads = [read for read in self._reads if not read[1].cancelled()]
        room, count = MAX_BATCH, 0
        for keys, _ in self._reads:
            if len(keys) > room:
                break
            room -= len(keys)
            count += 1
        reads, self._reads = self._reads[:count], self._reads[count:]
        return reads, room

    def _done(
        self,
        reads: Reads,
        asks: LeaseRequests,
        answers: tuple[list[Seen | None], list[Answer]] | None,
        error: BaseException | None,
    ) -> None:
        self._is_busy = False
        if answers is None:
            failure = self._connections.dealt_with(error or StorageError("the reader's thread has not answered"))
            fail([future for _, future in (*reads, *asks)], failure)
        else:
            self._tell(reads, asks, *answers)
        if (self._reads or self._waiting) and not self._is_busy:
            self._send()

    def _tell(self, reads: Reads, asks: LeaseRequests, found: list[Seen | None], answers: list[Answer]) -> None:
        begin = 0
        for keys, future in reads:
            end = begin + len(keys)
            if not future.done():
                future.set_result(found[begin:end])
            begin = end
        for (request, asking), answer in zip(asks, answers, strict=True):
            if asking.cancelled():
                self._drop(request, answer)
            else:
                asking.set_result(answer)

    def _drop(self, request: LeaseRequest, answer: Answer) -> None:
        if isinstance(answer, Lease) and answer:
            self._connections.query(partial(_release_now, self._release, request.key)).add_done_callback(consume_error)


def _release_now(release: Callable[[str], object], key: str, _: sqlite3.Connection) -> None:
    release(key)
