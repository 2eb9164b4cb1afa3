"""The answers of the routes that each adapter has, for any framework: to readiness probes, and to Prometheus."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

from aiohttp_cache_di.arguments import expect_flag
from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.telemetry.health import Health
from aiohttp_cache_di.telemetry.metrics import Cache
from aiohttp_cache_di.telemetry.names import distinct

if TYPE_CHECKING:
    from aiohttp_cache_di.telemetry.prometheus import MetricsPage

__all__ = ["Exposition", "Probe", "Probed"]

CLOSED_STATUS = 503  # the app is not ready, or is about to stop
PING_WITHIN_S = 5.0


class Probed(Cache, Protocol):
    """What a probe uses of a backend."""

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

    def __post_init__(self) -> None:
        expect_flag("ping", self.ping)
        if not isinstance(self.degraded_status, int) or not 200 <= self.degraded_status <= 599:
            raise ConfigurationError(f"degraded_status={self.degraded_status!r}: use an HTTP status, such as 503")

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


class Exposition:
    """Shows the metrics of an app's caches.

    Args:
        registry: a registry whose metrics are added, such as `prometheus_client.REGISTRY`.
    """

    def __init__(self, registry: Any = None) -> None:
        self._registry = registry
        self._page: MetricsPage | None = None

    async def show(self, caches: Sequence[Cache], accept: str) -> tuple[bytes, str]:
        """The metrics in the format that the Accept field *accept* prefers, and their content type.

        Raises:
            MissingDependencyError: prometheus_client is not installed.
        """
        if self._page is None:
            self._page = await asyncio.to_thread(self._make)  # importing prometheus_client reads files, too
        return await self._page.show(caches, accept)

    def _make(self) -> MetricsPage:
        from aiohttp_cache_di.telemetry.prometheus import MetricsPage

        return MetricsPage(self._registry)
