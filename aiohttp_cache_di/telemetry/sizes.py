"""How much a cache stores: read from its store rarely and in the background, never in the exporter's thread."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final
from weakref import ref

from aiohttp_cache_di.telemetry.counters import CacheStats

__all__ = ["Sizes"]

logger: logging.Logger = logging.getLogger(__name__)

ASK_AFTER_S: Final = 60.0  # some stores have to count all their records
ANSWER_WITHIN_S: Final = 10.0


class Sizes:
    """The latest known sizes of one cache.

    Args:
        cache: a backend; without ``usage()`` its sizes stay unknown.
        stats: its counters, which know whether it is in use.
        clock: returns seconds, and never goes back.
    """

    def __init__(self, cache: object, stats: CacheStats, clock: Callable[[], float] = time.monotonic) -> None:
        self.entries: int | None = None
        """The number of entries; None if unknown."""
        self.size_bytes: int | None = None
        """The bytes that they take; None if unknown."""
        self._cache = ref(cache)  # an exporter outlives caches that are no longer used
        self._stats = stats
        self._clock = clock
        self._ask_at = -1.0
        self._task: asyncio.Task[None] | None = None
        try:
            self._loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            self._loop = None

    async def refresh(self) -> None:
        """Ask the store, unless that was done lately. Raises nothing; after a failure the sizes are unknown.

        Until the store answers, the sizes are those of before: an exporter may read them at any moment.
        """
        usage: Any = getattr(self._cache(), "usage", None)
        if usage is None or self._clock() < self._ask_at:
            return
        self._ask_at = self._clock() + ASK_AFTER_S
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                used = await usage()
            self.entries, self.size_bytes = used.entries, used.bytes_in_use
        except Exception as error:
            self.entries = self.size_bytes = None
            logger.info("The store does not tell its size: %s", type(error).__name__)

    def refresh_soon(self) -> None:
        """Schedule a refresh in the event loop in which this was made; callable from any thread, without waiting.

        A closed cache is not asked: that would open it again.
        """
        loop = self._loop
        if loop is not None and loop.is_running() and self._stats.is_in_use and self._clock() >= self._ask_at:
            with suppress(RuntimeError):  # the loop has been closed since
                loop.call_soon_threadsafe(self._begin)

    def _begin(self) -> None:
        if self._stats.is_in_use and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self.refresh())
