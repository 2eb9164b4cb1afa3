"""A short delay in which writes gather for one batch, if the store's limits say so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp_cache_di.backends.store import Limits
from aiohttp_cache_di.backends.wrap.writing.puts import MAX_BATCH_BYTES

__all__ = ["Gathering"]


class Gathering:
    """Decides whether writes that are ready wait for more.

    Args:
        limits: the limits of the store; ``linger_s`` is the delay.
        over: called when the delay is over.
    """

    __slots__ = ("_limits", "_over", "_timer")

    def __init__(self, limits: Limits, over: Callable[[], None]) -> None:
        self._limits = limits
        self._over = over
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_under_way(self) -> bool:
        """Whether the delay has begun and is not over."""
        return self._timer is not None

    def takes(self, ready: int, size: int) -> bool:
        """Whether *ready* writes wait for more, while all pending writes have *size* bytes; begins the delay if so."""
        limits = self._limits
        if ready >= limits.batch or size >= MAX_BATCH_BYTES:
            return False
        if self._timer is None and ready:
            self._timer = asyncio.get_running_loop().call_later(limits.linger_s, self.stop)
        return self._timer is not None

    def stop(self) -> None:
        """End the delay, if it has begun."""
        if self._timer is not None:
            self.cancel()
            self._over()

    def cancel(self) -> None:
        """Like `stop`, without calling *over*."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
