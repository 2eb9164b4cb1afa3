"""A moment in which writes gather, so that one batch takes what comes together; where the store's limits ask for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp_cache_di.backends.store import Limits
from aiohttp_cache_di.backends.wrap.writing.puts import MAX_BATCH_BYTES

__all__ = ["Gathering"]


class Gathering:
    """Whether what is ready to be written waits for more.

    Args:
        limits: those of the store, whose ``linger_s`` is how long it may wait.
        over: called when the moment is over.
    """

    __slots__ = ("_limits", "_over", "_timer")

    def __init__(self, limits: Limits, over: Callable[[], None]) -> None:
        self._limits = limits
        self._over = over
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_under_way(self) -> bool:
        """Whether the moment has begun and is not over."""
        return self._timer is not None

    def takes(self, ready: int, size: int) -> bool:
        """Whether so many writes that are *ready* wait for more; all that are on their way weigh *size* bytes."""
        limits = self._limits
        if ready >= limits.batch or size >= MAX_BATCH_BYTES:
            return False
        if self._timer is None and ready:
            self._timer = asyncio.get_running_loop().call_later(limits.linger_s, self.stop)
        return self._timer is not None

    def stop(self) -> None:
        """End the moment, if it has begun."""
        if self._timer is not None:
            self.cancel()
            self._over()

    def cancel(self) -> None:
        """As `stop`, and tell no one."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
