"""One cached HTTP client per aiohttp.web process: opened at start-up, closed at clean-up.

    async def weather(request: web.Request) -> web.Response:
        async with get_cached_session(request).get("https://api.example.com/weather") as response:
            return web.json_response(await response.json())

    app = web.Application()
    app.cleanup_ctx.append(cache_ctx)

Sub-apps find the session of their parent app. aiohttp closes the contexts of the parent *before* theirs, so a sub-app
that uses the session in its own clean-up needs a `make_cache_ctx` of its own. A second cache has a container and a key
of its own. `cache_health` and `cache_metrics` are handlers for readiness probes and for Prometheus; `add_admin` adds a
page that shows the caches.

The adapter may import aiohttp.web, the container, the session and the admin page, and nothing imports it. A context
(``state``) opens the container and keeps the session in the app, where requests to it and to its sub-apps find it.
``routes`` has the handlers, ``admin`` the page.

PYTEST_DONT_REWRITE: there is no assert here, and pytest would warn of a package that is imported before it starts.
"""

from __future__ import annotations

from aiohttp import web

from aiohttp_cache_di.containers import session_not_open
from aiohttp_cache_di.session import CachedSession
from aiohttp_cache_di_web.admin import Authorize, add_admin
from aiohttp_cache_di_web.routes import Handler, cache_health, cache_metrics, make_cache_health, make_cache_metrics
from aiohttp_cache_di_web.state import CACHED_SESSION, CacheContext, cache_ctx, make_cache_ctx

__all__ = [
    "CACHED_SESSION",
    "Authorize",
    "CacheContext",
    "Handler",
    "add_admin",
    "cache_ctx",
    "cache_health",
    "cache_metrics",
    "get_cached_session",
    "make_cache_ctx",
    "make_cache_health",
    "make_cache_metrics",
]


def get_cached_session(
    source: web.Request | web.Application, key: web.AppKey[CachedSession] = CACHED_SESSION
) -> CachedSession:
    """Find the session that `cache_ctx` has opened, which the whole process shares: do not close it in a handler.

    Args:
        source: a request, to the app with the context or to one of its sub-apps; or the app with the context.
        key: the key that was given to `make_cache_ctx`; by default that of `cache_ctx`.

    Returns:
        The open session, a `CachedSession`. A test replaces it by ``app[CACHED_SESSION] = session`` before the start.

    Raises:
        LifecycleError: the app has no context for this key, or has not been started.
    """
    session = source.get(key) if isinstance(source, web.Application) else source.config_dict.get(key)
    if session is None:
        raise session_not_open(
            key,
            "the app has not been started with it. Call app.cleanup_ctx.append(cache_ctx) before the start, "
            "and before other contexts that use the session are appended; in a sub-app ask with the request, "
            "which knows the apps above.",
        )
    return session
