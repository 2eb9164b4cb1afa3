"""The answer to a readiness probe: whether the caches of an app are open, and whether their stores work."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Protocol

from msgspec import Struct

from aiohttp_cache_di.telemetry.counters import CacheStats
from aiohttp_cache_di.telemetry.health import Health
from aiohttp_cache_di.telemetry.names import distinct

__all__ = ["Probe", "Probed"]

CLOSED_STATUS = 503  # the app is not ready, or is about to stop
PING_WITHIN_S = 5.0


class Probed(Protocol):
    """What a probe uses of a backend."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def stats(self) -> CacheStats:
        """Its counters."""
        ...

    async def ping(self) -> Health:
        """Try its store."""
        ...


class Probe(Struct, frozen=True):
    """Answers readiness probes. By default a degraded cache fails no probe: the service works without it.

    Args:
        degraded_status: the HTTP status while a cache is degraded.
        ping: test the stores at each probe, instead of reporting how the latest requests fared.
    """

    degraded_status: int = 200
    ping: bool = False

    async def answer(self, caches: Iterable[Probed | None]) -> tuple[int, dict[str, Any]]:
        """The HTTP status and the JSON of the answer.

        Args:
            caches: None for one that is not open.
        """
        found = list(caches)
        told: dict[str, dict[str, str]] = {}
        for cache in found:
            if cache is not None:
                health = await self._health(cache)
                told[distinct(cache.name, told)] = {"status": health.status, "reason": health.reason}
        if None in found:
            return CLOSED_STATUS, {"status": "closed", "caches": told}
        if any(one["status"] != "ok" for one in told.values()):
            return self.degraded_status, {"status": "degraded", "caches": told}
        return 200, {"status": "ok", "caches": told}

    async def _health(self, cache: Probed) -> Health:
        if self.ping:
            try:
                async with asyncio.timeout(PING_WITHIN_S):
                    found = await cache.ping()
            except TimeoutError:
                found = Health("degraded", "the storage did not answer in time")
            if not found.is_ok:
                return found
        return cache.stats.health()
