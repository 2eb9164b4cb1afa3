"""How much is stored of each upstream: one walk over what is told of entries, remembered for a while."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final

from msgspec import Struct

from aiohttp_cache_di.admin.preview import shown
from aiohttp_cache_di.admin.shapes import HostUsage
from aiohttp_cache_di.entries.info import EntryInfo

__all__ = ["Survey", "Surveys"]

MAX_HOSTS: Final = 10_000  # that are told apart
OTHERS: Final = "(others)"
TOLD: Final = 50
CHUNK: Final = 1000  # entries, after which others may use the loop
WITHIN_S: Final = 30.0
AGAIN_AFTER_S: Final = 30.0
COSTS: Final = 20  # a walk is made again after so many times the time that it took


class Survey(Struct, frozen=True):
    """What a walk has found.

    Args:
        largest: by the bytes of their bodies.
        hosts: how many there are.
        at: POSIX time of the walk.
    """

    largest: list[HostUsage]
    hosts: int
    took_s: float
    at: float


class _Sum:
    __slots__ = ("body_bytes", "entries", "fresh")

    def __init__(self) -> None:
        self.entries = self.body_bytes = self.fresh = 0


async def survey(entries: AsyncGenerator[EntryInfo]) -> Survey:
    """Add *entries* up by host."""
    sums: dict[str, _Sum] = {}
    begun, now, seen = time.perf_counter(), time.time(), 0
    async with aclosing(entries):
        async for info in entries:
            parts = info.url.split("/", 3)
            host = parts[2] if len(parts) > 2 else info.url
            found = sums.get(host)
            if found is None:
                found = sums.setdefault(host if len(sums) < MAX_HOSTS else OTHERS, _Sum())
            found.entries += 1
            found.body_bytes += info.body_bytes
            found.fresh += info.fresh_until > now
            seen += 1
            if not seen % CHUNK:
                await asyncio.sleep(0)
    told = [HostUsage(shown(host), each.entries, each.body_bytes, each.fresh) for host, each in sums.items()]
    told.sort(key=lambda one: (-one.body_bytes, one.host))
    return Survey(told[:TOLD], len(sums), time.perf_counter() - begun, now)


class Surveys:
    """The latest survey of one cache."""

    def __init__(self) -> None:
        self._latest: Survey | None = None
        self._under_way: dict[int, asyncio.Task[Survey]] = {}

    async def get(self, entries: Callable[[], AsyncGenerator[EntryInfo]]) -> Survey:
        """The latest one, or a new one where that is old.

        Raises:
            TimeoutError: it takes too long.
        """
        latest = self._latest
        if latest is not None and time.time() - latest.at < max(AGAIN_AFTER_S, COSTS * latest.took_s):
            return latest
        loop = id(asyncio.get_running_loop())
        task = self._under_way.get(loop)
        if task is None:
            task = self._under_way[loop] = asyncio.create_task(self._make(entries))
            task.add_done_callback(lambda done: self._under_way.pop(loop, None))
        return await asyncio.shield(task)

    def forget(self) -> None:
        """Have the next one made anew, as after a change."""
        self._latest = None

    def close(self) -> None:
        """End what is under way in this loop."""
        task = self._under_way.get(id(asyncio.get_running_loop()))
        if task is not None:
            task.cancel()

    async def _make(self, entries: Callable[[], AsyncGenerator[EntryInfo]]) -> Survey:
        async with asyncio.timeout(WITHIN_S):
            self._latest = found = await survey(entries())
        return found
