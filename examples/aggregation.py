"""An aiohttp.web service that builds a page from three upstreams, and still works while one of them is down.

    python -m examples.aggregation

Each part is as fresh as its upstream allows. If an upstream fails, its stored response is used for a day
(``stale_if_error``), and the page says which parts are old. ``AIOHTTP_CACHE_…`` variables configure the cache.
"""

from __future__ import annotations

import asyncio
import os
from typing import TypedDict

from aiohttp import ClientError, web
from dependency_injector import providers

from aiohttp_cache_di import CacheContainer, CachedSession, CacheSettings
from aiohttp_cache_di_web import get_cached_session, make_cache_ctx, make_cache_health

UPSTREAM = os.environ.get("UPSTREAM", "http://127.0.0.1:9001")
PARTS = ("weather", "news", "rates")
WITHIN_S = 5.0  # of one upstream


class Part(TypedDict):
    """The part of the page that one upstream provides."""

    data: object
    stale: bool
    cache: str


async def part(session: CachedSession, name: str) -> Part:
    """Fetch one part; it has no data if its upstream fails and nothing is stored."""
    try:
        async with asyncio.timeout(WITHIN_S), session.get(f"{UPSTREAM}/{name}", raise_for_status=True) as response:
            return {"data": await response.json(), "stale": response.is_expired, "cache": response.cache_status}
    except (ClientError, TimeoutError) as error:
        return {"data": None, "stale": False, "cache": type(error).__name__}


async def page(request: web.Request) -> web.Response:
    """Fetch all parts at the same time."""
    session = get_cached_session(request)
    parts = await asyncio.gather(*(part(session, name) for name in PARTS))
    return web.json_response(dict(zip(PARTS, parts, strict=True)))


def make_app() -> web.Application:
    """Make the app; the cache is opened when it starts and closed when it stops."""
    settings = providers.Factory(  # made when the app starts, since it reads files
        CacheSettings,
        stale_if_error="1d",  # AIOHTTP_CACHE_STALE_IF_ERROR=1d
        stale_while_revalidate="1m",  # a stale part at once; the next caller gets the new one
    )
    app = web.Application()
    app.cleanup_ctx.append(make_cache_ctx(CacheContainer(settings=settings)))
    app.router.add_get("/page", page)
    app.router.add_get("/readyz", make_cache_health())
    return app


if __name__ == "__main__":
    web.run_app(make_app(), host="127.0.0.1", port=int(os.environ.get("PORT", "8080")))
