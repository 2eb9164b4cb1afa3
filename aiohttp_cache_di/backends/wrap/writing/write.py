"""`Write`: one pending write."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable
from typing import Final

from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["OnWritten", "State", "Write"]

OnWritten = Callable[[bool], None]
"""Called with True when the entry, or a later one of its key, is written; with False after a failure or a drop."""

OVERHEAD_BYTES: Final = 512  # of a write, besides its entry
FIRST_REST_S = 0.1
MAX_REST_S: Final = 5.0


class State(enum.Enum):
    """Where a write is on its way into the store; see `Backlog`."""

    READY = "the next put may take it"
    BUSY = "it is being put"
    RESTING = "its put has failed, and it is ready again later"
    OVER = "it is written, deleted, replaced or dropped"


class Write:
    """An entry that is to be written into the store."""

    __slots__ = (
        "counts",
        "entry",
        "failures",
        "is_deleted",
        "is_leased",
        "outcomes",
        "rest_s",
        "size",
        "state",
        "timer",
    )

    def __init__(self, entry: StoredResponse, outcome: OnWritten | None, *, counts: bool = True) -> None:
        self.entry: StoredResponse = entry
        self.size: int = entry.held_bytes + OVERHEAD_BYTES
        self.outcomes: list[OnWritten] = [] if outcome is None else [outcome]
        self.counts: bool = counts
        """Whether it is counted as a stored response when it is written."""
        self.is_leased: bool = False
        self.is_deleted: bool = False
        """Its key was deleted during its put, and is deleted again when the put has ended."""
        self.state: State = State.READY
        self.failures: int = 0
        self.rest_s: float = FIRST_REST_S
        self.timer: asyncio.TimerHandle | None = None

    def rest(self, wake: Callable[[Write], None]) -> None:
        """Note a failure, and call *wake* when it is time to try again; the delay doubles each time."""
        self.state = State.RESTING
        self.failures += 1
        self.timer = asyncio.get_running_loop().call_later(self.rest_s, wake, self)
        self.rest_s = min(2 * self.rest_s, MAX_REST_S)

    def stop_resting(self) -> None:
        """End the rest, if there is one."""
        timer, self.timer = self.timer, None
        if timer is not None:
            timer.cancel()

    def stand_in_for(self, earlier: Write) -> None:
        """Take over the outcomes of *earlier*, a write of the same key that will not be made."""
        self.outcomes = earlier.outcomes + self.outcomes
        self.counts = self.counts or earlier.counts

    def tell(self, is_written: bool) -> None:
        """Call all outcomes."""
        for outcome in self.outcomes:
            outcome(is_written)
