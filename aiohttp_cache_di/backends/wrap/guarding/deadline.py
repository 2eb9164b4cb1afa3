"""Deadlines for many short operations, by one timer for all; `asyncio.timeout` would set one timer for each.

All operations have the same time limit, so they are due in the order in which they begin. An operation that ends in
time pays a fraction of a microsecond for its deadline. Time in which the event loop was blocked is not counted: results
may have arrived meanwhile, or the code that produces them may not have run.
"""

from __future__ import annotations

import asyncio
from typing import Final

from msgspec import Struct

__all__ = ["MAX_EXTENSIONS", "Deadline", "Deadlines"]

_BEATS: Final = 5  # checks per deadline, which also notice that the loop was blocked
_LATE: Final = 0.1  # of the deadline; a check that is later than this means that the loop was blocked
MAX_EXTENSIONS: Final = 5  # of one operation: a loop that is blocked again and again does not extend it for ever


class Deadline(Struct, eq=False):
    """One operation under way in *task*; `expired` if `Deadlines` has cancelled it. Times are loop times."""

    task: asyncio.Task[object]
    begun_at: float
    due_at: float
    cancelling: int
    """How many cancellations of the task were under way when it began."""
    expired: bool = False
    extensions: int = 0
    """How often its time was extended because the loop was blocked."""

    def elapsed_s(self) -> float:
        """Seconds since the operation began."""
        return self.task.get_loop().time() - self.begun_at

    def was_cancelled_by_others(self) -> bool:
        """Undo our own cancellation, if there was one; return whether the task was also cancelled by others."""
        remaining = self.task.uncancel() if self.expired else self.task.cancelling()
        return remaining > self.cancelling


class Deadlines:
    """The operations under way in one event loop; each is cancelled after *deadline_s* seconds."""

    __slots__ = ("__weakref__", "_armed", "_beat_s", "_deadline_s", "_running")

    def __init__(self, deadline_s: float) -> None:
        self._deadline_s = deadline_s
        self._beat_s = deadline_s / _BEATS
        self._running: dict[Deadline, None] = {}  # the oldest first, so the first that is due
        self._armed = False

    def begin(self, loop: asyncio.AbstractEventLoop, task: asyncio.Task[object]) -> Deadline:
        """Begin the deadline of an operation; `end` must follow, however the operation ends."""
        now = loop.time()
        deadline = Deadline(task, now, now + self._deadline_s, task.cancelling())
        self._running[deadline] = None
        if not self._armed:
            self._arm(loop, now, deadline)
        return deadline

    def end(self, deadline: Deadline) -> None:
        """End the deadline."""
        self._running.pop(deadline, None)

    def _arm(self, loop: asyncio.AbstractEventLoop, now: float, oldest: Deadline) -> None:
        self._armed = True
        planned_at = min(now + self._beat_s, oldest.due_at)
        loop.call_at(planned_at, self._check, loop, planned_at)

    def _check(self, loop: asyncio.AbstractEventLoop, planned_at: float) -> None:
        self._armed = False
        now = loop.time()
        if now - planned_at > self._deadline_s * _LATE:
            self._extend(planned_at, now)
        for deadline in list(self._running):
            if deadline.due_at > now:
                self._arm(loop, now, deadline)
                return
            del self._running[deadline]
            deadline.expired = True
            deadline.task.cancel()

    def _extend(self, blocked_at: float, now: float) -> None:
        """Extend all deadlines by the time for which the loop was blocked, so that results can be processed."""
        for deadline in self._running:
            if deadline.extensions < MAX_EXTENSIONS:
                deadline.extensions += 1
                extended_to = deadline.due_at + now - max(blocked_at, deadline.begun_at)
                deadline.due_at = max(extended_to, now + self._beat_s)
