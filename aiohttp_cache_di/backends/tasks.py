"""Background tasks, and futures whose result nothing awaits."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

__all__ = ["FINISH_WITHIN_S", "Tasks", "abandon", "background", "consume_error", "dismantle"]

logger: logging.Logger = logging.getLogger(__name__)

T = TypeVar("T")

FREED_AT_A_TIME = 500  # entries, in one turn of the loop
FINISH_WITHIN_S = 1.0
"""Most seconds for which closing waits for what is under way: several deadlines of the store."""


def background(coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """A task without asyncio's warning if the program drops its loop: only cached responses may be lost."""
    task = asyncio.get_running_loop().create_task(coroutine)
    inner: Any = task
    try:  # noqa: SIM105  # suppress() would cost each write a microsecond
        inner._log_destroy_pending = False
    except AttributeError:  # not asyncio's own class of tasks
        pass
    return task


def abandon(future: asyncio.Future[Any]) -> None:
    """Cancel *future*, and ignore its result or error."""
    if not future.cancel() and not future.cancelled():
        future.exception()


def consume_error(future: asyncio.Future[Any]) -> None:
    """Done callback for a future that is not awaited: retrieve its error, so that asyncio does not log it."""
    if not future.cancelled():
        future.exception()


def dismantle(table: OrderedDict[str, Any]) -> None:
    """Empty *table*, which nothing else uses any more, some entries in each turn of the loop.

    Freeing an entry takes a microsecond or two, and there may be many thousands.
    """
    for _ in range(min(FREED_AT_A_TIME, len(table))):
        table.popitem()
    if table:
        with suppress(RuntimeError):  # no loop is running that could be blocked, so the rest is freed at once
            asyncio.get_running_loop().call_soon(dismantle, table)


class Tasks:
    """The background tasks of one event loop, by owner."""

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[Any], object] = {}
        self._names: set[tuple[object, str]] = set()

    def spawn(self, coroutine: Coroutine[Any, Any, object], *, owner: object, name: str | None = None) -> bool:
        """Run *coroutine* in the background for *owner*; with a *name*, only if none of that name is running.

        Not if no event loop is running, either: the caller is being closed after its loop.
        """
        if name is not None and (owner, name) in self._names:
            coroutine.close()
            return False
        try:
            task = background(coroutine)
        except RuntimeError:
            coroutine.close()
            return False
        self._tasks[task] = owner
        if name is not None:
            self._names.add((owner, name))

        def over(task: asyncio.Task[Any]) -> None:
            del self._tasks[task]
            self._names.discard((owner, name or ""))
            if not task.cancelled() and (error := task.exception()) is not None:
                logger.warning("A background task of the cache failed: %s", type(error).__name__)

        task.add_done_callback(over)
        return True

    async def finish(self, owner: object = None) -> None:
        """Wait for the tasks of *owner* (None: all), such as the release of a lease, for a second at most."""
        tasks = [task for task, whose in self._tasks.items() if owner is None or whose is owner]
        if tasks:
            await asyncio.wait(tasks, timeout=FINISH_WITHIN_S)

    async def cancel(self, owner: object) -> None:
        """Cancel the tasks of *owner*, and wait until they have ended."""
        tasks = [task for task, whose in self._tasks.items() if whose is owner]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
