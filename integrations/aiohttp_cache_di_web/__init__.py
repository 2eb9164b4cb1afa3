"""One cached HTTP client per aiohttp.web process: opened at start-up, closed at clean-up.

    async def weather(request: web.Request) -> web.Response:
        async with get_cached_session(request).get("https://api.example.com/weather") as response:
            return web.json_response(await response.json())

    app = web.Application()
    app.cleanup_ctx.append(cache_ctx)

Sub-apps find the session of the app above them. aiohttp closes the contexts of that app *before* theirs, so a sub-app
that uses the session in its own clean-up has a `make_cache_ctx` of its own. A second cache has a container and a key.
`cache_health` and `cache_metrics` are handlers for readiness probes and for Prometheus; `add_admin` adds a page to look
into the caches.

The adapter is one module: it may import aiohttp.web, the container and the session, and nothing imports it. A context
opens the container and puts the session into the app; a request, which knows the apps above its own, finds it there.

PYTEST_DONT_REWRITE: there is no assert here, and pytest would warn of a package that is imported before it starts.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, TypeAlias, cast
from weakref import WeakKeyDictionary

from aiohttp import web

from aiohttp_cache_di.admin import DEFAULT_PATH, ENDPOINTS, Admin, Ask, Name, expect_callable, mount_path
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.containers import (
    AnyContainer,
    container_of,
    open_container,
    session_already_open,
    session_not_open,
)
from aiohttp_cache_di.session import CachedSession
from aiohttp_cache_di.telemetry.exposing import Exposition
from aiohttp_cache_di.telemetry.probe import Probe

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

CACHED_SESSION: Final = web.AppKey("CACHED_SESSION", CachedSession)
"""Where the session is kept in the app."""

CacheContext: TypeAlias = Callable[[web.Application], AbstractAsyncContextManager[None]]
"""What ``app.cleanup_ctx`` takes."""

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]
"""What ``app.router.add_get`` takes."""

Verdict: TypeAlias = bool | web.StreamResponse

Authorize: TypeAlias = Callable[[web.Request], Verdict | Awaitable[Verdict]]
"""A handler that returns True to let a request pass; or the response to send instead, or raises it."""

NO_STORE: Final = {"Cache-Control": "no-store"}


def make_cache_ctx(
    container: AnyContainer | None = None, *, key: web.AppKey[CachedSession] = CACHED_SESSION
) -> CacheContext:
    """Make a context that opens *container* when the app starts and closes it when the app is cleaned up.

    An app that several runners start at the same time has one session, which is closed with the last.

    Args:
        container: a `CacheContainer`, its class, or one that is embedded in yours; None for one of its own at each
            start, from the ``AIOHTTP_CACHE_`` variables.
        key: where the session is kept; each cache of an app has its own.

    Returns:
        What ``app.cleanup_ctx.append(…)`` takes. At the start it raises what `open_container` raises, and
        ConfigurationError where another cache of the app has the same key.
    """
    running: WeakKeyDictionary[web.Application, _Running] = WeakKeyDictionary()

    def context(app: web.Application) -> AbstractAsyncContextManager[None]:
        """Open a cache when *app* starts, keep its session in the app, and close it when the app is cleaned up.

        What is being stored then is stored first, within a second or so.

        Args:
            app: the app, or a sub-app; the session is ``app[CACHED_SESSION]`` (or under the key that was given) from
                the start on, and what `get_cached_session` finds.

        Raises:
            ConfigurationError: at the start: a variable cannot be used, another cache of the app has the same key, or
                ``REQUIRE_STORE`` is true and the store cannot be used.
            MissingDependencyError: at the start: the driver of the store is not installed.
        """
        return _Context(app, key, container, running)

    return context


class _Running:
    """A cache of an app that is served, by several runners perhaps."""

    def __init__(self, container: Any) -> None:
        self.container = container
        self.contexts: list[_Context] = []


class _Context(AbstractAsyncContextManager[None]):
    """One start of an app.

    When a runner is cleaned up, aiohttp leaves the contexts of *all* starts, in reverse order, and does so once for
    each runner. So the last runner goes when the first context has been left as often as there are contexts.
    """

    def __init__(
        self,
        app: web.Application,
        key: web.AppKey[CachedSession],
        container: AnyContainer | None,
        running: MutableMapping[web.Application, _Running],
    ) -> None:
        self._app, self._key, self._container, self._running = app, key, container, running
        self._left = 0
        # A generator: when a start fails and nothing is cleaned up, the end of the loop closes it.
        self._open = self._keep_open()

    async def __aenter__(self) -> None:
        app = self._app
        if app not in self._running:
            if self._key in app and not app[self._key].closed:
                raise session_already_open(self._key)
            self._running[app] = _Running(container_of(self._container))
        self._running[app].contexts.append(self)
        await anext(self._open)

    async def __aexit__(self, *exc_info: object) -> None:
        self._left += 1
        found = self._running.get(self._app)
        if found is None or self is not found.contexts[0] or self._left < len(found.contexts):
            return
        for context in reversed(found.contexts.copy()):
            await anext(context._open, None)

    async def _keep_open(self) -> AsyncGenerator[None]:
        found = self._running[self._app]
        try:
            async with open_container(found.container) as session:
                self._show(session)
                yield
        finally:
            found.contexts.remove(self)
            if not found.contexts:
                self._running.pop(self._app, None)

    def _show(self, session: CachedSession) -> None:
        if self._app.get(self._key) is session:
            return
        with warnings.catch_warnings():
            # Of an app that is started once more: what is kept in it was meant to change then.
            warnings.filterwarnings("ignore", "Changing state of started", DeprecationWarning)
            self._app[self._key] = session


cache_ctx: Final = make_cache_ctx()
"""The context of an app with one cache, which the ``AIOHTTP_CACHE_`` variables describe.

``app.cleanup_ctx.append(cache_ctx)``: the cache is opened when the app starts and closed when it is cleaned up, and
`get_cached_session` finds its session meanwhile. A start raises ConfigurationError for a variable that cannot be used,
and MissingDependencyError for a driver that is not installed. An app with several caches takes `make_cache_ctx`.
"""


def get_cached_session(
    source: web.Request | web.Application, key: web.AppKey[CachedSession] = CACHED_SESSION
) -> CachedSession:
    """Find the open session that `cache_ctx` keeps: one for the whole process, which no handler closes.

    Args:
        source: a request, which also knows the apps above its own; or the app that has the context.
        key: as it was given to `make_cache_ctx`. Default: that of `cache_ctx`.

    Returns:
        A `CachedSession`; a test puts another one there by ``app[CACHED_SESSION] = session`` before the start.

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
        status, told = await probe.answer([_cache_of(request, key) for key in keys])
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
        caches = [cache for key in keys if (cache := _cache_of(request, key)) is not None]
        body, content_type = await exposition.show(caches, request.headers.get("Accept", ""))
        return web.Response(body=body, headers={**NO_STORE, "Content-Type": content_type})

    return metrics


cache_metrics: Final = make_cache_metrics()
"""The handler for Prometheus of an app with one cache: ``app.router.add_get("/metrics", cache_metrics)``."""


def _cache_of(request: web.Request, key: web.AppKey[CachedSession]) -> CacheBackend | None:
    session: CachedSession | None = request.config_dict.get(key)
    return None if session is None or session.closed else session.cache


def add_admin(
    app: web.Application,
    *,
    authorize: Authorize | None,
    path: str = DEFAULT_PATH,
    keys: Sequence[web.AppKey[CachedSession]] = (CACHED_SESSION,),
    read_only: bool = False,
    previews: bool = True,
) -> None:
    """Add the admin page and its API to *app*, before it starts: ``add_admin(app, authorize=is_admin)``.

    Args:
        app: which is to have the page; or a sub-app of it.
        authorize: a handler, which may be a coroutine function. It returns True to let a request pass. A response that
            it returns or raises is sent instead; anything else refuses. It has no default: None, written out, lets
            clients on this machine in and no others, which is for development, and not for a service behind a proxy.
        path: where the page is.
        keys: of the sessions whose caches it shows.
        read_only: nothing can be purged.
        previews: the beginnings of bodies are shown.

    Raises:
        ConfigurationError: *authorize* or *path* is no such thing.
    """
    base = mount_path(path, option="path")
    expect_callable(authorize, what="a handler")
    admin = Admin(is_local=authorize is None, read_only=read_only, previews=previews)

    async def watch(app: web.Application) -> None:
        for key in keys:
            admin.watch(app.get(key))

    async def leave(app: web.Application) -> None:
        for key in keys:
            admin.leave(app.get(key))

    app.on_startup.append(watch)
    app.on_shutdown.append(leave)
    for name, method, below in ENDPOINTS:
        app.router.add_route(method, f"{base}{below}", _admin_handler(admin, name, authorize, keys))
    if base:
        own = base.rpartition("/")[2]

        async def to_page(request: web.Request) -> web.Response:
            # As the browser sees the path, whatever a proxy has taken off it.
            return web.Response(status=307, headers={"Location": f"{own}/"})

        app.router.add_get(base, to_page)


def _admin_handler(
    admin: Admin, name: Name, authorize: Authorize | None, keys: Sequence[web.AppKey[CachedSession]]
) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        if authorize is not None:
            verdict = authorize(request)
            allowed = await verdict if inspect.isawaitable(verdict) else verdict
            if isinstance(allowed, web.StreamResponse):
                return allowed
            if allowed is not True:
                raise web.HTTPForbidden(text="authorize= has refused the request: it did not return True")
        sessions = [(str(key), request.config_dict.get(key)) for key in keys]
        reply = await admin.answer(name, _ask(request), sessions, request.match_info.get("number", ""))
        response = web.Response(status=reply.status, body=reply.body, headers=reply.headers)
        if reply.headers.get("Connection") == "close":
            response.force_close()
        return response

    return handler


def _ask(request: web.Request) -> Ask:
    async def read(limit: int) -> bytes:
        body = bytearray()
        async for piece in request.content.iter_any():
            body += piece
            if len(body) > limit:
                break
        return bytes(body)

    # A middleware may have put another address in place of the connection's own.
    peer: object = None if request.transport is None else request.transport.get_extra_info("peername")
    address = str(cast("tuple[object, ...]", peer)[0]) if isinstance(peer, tuple) and peer else None
    return Ask(
        request.method,
        [(name.lower(), value) for name, value in request.headers.items()],
        list(request.query.items()),
        request.cookies,
        (address, request.remote),
        request.scheme == "https",
        read,
        f"{request.version.major}.{request.version.minor}",
    )
