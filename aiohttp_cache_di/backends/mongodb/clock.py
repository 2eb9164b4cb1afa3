"""The time of the server's clock, by which all processes time their leases, however wrong their own clocks are."""

from __future__ import annotations

import time
from typing import Final

from bson.datetime_ms import DatetimeMS
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import OperationFailure

from aiohttp_cache_di.backends.calls import SharedTask
from aiohttp_cache_di.backends.mongodb.documents import Document

__all__ = ["ServerClock"]

ASK_EVERY_S: Final = 60.0
TASK: Final = "clock"


class ServerClock:
    """The offset between the server's clock and ours, within half a round trip; measured again in the background.

    Args:
        database: a database of the server; its codec returns dates as `DatetimeMS`.
        tasks: the tasks of the connection.
    """

    def __init__(self, database: AsyncDatabase[Document], tasks: SharedTask[None]) -> None:
        self._database = database
        self._tasks = tasks
        self._ahead_ms: float | None = None  # relative to this process's monotonic clock, which is never adjusted
        self._asked_at = 0.0

    async def now_ms(self) -> int:
        """Milliseconds since 1970.

        Raises:
            PyMongoError: the first measurement has failed.
        """
        if self._ahead_ms is None:
            await self._tasks.run(self._ask, TASK)
        elif time.monotonic() >= self._asked_at + ASK_EVERY_S:
            self._tasks.begin(self._ask, TASK)
        return round(time.monotonic() * 1000 + (self._ahead_ms or 0.0))

    async def _ask(self) -> None:
        self._asked_at = asked_at = time.monotonic()
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
