"""Many timers that are usually cancelled, by one timer of the event loop.

A cancelled timer of asyncio stays in the loop's heap for a while, where others are compared with it. All alarms here
have the same delay, so they are due in the order in which they are set, and one timer for the first is enough. That
timer is never cancelled, and not referred to: it has the loop, which would be kept for as long as the alarms are.
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

    __slots__ = ("_due", "_is_timed", "_ring", "delay_s")

    def __init__(self, delay_s: float, ring: Callable[[K], None]) -> None:
        self.delay_s: float = delay_s
        self._ring = ring
        self._due: dict[K, float] = {}
        self._is_timed = False

    def set(self, key: K) -> None:
        """Set the alarm for *key*; if it is set already, its delay begins again."""
        loop = asyncio.get_running_loop()
        due_at = loop.time() + self.delay_s
        self._due.pop(key, None)
        self._due[key] = due_at
        if not self._is_timed:
            self._is_timed = True
            loop.call_at(due_at, self._look)

    def unset(self, key: K) -> bool:
        """Cancel the alarm for *key*; return whether it was set."""
        return self._due.pop(key, None) is not None

    def clear(self) -> None:
        """Cancel all alarms."""
        self._due.clear()

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        over: list[K] = []
        self._is_timed = False
        for key, due_at in self._due.items():
            if due_at > now:
                self._is_timed = True
                loop.call_at(due_at, self._look)
                break
            over.append(key)
        for key in over:
            if self.unset(key):  # unless an alarm that rang before has cancelled it
                self._ring(key)
