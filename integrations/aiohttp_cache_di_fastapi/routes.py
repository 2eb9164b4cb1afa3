"""Routes for readiness probes and for Prometheus, which report on the caches of an app."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeAlias

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from aiohttp_cache_di.arguments import expect_keys
from aiohttp_cache_di.telemetry.routes import Exposition, Probe
from aiohttp_cache_di_fastapi.state import CACHED_SESSION, cache_of

__all__ = ["Route", "cache_health", "cache_metrics", "make_cache_health", "make_cache_metrics"]

Route: TypeAlias = Callable[[Request], Awaitable[Response]]
"""An endpoint for ``app.add_api_route`` and for Starlette's ``Route``."""

NO_STORE: Final = {"Cache-Control": "no-store"}


def make_cache_health(
    keys: Sequence[str] = (CACHED_SESSION,), *, degraded_status: int = 200, ping: bool = False
) -> Route:
    """Make a route for readiness probes: ``app.add_api_route("/readyz", make_cache_health(["rates"]))``.

    It answers 503 while a cache is not open, and otherwise 200, also for a cache whose store fails (``degraded``): the
    service works without it.

    Args:
        keys: the keys of the sessions that it reports on.
        degraded_status: the HTTP status while a cache is degraded, such as 503.
        ping: test the stores each time, instead of reporting how the latest requests fared.
    """
    keys, probe = expect_keys(keys), Probe(degraded_status, ping)

    async def health(request: Request) -> Response:
        """Report whether the caches of the app are open, and whether their stores work."""
        status, told = await probe.answer([cache_of(request, key) for key in keys])
        return JSONResponse(told, status, headers=NO_STORE)

    return health


cache_health: Final = make_cache_health()
"""The route for readiness probes of an app with one cache: ``app.add_api_route("/readyz", cache_health)``."""


def make_cache_metrics(keys: Sequence[str] = (CACHED_SESSION,), *, registry: Any = None) -> Route:
    """Make a route for Prometheus; it needs the extra ``prometheus``.

    Args:
        keys: the keys of the sessions that it reports on; one that is not open is left out.
        registry: a registry whose metrics are added, such as `prometheus_client.REGISTRY`.

    Raises:
        MissingDependencyError: at the first request, if prometheus_client is not installed.
    """
    keys, exposition = expect_keys(keys), Exposition(registry)

    async def metrics(request: Request) -> Response:
        """The metrics of the caches, for Prometheus."""
        caches = [cache for key in keys if (cache := cache_of(request, key)) is not None]
        body, content_type = await exposition.show(caches, request.headers.get("Accept", ""))
        return Response(body, headers={**NO_STORE, "Content-Type": content_type})

    return metrics


cache_metrics: Final = make_cache_metrics()
"""The route for Prometheus of an app with one cache: ``app.add_api_route("/metrics", cache_metrics)``."""
