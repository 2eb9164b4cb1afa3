"""The time of the server's clock, by which all processes time their leases, however wrong their own clocks are."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from bson.datetime_ms import DatetimeMS
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import OperationFailure

from aiohttp_cache_di.backends.loops import DetachedCalls
from aiohttp_cache_di.backends.mongodb.documents import Document
from aiohttp_cache_di.backends.tasks import consume_error

__all__ = ["ServerClock"]

ASK_EVERY_S: Final = 60.0


class ServerClock:
    """The offset between the server's clock and ours, within half a round trip; measured again in the background.

    Args:
        database: a database of the server; its codec returns dates as `DatetimeMS`.
        calls: the loop's calls, which go on when their callers are cancelled.
    """

    def __init__(self, database: AsyncDatabase[Document], calls: DetachedCalls) -> None:
        self._database = database
        self._calls = calls
        self._ahead_ms: float | None = None  # relative to this process's monotonic clock, which is never adjusted
        self._asking: asyncio.Task[None] | None = None
        self._asked_at = 0.0

    async def now_ms(self) -> int:
        """Milliseconds since 1970.

        Raises:
            PyMongoError: the first measurement has failed.
        """
        now = time.monotonic()
        if self._asking is None or (self._asking.done() and (self._ahead_ms is None or now >= self._due_at)):
            self._asked_at = now
            self._asking = self._calls.begin(self._ask())
            self._asking.add_done_callback(consume_error)
        if self._ahead_ms is None:
            await asyncio.shield(self._asking)
        return round(time.monotonic() * 1000 + (self._ahead_ms or 0.0))

    @property
    def _due_at(self) -> float:
        return self._asked_at + ASK_EVERY_S

    async def _ask(self) -> None:
        asked_at = time.monotonic()
        local_time: object = None
        try:
            answer: Document = await self._database.command("hello", codec_options=self._database.codec_options)
            local_time = answer.get("localTime")
        except OperationFailure:
            pass  # the server does not tell its time: use ours
        now = time.monotonic()
        server_ms = float(int(local_time)) if isinstance(local_time, DatetimeMS) else time.time() * 1000
        at = (asked_at + now) / 2 if isinstance(local_time, DatetimeMS) else now
        self._ahead_ms = server_ms - at * 1000
