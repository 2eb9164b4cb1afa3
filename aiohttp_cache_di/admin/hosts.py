"""How much is stored of each upstream: one walk over all entries, whose result is kept for a while."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final

from msgspec import Struct

from aiohttp_cache_di.admin.preview import shown
from aiohttp_cache_di.admin.recent import OTHERS
from aiohttp_cache_di.admin.shapes import HostUsage
from aiohttp_cache_di.backends.calls import SharedTask
from aiohttp_cache_di.entries.info import EntryInfo
from aiohttp_cache_di.keys import host_of

__all__ = ["Survey", "Surveys"]

MAX_HOSTS: Final = 10_000  # counted separately
SHOWN: Final = 50  # upstreams
CHUNK: Final = 1000  # entries, after which the walk yields to other tasks
WITHIN_S: Final = 30.0  # after which a walk ends
AGAIN_AFTER_S: Final = 30.0
COST_FACTOR: Final = 20  # a walk is repeated after this many times the time that it took


class Survey(Struct, frozen=True):
    """What a walk has found.

    Args:
        largest: the upstreams whose bodies take most bytes.
        hosts: the number of all upstreams.
        at: POSIX time of the walk.
        is_all: whether it has come to the end of the store.
    """

    largest: list[HostUsage]
    hosts: int
    took_s: float
    at: float
    is_all: bool


class _Sum:
    __slots__ = ("body_bytes", "entries", "fresh")

    def __init__(self) -> None:
        self.entries = self.body_bytes = self.fresh = 0


async def survey(entries: AsyncGenerator[EntryInfo]) -> Survey:
    """Add up *entries* by host, as far as they come within `WITHIN_S`.

    Raises:
        TimeoutError: none have come.
    """
    sums: dict[str, _Sum] = {}
    begun, now, seen = time.perf_counter(), time.time(), 0
    limit = asyncio.timeout(WITHIN_S)
    try:
        async with limit, aclosing(entries):
            async for info in entries:
                host = host_of(info.url) or info.url
                found = sums.get(host)
                if found is None:
                    found = sums.setdefault(host if len(sums) < MAX_HOSTS else OTHERS, _Sum())
                found.entries += 1
                found.body_bytes += info.body_bytes
                found.fresh += info.fresh_until > now
                seen += 1
                if not seen % CHUNK:
                    await asyncio.sleep(0)
    except TimeoutError:
        if not (seen and limit.expired()):
            raise
    told = [HostUsage(shown(host), each.entries, each.body_bytes, each.fresh) for host, each in sums.items()]
    told.sort(key=lambda one: (-one.body_bytes, one.host))
    return Survey(told[:SHOWN], len(sums), time.perf_counter() - begun, now, not limit.expired())


class Surveys:
    """The latest survey of one cache."""

    def __init__(self) -> None:
        self._latest: Survey | None = None
        self._walks: SharedTask[Survey] = SharedTask("the sum by upstream")

    async def get(self, entries: Callable[[], AsyncGenerator[EntryInfo]]) -> Survey:
        """The latest survey, or a new one if that is too old.

        Raises:
            TimeoutError: the store does not answer.
        """
        latest = self._latest
        if latest is not None and time.time() - latest.at < max(AGAIN_AFTER_S, COST_FACTOR * latest.took_s):
            return latest
        return await self._walks.run(lambda: self._make(entries))

    def forget(self) -> None:
        """Discard the latest survey, as after a purge."""
        self._latest = None

    def close(self) -> None:
        """Cancel the walk in this event loop."""
        self._walks.cancel()

    async def _make(self, entries: Callable[[], AsyncGenerator[EntryInfo]]) -> Survey:
        self._latest = found = await survey(entries())
        return found
