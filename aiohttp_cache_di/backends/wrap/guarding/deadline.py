"""Deadlines for many short operations: one timer for all of them, where `asyncio.timeout` takes one each.

All operations have the same time, so they end in the order of their begin. This costs a happy operation a fraction
of a microsecond. Time in which the loop was held up is not counted: the results of the operations may have been
waiting in it, or those who work for them may not have had their turn.
"""

from __future__ import annotations

import asyncio
from typing import Final

__all__ = ["Deadline", "Deadlines"]

_BEATS: Final = 5  # In the time of a deadline: the loop is asked so often whether it is held up.
_LATE: Final = 0.1  # Of the deadline: a timer that comes later than this tells of a loop that is held up.
_MAX_STRETCH: Final = 5  # Deadlines that an operation may take, however often the loop is held up meanwhile.


class Deadline:
    """One operation under way in *task*; `expired` tells that it was cancelled by us. Times are the loop's."""

    __slots__ = ("begun_at", "cancelling", "due_at", "expired", "task")

    def __init__(self, task: asyncio.Task[object], begun_at: float, due_at: float) -> None:
        self.task: asyncio.Task[object] = task
        self.begun_at: float = begun_at
        self.due_at: float = due_at
        self.expired: bool = False
        self.cancelling: int = task.cancelling()

    def elapsed_s(self) -> float:
        """How long the operation has taken."""
        return self.task.get_loop().time() - self.begun_at

    def was_cancelled_by_others(self) -> bool:
        """Take back our own cancellation, if there was one; tell whether there is another one, of the caller."""
        remaining = self.task.uncancel() if self.expired else self.task.cancelling()
        return remaining > self.cancelling


class Deadlines:
    """The operations under way in one event loop, each cancelled when it has taken *deadline_s* seconds."""

    __slots__ = ("__weakref__", "_armed", "_beat_s", "_deadline_s", "_running")

    def __init__(self, deadline_s: float) -> None:
        self._deadline_s = deadline_s
        self._beat_s = deadline_s / _BEATS
        self._running: dict[Deadline, None] = {}  # In the order of their begin, and so of their end.
        self._armed = False

    def begin(self, loop: asyncio.AbstractEventLoop, task: asyncio.Task[object]) -> Deadline:
        """Start the clock for an operation; `end` must follow, however the operation ends."""
        now = loop.time()
        deadline = Deadline(task, now, now + self._deadline_s)
        self._running[deadline] = None
        if not self._armed:
            self._arm(loop, now, deadline)
        return deadline

    def end(self, deadline: Deadline) -> None:
        """The operation is over."""
        self._running.pop(deadline, None)

    def _arm(self, loop: asyncio.AbstractEventLoop, now: float, oldest: Deadline) -> None:
        self._armed = True
        planned_at = min(now + self._beat_s, oldest.due_at)
        loop.call_at(planned_at, self._check, loop, planned_at)

    def _check(self, loop: asyncio.AbstractEventLoop, planned_at: float) -> None:
        self._armed = False
        now = loop.time()
        if now - planned_at > self._deadline_s * _LATE:
            self._make_up_for(planned_at, now)
        for deadline in list(self._running):
            if deadline.due_at > now:
                self._arm(loop, now, deadline)
                return
            del self._running[deadline]
            deadline.expired = True
            deadline.task.cancel()

    def _make_up_for(self, held_up_at: float, now: float) -> None:
        """Put off all that is under way by the time for which the loop was held up, and hear what waits in it."""
        for deadline in self._running:
            put_off_to = deadline.due_at + now - max(held_up_at, deadline.begun_at)
            latest = deadline.begun_at + _MAX_STRETCH * self._deadline_s
            deadline.due_at = min(max(put_off_to, now + self._beat_s), latest)
