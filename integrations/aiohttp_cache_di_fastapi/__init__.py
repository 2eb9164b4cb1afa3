"""One cached HTTP client per FastAPI (or Starlette) process: opened at start-up, closed at shut-down.

    app = FastAPI(lifespan=lifespan)

    @app.get("/weather")
    async def weather(session: CachedSessionDep) -> Any:
        async with session.get("https://api.example.com/weather") as response:
            return await response.json()

An app with a lifespan of its own calls `install`, or passes ``combine_lifespans(lifespan, its_own)``. A second cache
has a container and a key of its own: `make_lifespan` and `make_get_cached_session`. `cache_health` and `cache_metrics`
are routes for readiness probes and for Prometheus; `admin_router` has a page that shows the caches.

The adapter may import FastAPI, Starlette, the container and the session, and nothing imports it. A lifespan opens the
container and keeps the session in the state of the app (``state``), where the dependency, the ``routes`` and the page
(``admin``) find it.

PYTEST_DONT_REWRITE: there is no assert here, and pytest would warn of a package that is imported before it starts.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Annotated, Any, Final, TypeAlias, cast
from weakref import WeakKeyDictionary

from aiohttp_cache_di.errors import ConfigurationError, MissingDependencyError

try:
    from fastapi import Depends
    from starlette.applications import Starlette
    from starlette.requests import HTTPConnection
except ModuleNotFoundError as _missing:
    raise MissingDependencyError(
        "aiohttp_cache_di_fastapi needs fastapi: pip install 'aiohttp-cache-di[fastapi]'"
    ) from _missing

from aiohttp_cache_di.containers import (
    AnyContainer,
    container_of,
    open_container,
    session_already_open,
    session_not_open,
)
from aiohttp_cache_di.session import CachedSession
from aiohttp_cache_di_fastapi.admin import Authorize, admin_router
from aiohttp_cache_di_fastapi.routes import Route, cache_health, cache_metrics, make_cache_health, make_cache_metrics
from aiohttp_cache_di_fastapi.state import CACHED_SESSION, Running, session_of

__all__ = [
    "CACHED_SESSION",
    "AnyLifespan",
    "Authorize",
    "CachedSessionDep",
    "Lifespan",
    "Route",
    "admin_router",
    "cache_health",
    "cache_metrics",
    "combine_lifespans",
    "get_cached_session",
    "install",
    "lifespan",
    "make_cache_health",
    "make_cache_metrics",
    "make_get_cached_session",
    "make_lifespan",
]

Lifespan: TypeAlias = Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any]]]
"""A lifespan for ``FastAPI(lifespan=…)`` that yields a state."""

AnyLifespan: TypeAlias = Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any] | None]]
"""A lifespan that yields a state or None."""


def make_lifespan(container: AnyContainer | None = None, *, key: str = CACHED_SESSION) -> Lifespan:
    """Make a lifespan that opens *container* when the app starts and closes it when the app stops.

    An app that several servers run at the same time has one session per event loop, closed when the last server stops.

    Args:
        container: a `CacheContainer`, its class, or one that is embedded in yours; None for a new one at each start,
            configured by the ``AIOHTTP_CACHE_`` variables.
        key: the name of the session in the state; each cache of an app has its own.

    Returns:
        A lifespan for ``FastAPI(lifespan=…)``. At the start it raises what `open_container` raises, and
        ConfigurationError if another cache of the app has the same key.
    """
    running: WeakKeyDictionary[Starlette, Running] = WeakKeyDictionary()

    @asynccontextmanager
    async def cache_lifespan(app: Starlette | None) -> AsyncGenerator[Mapping[str, Any]]:
        """Open a cache when *app* starts, keep its session in the app's state, and close it when the app stops.

        Args:
            app: the app that starts; meanwhile the session is ``app.state.cached_session``, or named after the key.
                None from a server that passes none: then the session is only in the lifespan's state.

        Yields:
            ``{"cached_session": session}``: Starlette puts it into the ``state`` of each request and web socket.

        Raises:
            ConfigurationError: at the start: a variable is invalid, another cache of the app has the same key, or
                ``REQUIRE_STORE`` is true and the store cannot be used.
            MissingDependencyError: at the start: the driver of the store is not installed.
        """
        if app is None:
            async with open_container(container) as session:
                yield {key: session}
            return
        if app not in running:
            if hasattr(app.state, key):
                raise session_already_open(key)
            running[app] = Running(container_of(container))
        cache = running[app]
        cache.users += 1
        try:
            async with open_container(cache.container) as session:
                with cache.show(app.state, key, session):
                    yield {key: session}
        finally:
            cache.users -= 1
            if not cache.users:
                del running[app]

    return cache_lifespan


lifespan: Final = make_lifespan()
"""The lifespan of an app with one cache, which the ``AIOHTTP_CACHE_`` variables describe.

``FastAPI(lifespan=lifespan)`` opens the cache when the app starts and closes it when the app stops. Meanwhile
`get_cached_session` and `CachedSessionDep` find the session, and so do ``request.state.cached_session`` and
``app.state.cached_session``. A start raises ConfigurationError for an invalid variable, and MissingDependencyError for
a driver that is not installed. For an app that has a lifespan already see `install` and `combine_lifespans`, and for
several caches `make_lifespan`.
"""


def combine_lifespans(*lifespans: AnyLifespan) -> Lifespan:
    """Combine several lifespans into one: entered in order, exited in reverse, with their states merged.

    Args:
        lifespans: the lifespans; if two states have the same name, that of the later one is kept.
    """

    @asynccontextmanager
    async def combined(app: Any) -> AsyncGenerator[Mapping[str, Any]]:
        """Enter the lifespans of *app* in order, and exit them in reverse."""
        state: dict[str, Any] = {}
        async with AsyncExitStack() as stack:
            for each in lifespans:
                its_state = await stack.enter_async_context(each(app))
                state.update(its_state or {})
            # None instead of an empty state: a server need not support states. The cast is for Starlette's types.
            yield cast("Mapping[str, Any]", state or None)

    return combined


def install(app: Starlette, container: AnyContainer | None = None, *, key: str = CACHED_SESSION) -> None:
    """Open a cache around the lifespan that *app* already has, which finds it as ``app.state.cached_session``.

    Args:
        app: an app that is not started yet; in one that runs, the cache is opened at its next start.
        container: as for `make_lifespan`.
        key: as for `make_lifespan`.

    Raises:
        ConfigurationError: *app* is not an app.
    """
    if not isinstance(app, Starlette):
        raise ConfigurationError(
            f"install({app!r}): pass the app, a FastAPI or Starlette; a router has APIRouter(lifespan=lifespan)"
        )
    app.router.lifespan_context = combine_lifespans(make_lifespan(container, key=key), app.router.lifespan_context)


def make_get_cached_session(key: str = CACHED_SESSION) -> Callable[[HTTPConnection], Awaitable[CachedSession]]:
    """Make the dependency that finds the session under *key*, in routes, web sockets and mounted apps.

    Args:
        key: the key that was given to `make_lifespan`.

    Returns:
        A dependency for ``Depends(…)``; it raises LifecycleError if no lifespan has opened the cache.
    """

    async def get_session(connection: HTTPConnection) -> CachedSession:
        """Find the cached session of the app, which the whole process shares: do not close it in a route.

        Args:
            connection: the request or the web socket, which FastAPI passes. A mounted app has the session of the app
                that it is mounted on.

        Returns:
            The open session, a `CachedSession`.

        Raises:
            LifecycleError: the app's lifespan did not run; the message says how to run it, in a test too.
        """
        session = session_of(connection, key)
        if session is None:
            raise session_not_open(
                key,
                "the app's lifespan did not run. Pass it as FastAPI(lifespan=lifespan), or call install(app) before "
                "the app is started; a mounted app takes the session of the app that it is mounted on. In a test write "
                "`with TestClient(app) as client`; httpx.ASGITransport runs no lifespan, so put "
                "`async with app.router.lifespan_context(app)` around it, or override the dependency.",
            )
        return session

    return get_session


get_cached_session: Final = make_get_cached_session()
"""The dependency that returns the session of `lifespan`: ``Depends(get_cached_session)``; `CachedSessionDep` as a type.

It works in routes, web sockets, other dependencies and mounted apps, and raises LifecycleError if the lifespan did not
run. A test replaces the session by ``app.dependency_overrides[get_cached_session] = lambda: session``. For a session
under another key see `make_get_cached_session`.
"""

CachedSessionDep: TypeAlias = Annotated[CachedSession, Depends(get_cached_session)]
"""The session as the type of a parameter: ``async def route(session: CachedSessionDep)``."""
