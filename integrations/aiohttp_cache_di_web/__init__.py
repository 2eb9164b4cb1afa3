"""One cached HTTP client per aiohttp.web process: opened at start-up, closed at clean-up.

    async def weather(request: web.Request) -> web.Response:
        async with get_cached_session(request).get("https://api.example.com/weather") as response:
            return web.json_response(await response.json())

    app = web.Application()
    app.cleanup_ctx.append(cache_ctx)

Sub-apps find the session of the app above them. aiohttp closes the contexts of that app *before* theirs, so a sub-app
that uses the session in its own clean-up has a `make_cache_ctx` of its own. A second cache has a container and a key.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Final, TypeAlias

from aiohttp import web

from aiohttp_cache_di.containers import AnyContainer, open_container, session_already_open, session_not_open
from aiohttp_cache_di.session import CachedSession

__all__ = ["CACHED_SESSION", "CacheContext", "cache_ctx", "get_cached_session", "make_cache_ctx"]

CACHED_SESSION: Final = web.AppKey("CACHED_SESSION", CachedSession)
"""Where the session is kept in the app."""

CacheContext: TypeAlias = Callable[[web.Application], AsyncGenerator[None]]
"""What ``app.cleanup_ctx`` takes."""


def make_cache_ctx(
    container: AnyContainer | None = None, *, key: web.AppKey[CachedSession] = CACHED_SESSION
) -> CacheContext:
    """Make a context that opens *container* when the app starts and closes it when the app is cleaned up.

    Args:
        container: None for a `CacheContainer` of its own at each start, from the ``AIOHTTP_CACHE_`` variables.
        key: where the session is kept; each cache of an app has its own.
    """

    async def context(app: web.Application) -> AsyncGenerator[None]:
        if key in app and not app[key].closed:
            raise session_already_open(key)
        async with open_container(container) as session:
            app[key] = session
            yield

    return context


cache_ctx: Final = make_cache_ctx()
"""The context of an app with one cache, which is configured by the ``AIOHTTP_CACHE_`` variables."""


def get_cached_session(
    source: web.Request | web.Application, key: web.AppKey[CachedSession] = CACHED_SESSION
) -> CachedSession:
    """Find the session kept under *key*.

    Args:
        source: a request, which also knows the apps above its own; or the app that has the context.

    Raises:
        LifecycleError: the app has no context for this key, or has not been started.
    """
    session = source.get(key) if isinstance(source, web.Application) else source.config_dict.get(key)
    if session is None:
        raise session_not_open(
            key,
            "the app has not been started with it. Call app.cleanup_ctx.append(cache_ctx) before the start; in a "
            "sub-app ask with the request, which knows the apps above.",
        )
    return session
