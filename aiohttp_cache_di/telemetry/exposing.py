"""The answer of a route for Prometheus, for any framework; the first request imports prometheus_client."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aiohttp_cache_di.telemetry.metrics import Cache

if TYPE_CHECKING:
    from aiohttp_cache_di.telemetry.prometheus import MetricsPage

__all__ = ["Exposition"]


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
