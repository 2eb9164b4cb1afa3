"""One write on its way into a store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["OnWritten", "Write"]

OnWritten = Callable[[bool], None]
"""Told True when an entry, or a later one of its key, is written; False when a try has failed or it is given up."""

OVERHEAD_BYTES: Final = 512  # of a write, beside what its entry weighs
FIRST_REST_S = 0.1
MAX_REST_S: Final = 5.0


class Write:
    """An entry on its way into the store."""

    __slots__ = (
        "counts",
        "entry",
        "has_failed",
        "is_deleted",
        "is_leased",
        "is_over",
        "outcomes",
        "rest_s",
        "size",
        "timer",
        "tries",
    )

    def __init__(self, entry: StoredResponse, outcome: OnWritten | None, *, counts: bool = True) -> None:
        self.entry: StoredResponse = entry
        self.size: int = entry.held_bytes + OVERHEAD_BYTES
        self.outcomes: list[OnWritten] = [] if outcome is None else [outcome]
        self.counts: bool = counts
        """Whether it brings a response that is counted when it is written."""
        self.is_leased: bool = False
        self.is_deleted: bool = False
        """It is to be deleted again once the put that is under way has ended."""
        self.is_over: bool = False
        self.has_failed: bool = False
        self.tries: int = 0
        self.rest_s: float = FIRST_REST_S
        self.timer: asyncio.TimerHandle | None = None

    def rest(self, wake: Callable[[Write], None]) -> None:
        """A try has failed: *wake* is called when it is time for another one, later each time."""
        self.tries += 1
        self.has_failed = True
        self.timer = asyncio.get_running_loop().call_later(self.rest_s, wake, self)
        self.rest_s = min(2 * self.rest_s, MAX_REST_S)

    def stop_resting(self) -> bool:
        """Whether it was resting, which it does no more."""
        timer, self.timer = self.timer, None
        if timer is not None:
            timer.cancel()
        return timer is not None

    def stand_in_for(self, earlier: Write) -> None:
        """Bring what *earlier*, of the same key, was to bring: it will not be written."""
        self.outcomes = earlier.outcomes + self.outcomes
        self.counts = self.counts or earlier.counts

    def tell(self, is_written: bool) -> None:
        """Tell those who want to know."""
        for outcome in self.outcomes:
            outcome(is_written)
