"""The steps of the keeper, in the background and one after the other: where they are due, and while they are."""

from __future__ import annotations

import asyncio
import time
from functools import partial

from aiohttp_cache_di.backends.filesystem.keeping.keeper import Keeper
from aiohttp_cache_di.backends.filesystem.pool import Pool
from aiohttp_cache_di.backends.store import StoreEvents

__all__ = ["Tidying"]


class Tidying:
    """Has what is there counted and evicted.

    Args:
        keeper: takes the steps.
        writers: threads that they are taken in.
        events: where it is told of what was evicted.
    """

    def __init__(self, keeper: Keeper, writers: Pool, events: StoreEvents) -> None:
        self.is_closing: bool = False
        """Whether no more steps are to be begun, for now."""
        self._keeper = keeper
        self._writers = writers
        self._events = events
        self._under_way_in: asyncio.AbstractEventLoop | None = None
        self._is_asked = False  # since the step under way was begun, which may have seen nothing of what was written

    def begin_anew(self) -> None:
        """Forget the step that is under way, which is a parent process's."""
        self._under_way_in = None

    def note_failed(self, error: Exception) -> None:
        """A body could not be written."""
        if isinstance(error, OSError):
            self._keeper.note_failed(error)
            self.go_on()

    def go_on(self) -> None:
        """Something was written, or could not be: take a step, where it is time."""
        if self._under_way_in is not None and not self._under_way_in.is_closed():
            self._is_asked = True
        elif self._keeper.is_due:
            self._is_asked = False
            self._under_way_in = asyncio.get_running_loop()
            step = self._writers.run(partial(self._keeper.step, time.time()))
            step.add_done_callback(self._end)

    def _end(self, step: asyncio.Future[tuple[int, bool]]) -> None:
        self._under_way_in = None
        if step.cancelled() or step.exception() is not None:
            return  # the next record tries again
        evicted, again = step.result()
        if evicted:
            self._events.evicted(evicted)
        if (again or self._is_asked) and not self.is_closing:
            self.go_on()
