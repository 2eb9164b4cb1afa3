"""Work that several requests wait for together: it runs once in each event loop, even if the first of them is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

__all__ = ["SharedWork"]

Key = TypeVar("Key", bound=Hashable)
Result = TypeVar("Result")


class SharedWork(Generic[Key, Result]):
    """Runs work by key; a call with a key whose work is already running waits for that."""

    def __init__(self) -> None:
        self._tasks: dict[tuple[Key, int], asyncio.Task[Result]] = {}

    def __len__(self) -> int:
        """How much work is running, in all event loops."""
        return len(self._tasks)

    def is_running(self, key: Key) -> bool:
        """Whether the work for *key* is running in this event loop."""
        return (key, id(asyncio.get_running_loop())) in self._tasks

    async def run(self, key: Key, work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """The result of *work*, or of the work for *key* that is already running in this event loop."""
        place = key, id(asyncio.get_running_loop())
        task = self._tasks.get(place)
        if task is None:
            task = self._tasks[place] = asyncio.create_task(work())
            task.add_done_callback(lambda done: self._tasks.pop(place, None))
        return await asyncio.shield(task)

    def cancel(self) -> None:
        """Cancel what is running in this event loop."""
        this_loop = id(asyncio.get_running_loop())
        for (_, loop), task in list(self._tasks.items()):
            if loop == this_loop:
                task.cancel()
