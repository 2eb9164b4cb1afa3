"""Handlers that tell how the caches of an app do: for readiness probes, and for Prometheus."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeAlias

from aiohttp import web

from aiohttp_cache_di.session import CachedSession
from aiohttp_cache_di.telemetry.exposing import Exposition
from aiohttp_cache_di.telemetry.probe import Probe
from aiohttp_cache_di_web.state import CACHED_SESSION, cache_of

__all__ = ["Handler", "cache_health", "cache_metrics", "make_cache_health", "make_cache_metrics"]

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]
"""What ``app.router.add_get`` takes."""

NO_STORE: Final = {"Cache-Control": "no-store"}


def make_cache_health(
    keys: Sequence[web.AppKey[CachedSession]] = (CACHED_SESSION,), *, degraded_status: int = 200, ping: bool = False
) -> Handler:
    """Make a handler for readiness probes: ``app.router.add_get("/readyz", make_cache_health([RATES_SESSION]))``.

    It answers 503 while a cache is not open, and else 200: a cache whose store fails is ``degraded``, and the service
    works without it.

    Args:
        keys: of the sessions that it tells of.
        degraded_status: the HTTP status while a cache is degraded, such as 503.
        ping: try the stores each time, rather than tell what requests have met.
    """
    probe = Probe(degraded_status, ping)

    async def health(request: web.Request) -> web.Response:
        """Tell whether the cache of the app is open, and whether its store works."""
        status, told = await probe.answer([cache_of(request, key) for key in keys])
        return web.json_response(told, status=status, headers=NO_STORE)

    return health


cache_health: Final = make_cache_health()
"""The handler for readiness probes of an app with one cache: ``app.router.add_get("/readyz", cache_health)``."""


def make_cache_metrics(
    keys: Sequence[web.AppKey[CachedSession]] = (CACHED_SESSION,), *, registry: Any = None
) -> Handler:
    """Make a handler for Prometheus; it needs the extra ``prometheus``.

    Args:
        keys: of the sessions that it tells of; one that is not open is left out.
        registry: whose metrics are shown as well, such as `prometheus_client.REGISTRY`.

    Raises:
        MissingDependencyError: when it is asked for the first time, if prometheus_client is not installed.
    """
    exposition = Exposition(registry)

    async def metrics(request: web.Request) -> web.Response:
        """Show the counters of the cache to Prometheus."""
        caches = [cache for key in keys if (cache := cache_of(request, key)) is not None]
        body, content_type = await exposition.show(caches, request.headers.get("Accept", ""))
        return web.Response(body=body, headers={**NO_STORE, "Content-Type": content_type})

    return metrics


cache_metrics: Final = make_cache_metrics()
"""The handler for Prometheus of an app with one cache: ``app.router.add_get("/metrics", cache_metrics)``."""
