"""Which pending writes go into the next put, and whether they wait briefly for more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from itertools import islice
from typing import Final

from aiohttp_cache_di.backends.store import Limits
from aiohttp_cache_di.backends.wrap.writing.write import Write

__all__ = ["MAX_BATCH_BYTES", "Puts"]

MAX_BATCH_BYTES: Final = 4 * 1024 * 1024  # of one put, so that it ends within its deadline


class Puts:
    """The size of the next put: half as many writes after a failure, twice as many after a success.

    If the limits of the store have a delay (``linger_s``), few writes that are ready wait that long for more.

    Args:
        limits: the limits of the store.
        waited: called when the delay is over.
    """

    __slots__ = ("_count", "_limits", "_timer", "_waited")

    def __init__(self, limits: Limits, waited: Callable[[], None]) -> None:
        self._limits = limits
        self._waited = waited
        self._count = limits.batch
        self._timer: asyncio.TimerHandle | None = None

    # ---- the size

    def choose(self, ready: Mapping[str, Write], busy: Collection[str]) -> list[Write]:
        """Choose the writes of the next put from *ready*, the oldest first; one that is too large goes alone.

        Args:
            busy: keys that are being put now, which are left out: two puts of one key could overtake each other.
        """
        batch: list[Write] = []
        total_bytes = 0
        for key, write in islice(ready.items(), 2 * self._count + len(busy)):
            if key in busy:
                continue
            total_bytes += write.size
            if batch and total_bytes > MAX_BATCH_BYTES:
                break
            batch.append(write)
            if len(batch) >= self._count:
                break
        return batch

    def grow(self) -> None:
        """Note that a put has succeeded."""
        self._count = min(2 * self._count, self._limits.batch)

    def shrink(self, failed: int) -> None:
        """Note that a put of *failed* writes has failed; halving isolates a write that is at fault."""
        self._count = max(1, failed // 2)

    # ---- the delay

    @property
    def is_waiting(self) -> bool:
        """Whether the delay has begun and is not over."""
        return self._timer is not None

    def wait(self, ready: int, size: int) -> bool:
        """Whether *ready* writes wait for more, while all pending writes have *size* bytes; begins the delay if so."""
        limits = self._limits
        if ready >= limits.batch or size >= MAX_BATCH_BYTES:
            return False
        if self._timer is None and ready:
            self._timer = asyncio.get_running_loop().call_later(limits.linger_s, self.stop_waiting)
        return self._timer is not None

    def stop_waiting(self) -> None:
        """End the delay, if it has begun."""
        if self._timer is not None:
            self.cancel()
            self._waited()

    def cancel(self) -> None:
        """Like `stop_waiting`, without calling *waited*."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
