"""Calls that drivers might make, and callers who leave them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import pytest

from aiohttp_cache_di.backends.calls import DetachedCalls

__all__ = ["TimedWait", "leave"]


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


async def leave(call: Coroutine[Any, Any, object], calls: DetachedCalls, *, at: asyncio.Event) -> None:
    """Run *call*, which goes on, for a caller who is cancelled when *at* comes and leaves at once."""
    caller = asyncio.create_task(calls.run(call))
    await at.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
