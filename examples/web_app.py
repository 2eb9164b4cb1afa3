"""An aiohttp.web service with two upstreams and a cache for each.

    python -m examples.web_app

The first cache is configured by ``AIOHTTP_CACHE_…`` variables, the second by ``RATES_CACHE_…`` variables.
"""

from __future__ import annotations

import os

from aiohttp import web

from aiohttp_cache_di import CacheContainer, CachedSession
from aiohttp_cache_di_web import (
    CACHED_SESSION,
    add_admin,
    cache_ctx,
    get_cached_session,
    make_cache_ctx,
    make_cache_health,
    make_cache_metrics,
)

WEATHER_URL = os.environ.get("WEATHER_URL", "http://127.0.0.1:9001")
RATES_URL = os.environ.get("RATES_URL", "http://127.0.0.1:9002")

RATES_SESSION = web.AppKey("RATES_SESSION", CachedSession)


async def weather(request: web.Request) -> web.Response:
    """Ask the first upstream, or its cache."""
    return await fetch(get_cached_session(request), f"{WEATHER_URL}/weather/{request.match_info['city']}")


async def rates(request: web.Request) -> web.Response:
    """Ask the second upstream, or its cache."""
    return await fetch(
        get_cached_session(request, RATES_SESSION), f"{RATES_URL}/rates/{request.match_info['currency']}"
    )


async def fetch(session: CachedSession, url: str) -> web.Response:
    """Fetch JSON, and add the process id and what the cache did."""
    async with session.get(url, raise_for_status=True) as response:
        body = {"data": await response.json(), "cache": response.cache_status, "worker": os.getpid()}
    return web.json_response(body)


def make_app() -> web.Application:
    """Make the app; its caches are opened when it starts and closed when it stops."""
    app = web.Application()
    app.cleanup_ctx.append(cache_ctx)
    app.cleanup_ctx.append(make_cache_ctx(CacheContainer(prefix="RATES_CACHE_"), key=RATES_SESSION))
    app.router.add_get("/weather/{city}", weather)
    app.router.add_get("/rates/{currency}", rates)
    app.router.add_get("/readyz", make_cache_health([CACHED_SESSION, RATES_SESSION]))
    app.router.add_get("/metrics", make_cache_metrics([CACHED_SESSION, RATES_SESSION]))  # for Prometheus
    if os.environ.get("CACHE_ADMIN") == "local":  # /cache-admin/, for clients on this machine only
        add_admin(app, authorize=None, keys=[CACHED_SESSION, RATES_SESSION])
    return app


if __name__ == "__main__":
    web.run_app(make_app(), host="127.0.0.1", port=int(os.environ.get("PORT", "8080")))
