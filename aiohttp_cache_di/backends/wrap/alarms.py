"""Alarms that hardly ever ring: one timer for all of them, where `call_later` takes one each.

A timer that is cancelled stays in the loop's heap for a while, and every other one is compared with it. All alarms here
have the same time, so that they would ring in the order in which they were set.
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
        delay_s: after which an alarm rings.
        ring: called with what it was set for.
    """

    __slots__ = ("_due", "_ring", "_timer", "delay_s")

    def __init__(self, delay_s: float, ring: Callable[[K], None]) -> None:
        self.delay_s: float = delay_s
        self._ring = ring
        self._due: dict[K, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def set(self, key: K) -> None:
        """Set the alarm for *key*, anew if it is set."""
        loop = asyncio.get_running_loop()
        due_at = loop.time() + self.delay_s
        self._due.pop(key, None)
        self._due[key] = due_at
        if self._timer is None:
            self._timer = loop.call_at(due_at, self._look)

    def unset(self, key: K) -> bool:
        """Let the alarm for *key* ring no more; tell whether it was set."""
        return self._due.pop(key, None) is not None

    def clear(self) -> None:
        """Let none ring any more."""
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
            if self.unset(key):  # not by one that rang before
                self._ring(key)
