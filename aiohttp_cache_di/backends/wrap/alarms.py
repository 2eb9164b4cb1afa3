"""Many timers that are usually cancelled, by one timer of the event loop.

A cancelled timer of asyncio stays in the loop's heap for a while, where others are compared with it. All alarms here
have the same delay, so they are due in the order in which they are set, and one timer for the first is enough.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Alarms"]

K = TypeVar("K")


class Alarms(Generic[K]):
    """The alarms of one event loop.

    Args:
        delay_s: seconds until an alarm rings.
        ring: called with the key of the alarm.
    """

    __slots__ = ("_due", "_ring", "_timer", "delay_s")

    def __init__(self, delay_s: float, ring: Callable[[K], None]) -> None:
        self.delay_s: float = delay_s
        self._ring = ring
        self._due: dict[K, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def set(self, key: K) -> None:
        """Set the alarm for *key*; if it is set already, its delay begins again."""
        loop = asyncio.get_running_loop()
        due_at = loop.time() + self.delay_s
        self._due.pop(key, None)
        self._due[key] = due_at
        if self._timer is None:
            self._timer = loop.call_at(due_at, self._look)

    def unset(self, key: K) -> bool:
        """Cancel the alarm for *key*; return whether it was set."""
        return self._due.pop(key, None) is not None

    def clear(self) -> None:
        """Cancel all alarms."""
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        over: list[K] = []
        self._timer = None
        for key, due_at in self._due.items():
            if due_at > now:
                self._timer = loop.call_at(due_at, self._look)
                break
            over.append(key)
        for key in over:
            if self.unset(key):  # unless an alarm that rang before has cancelled it
                self._ring(key)
