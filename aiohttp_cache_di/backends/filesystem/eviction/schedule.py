"""Scheduling the steps of the evictor: in the background, one at a time, after writes and while more are due."""

from __future__ import annotations

import asyncio
import time
from functools import partial

from aiohttp_cache_di.backends.filesystem.eviction.evictor import Evictor
from aiohttp_cache_di.backends.filesystem.pool import Pool
from aiohttp_cache_di.backends.forks import note_forks
from aiohttp_cache_di.backends.store import StoreEvents

__all__ = ["Schedule"]


class Schedule:
    """Runs the steps of an evictor.

    Args:
        evictor: takes the steps.
        writers: the threads for them.
        events: gets the number of evicted entries.
    """

    def __init__(self, evictor: Evictor, writers: Pool, events: StoreEvents) -> None:
        self.is_closing: bool = False
        """Whether no further step is begun after the one under way."""
        self._evictor = evictor
        self._writers = writers
        self._events = events
        self._is_asked = False  # again since the step under way was begun, which may have missed the latest writes
        self.after_fork()
        note_forks(self)

    def after_fork(self) -> None:
        """Begin without a step under way: in a forked child, that is the parent's."""
        self._under_way_in: asyncio.AbstractEventLoop | None = None

    def note_failed(self, error: Exception) -> None:
        """React to the *error* of a body that could not be written: make room if the disk is full."""
        if isinstance(error, OSError):
            self._evictor.note_failed(error)
            self.go_on()

    def go_on(self) -> None:
        """Take a step if it is due; call it after each write, failed ones included."""
        if self._under_way_in is not None and not self._under_way_in.is_closed():
            self._is_asked = True
        elif self._evictor.is_due:
            self._is_asked = False
            self._under_way_in = asyncio.get_running_loop()
            step = self._writers.run(partial(self._evictor.step, time.time()))
            step.add_done_callback(self._end)

    def _end(self, step: asyncio.Future[tuple[int, bool]]) -> None:
        self._under_way_in = None
        if step.cancelled() or step.exception() is not None:
            return  # the next write tries again
        evicted, again = step.result()
        if evicted:
            self._events.evicted(evicted)
        if (again or self._is_asked) and not self.is_closing:
            self.go_on()
