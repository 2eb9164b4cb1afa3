"""Looks that bring a lease where nothing is found, as many at once as come while others are under way."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from aiohttp_cache_di.backends.sqlite.connections import Connections
from aiohttp_cache_di.backends.sqlite.reading import Answer, Asked
from aiohttp_cache_di.backends.sqlite.schema import MAX_BATCH
from aiohttp_cache_di.backends.sqlite.writes import fail
from aiohttp_cache_di.backends.store import Lease
from aiohttp_cache_di.backends.wrap.tasks import consume_error

__all__ = ["Looks"]


class Looks:
    """What is asked in one event loop.

    Args:
        connections: that are asked.
        answer: answers them all, in the reader's thread.
        release: gives the lease on a key back, in such a thread.
    """

    def __init__(
        self,
        connections: Connections,
        answer: Callable[[Sequence[Asked], sqlite3.Connection], list[Answer]],
        release: Callable[[str], object],
    ) -> None:
        self._connections = connections
        self._answer = answer
        self._release = release
        self._waiting: list[tuple[Asked, asyncio.Future[Any]]] = []
        self._is_busy = False

    async def ask(self, asked: Asked) -> Answer:
        """Ask now, or with the next ones; who is cancelled holds nothing."""
        future: asyncio.Future[Answer] = self._connections.loop.create_future()
        self._waiting.append((asked, future))
        if not self._is_busy:
            self._send()
        try:
            return await future
        except asyncio.CancelledError:
            if not future.cancelled() and future.exception() is None:  # the answer had come
                self._drop(asked, future.result())
            raise

    def _send(self) -> None:
        batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
        self._is_busy = True
        self._connections.ask(partial(self._answer, [asked for asked, _ in batch]), partial(self._done, batch))

    def _done(
        self,
        batch: list[tuple[Asked, asyncio.Future[Any]]],
        answers: Sequence[Answer] | None,
        error: BaseException | None,
    ) -> None:
        self._is_busy = False
        if error is not None:
            fail([future for _, future in batch], self._connections.dealt_with(error))
        for (asked, future), answer in zip(batch, answers or (), strict=False):
            if future.cancelled():
                self._drop(asked, answer)
            else:
                future.set_result(answer)
        if self._waiting and not self._is_busy:
            self._send()

    def _drop(self, asked: Asked, answer: Answer) -> None:
        if isinstance(answer, Lease) and answer:
            self._connections.query(partial(_give_back, self._release, asked.key)).add_done_callback(consume_error)


def _give_back(release: Callable[[str], object], key: str, _: sqlite3.Connection) -> None:
    release(key)
