"""A call that a driver might make: it waits with timeouts."""

from __future__ import annotations

import asyncio
from contextlib import suppress

__all__ = ["TimedWait"]


class TimedWait:
    """A call that waits with a timeout, again and again, for what takes its time to end: so does one for a condition.

    Args:
        timeout_s: the timeout.
    """

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self.begun, self.ending, self.may_end = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.ended: list[str] = []

    async def __call__(self) -> None:
        try:
            while True:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wait(), self.timeout_s)
        finally:
            self.ended.append("call")

    async def _wait(self) -> None:
        try:
            self.begun.set()
            await asyncio.Event().wait()
        finally:
            self.ending.set()
            while not self.may_end.is_set():
                with suppress(asyncio.CancelledError):
                    await self.may_end.wait()
            self.ended.append("wait")
