"""Tasks that no caller waits for, and futures whose failure concerns no caller."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

__all__ = ["FINISH_WITHIN_S", "Tasks", "abandon", "background", "consume_error", "dismantle"]

logger: logging.Logger = logging.getLogger(__name__)

FREED_AT_A_TIME = 500
FINISH_WITHIN_S = 1.0  # several storage deadlines; only a user's own code could take longer


def background(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """A task that is dropped in silence when a program drops its loop: only what is cached may be lost."""
    task = asyncio.get_running_loop().create_task(coroutine)
    inner: Any = task
    try:  # noqa: SIM105  # suppress() takes a microsecond, on the way of each write
        inner._log_destroy_pending = False
    except AttributeError:  # of a task of another make
        pass
    return task


def abandon(future: asyncio.Future[Any]) -> None:
    """Cancel *future*, whose result and failure are of no more interest."""
    if not future.cancel() and not future.cancelled():
        future.exception()


def consume_error(future: asyncio.Future[Any]) -> None:
    """As the callback of a future that is not awaited: take its failure, so that asyncio does not report it."""
    if not future.cancelled():
        future.exception()


def dismantle(table: OrderedDict[str, Any]) -> None:
    """Empty *table*, which nothing else uses any more, a few entries in each turn of the loop.

    To free an entry takes a microsecond or two, and there may be many thousands.
    """
    for _ in range(min(FREED_AT_A_TIME, len(table))):
        table.popitem()
    if table:
        with suppress(RuntimeError):  # no loop runs, which could be held up
            asyncio.get_running_loop().call_soon(dismantle, table)


class Tasks:
    """The tasks in the background of one event loop, by owner."""

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[None], object] = {}
        self._names: set[tuple[object, str]] = set()

    def spawn(self, coroutine: Coroutine[Any, Any, None], *, owner: object, name: str | None = None) -> bool:
        """Run *coroutine* in the background for *owner*; with a *name*, only if none of that name is running."""
        if name is not None and (owner, name) in self._names:
            coroutine.close()
            return False
        task = background(coroutine)
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

    async def finish(self, owner: object = None) -> None:
        """Wait a moment for what runs for *owner* (None: for any), such as a lease that is given back."""
        tasks = [task for task, whose in self._tasks.items() if owner is None or whose is owner]
        if tasks:
            await asyncio.wait(tasks, timeout=FINISH_WITHIN_S)

    async def cancel(self, owner: object) -> None:
        """Cancel what runs for *owner* and wait until it has ended."""
        tasks = [task for task, whose in self._tasks.items() if whose is owner]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
