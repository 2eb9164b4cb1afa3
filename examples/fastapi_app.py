"""A FastAPI service with two upstreams and a cache for each.

    uvicorn --factory examples.fastapi_app:make_app --workers 2

The first cache is configured by ``AIOHTTP_CACHE_…`` variables, the second by ``RATES_CACHE_…`` variables.
"""

from __future__ import annotations

import os
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI

from aiohttp_cache_di import CacheContainer, CachedSession
from aiohttp_cache_di_fastapi import (
    CACHED_SESSION,
    CachedSessionDep,
    admin_router,
    combine_lifespans,
    lifespan,
    make_cache_health,
    make_cache_metrics,
    make_get_cached_session,
    make_lifespan,
)

WEATHER_URL = os.environ.get("WEATHER_URL", "http://127.0.0.1:9001")
RATES_URL = os.environ.get("RATES_URL", "http://127.0.0.1:9002")

RatesSession = Annotated[CachedSession, Depends(make_get_cached_session("rates"))]

router = APIRouter()


@router.get("/weather/{city}")
async def weather(city: str, session: CachedSessionDep) -> dict[str, Any]:
    """Ask the first upstream, or its cache."""
    return await fetch(session, f"{WEATHER_URL}/weather/{city}")


@router.get("/rates/{currency}")
async def rates(currency: str, session: RatesSession) -> dict[str, Any]:
    """Ask the second upstream, or its cache."""
    return await fetch(session, f"{RATES_URL}/rates/{currency}")


async def fetch(session: CachedSession, url: str) -> dict[str, Any]:
    """Fetch JSON, and add the worker's process id and what the cache did."""
    async with session.get(url, raise_for_status=True) as response:
        return {"data": await response.json(), "cache": response.cache_status, "worker": os.getpid()}


def make_app() -> FastAPI:
    """Make the app; its caches are opened when it starts and closed when it stops."""
    rates_lifespan = make_lifespan(CacheContainer(prefix="RATES_CACHE_"), key="rates")
    app = FastAPI(lifespan=combine_lifespans(lifespan, rates_lifespan))
    app.include_router(router)
    app.add_api_route("/readyz", make_cache_health([CACHED_SESSION, "rates"]))
    app.add_api_route("/metrics", make_cache_metrics([CACHED_SESSION, "rates"]))  # for Prometheus
    if os.environ.get("CACHE_ADMIN") == "local":  # /cache-admin/, for clients on this machine only
        app.include_router(admin_router(authorize=None, keys=[CACHED_SESSION, "rates"]))
    return app
