"""How much a cache stores: asked of its store rarely, in the background, and never by the thread that exports."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Final

from aiohttp_cache_di.telemetry.counters import CacheStats

__all__ = ["Sizes"]

logger: logging.Logger = logging.getLogger(__name__)

ASK_AFTER_S: Final = 60.0  # of some stores all records have to be counted
ANSWER_WITHIN_S: Final = 10.0


class Sizes:
    """The latest word of one cache on how much it stores.

    Args:
        cache: a backend; one without ``usage()`` has no sizes.
        stats: its counters, which know whether it is in use.
        clock: seconds of a clock that never goes back.
    """

    def __init__(self, cache: object, stats: CacheStats, clock: Callable[[], float] = time.monotonic) -> None:
        self.entries: int | None = None
        """How many entries there are; None while that is not known."""
        self.size_bytes: int | None = None
        """How many bytes they take; None while that is not known."""
        self._cache = cache
        self._stats = stats
        self._clock = clock
        self._ask_at = -1.0
        self._task: asyncio.Task[None] | None = None
        try:
            self._loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            self._loop = None

    async def refresh(self) -> None:
        """Ask the store, unless that was done lately; raises nothing, and leaves the sizes unknown where it fails."""
        usage: Any = getattr(self._cache, "usage", None)
        if usage is None or self._clock() < self._ask_at:
            return
        self._ask_at = self._clock() + ASK_AFTER_S
        self.entries = self.size_bytes = None
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                used = await usage()
            self.entries, self.size_bytes = used.entries, used.bytes_in_use
        except Exception as error:
            logger.info("The store does not tell its size: %s", type(error).__name__)

    def refresh_soon(self) -> None:
        """Have the store asked in the loop that the cache is exported from; from any thread, without waiting.

        Not of a cache that is closed, which the question would open again.
        """
        loop = self._loop
        if loop is not None and loop.is_running() and self._stats.is_in_use and self._clock() >= self._ask_at:
            loop.call_soon_threadsafe(self._begin)

    def _begin(self) -> None:
        if self._stats.is_in_use and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self.refresh())
