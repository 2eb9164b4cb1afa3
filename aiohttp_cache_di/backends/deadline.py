"""Deadlines for many short operations: one timer for all of them, where `asyncio.timeout` takes one each.

All operations have the same time, so they end in the order of their begin; a timer for the oldest is enough. This
costs a happy operation a fraction of a microsecond.
"""

from __future__ import annotations

import asyncio
from typing import Final

__all__ = ["Deadline", "Deadlines"]

_LATE: Final = 0.2  # Of the deadline: a timer that comes later than this tells of a busy loop, not of a slow storage.

_MAX_POSTPONEMENTS: Final = 10  # In a row; a loop that is late each time is not helped by giving up either.


class Deadline:
    """One operation under way in *task*; `expired` tells that it was cancelled by us. Times are the loop's."""

    __slots__ = ("begun_at", "cancelling", "due_at", "expired", "task")

    def __init__(self, task: asyncio.Task[object], begun_at: float, due_at: float) -> None:
        self.task = task
        self.begun_at = begun_at
        self.due_at = due_at
        self.expired = False
        self.cancelling = task.cancelling()

    def elapsed_s(self) -> float:
        """How long the operation has taken."""
        return self.task.get_loop().time() - self.begun_at

    def was_cancelled_by_others(self) -> bool:
        """Take back our own cancellation, if there was one; tell whether there is another one, of the caller."""
        remaining = self.task.uncancel() if self.expired else self.task.cancelling()
        return remaining > self.cancelling


class Deadlines:
    """The operations under way in one event loop, each cancelled when it has taken *deadline_s* seconds."""

    __slots__ = ("__weakref__", "_armed", "_deadline_s", "_postponements", "_running")

    def __init__(self, deadline_s: float) -> None:
        self._deadline_s = deadline_s
        self._running: dict[Deadline, None] = {}  # In the order of their begin, and so of their end.
        self._armed = False
        self._postponements = 0

    def begin(self, loop: asyncio.AbstractEventLoop, task: asyncio.Task[object]) -> Deadline:
        """Start the clock for an operation; `end` must follow, however the operation ends."""
        now = loop.time()
        deadline = Deadline(task, now, now + self._deadline_s)
        self._running[deadline] = None
        if not self._armed:
            self._arm(loop, deadline.due_at)
        return deadline

    def end(self, deadline: Deadline) -> None:
        """The operation is over."""
        self._running.pop(deadline, None)

    def _arm(self, loop: asyncio.AbstractEventLoop, due_at: float) -> None:
        self._armed = True
        loop.call_at(due_at, self._check, loop, due_at)

    def _check(self, loop: asyncio.AbstractEventLoop, due_at: float) -> None:
        self._armed = False
        now = loop.time()
        late_s = now - due_at
        if late_s > self._deadline_s * _LATE and self._postponements < _MAX_POSTPONEMENTS and self._running:
            # The loop is held up, perhaps with the results of these operations waiting in it: hear them first.
            self._postponements += 1
            self._arm(loop, now + min(late_s, self._deadline_s))
            return
        self._postponements = 0
        for deadline in list(self._running):
            if deadline.due_at > now:
                self._arm(loop, deadline.due_at)
                return
            del self._running[deadline]
            deadline.expired = True
            deadline.task.cancel()
