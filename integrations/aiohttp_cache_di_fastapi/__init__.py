"""One cached HTTP client per FastAPI (or Starlette) process: opened at start-up, closed at shut-down.

    app = FastAPI(lifespan=lifespan)

    @app.get("/weather")
    async def weather(session: CachedSessionDep) -> Any:
        async with session.get("https://api.example.com/weather") as response:
            return await response.json()

An app that has a lifespan of its own calls `install`, or passes ``combine_lifespans(lifespan, its_own)``. A second
cache has a container and a key of its own: `make_lifespan` and `make_get_cached_session`. `cache_health` and
`cache_metrics` are routes for readiness probes and for Prometheus; `admin_router` has a page to look into the caches.

The adapter is one module: it may import FastAPI, Starlette, the container and the session, and nothing imports it. A
lifespan opens the container and puts the session into the state of the app; the dependency finds it there.

PYTEST_DONT_REWRITE: there is no assert here, and pytest would warn of a package that is imported before it starts.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from typing import Annotated, Any, Final, TypeAlias, cast
from weakref import WeakKeyDictionary

from fastapi import APIRouter, Depends, HTTPException, params
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import JSONResponse, RedirectResponse, Response

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

CACHED_SESSION: Final = "cached_session"
"""Where the session is kept, in the lifespan's state and in ``app.state``."""

Lifespan: TypeAlias = Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any]]]
"""What FastAPI and Starlette take as ``lifespan=``, with a state."""

AnyLifespan: TypeAlias = Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any] | None]]
"""The same, with or without a state."""

Route: TypeAlias = Callable[[Request], Awaitable[Response]]
"""What ``app.add_api_route`` and Starlette's ``Route`` take."""

Authorize: TypeAlias = Callable[..., Any] | params.Depends
"""A dependency that raises an HTTPException to refuse, or what `Depends` and `Security` make of one."""

NO_STORE: Final = {"Cache-Control": "no-store"}


class _Running:
    """A cache of an app that is served, by several servers perhaps; they share the session if they share the loop."""

    def __init__(self, container: Any) -> None:
        self.container = container
        self.users = 0
        self._sessions: list[CachedSession] = []

    @contextmanager
    def show(self, state: Any, key: str, session: CachedSession) -> Generator[None]:
        """Keep *session* in the app's *state*, which has that of the last server that is up."""
        # The lifespan's state reaches mounted apps and web sockets, and comes with each request from the server.
        # The app's is for what has no request: the user's own lifespan, or a test that runs the lifespan itself.
        self._sessions.append(session)
        setattr(state, key, session)
        try:
            yield
        finally:
            self._sessions.remove(session)
            if self._sessions:
                setattr(state, key, self._sessions[-1])
            else:
                delattr(state, key)


def make_lifespan(container: AnyContainer | None = None, *, key: str = CACHED_SESSION) -> Lifespan:
    """Make a lifespan that opens *container* when the app starts and closes it when the app stops.

    An app that several servers start at the same time has one session in each event loop, closed with the last.

    Args:
        container: a `CacheContainer`, its class, or one that is embedded in yours; None for one of its own at each
            start, from the ``AIOHTTP_CACHE_`` variables.
        key: where the session is kept; each cache of an app has its own.

    Returns:
        What ``FastAPI(lifespan=…)`` takes. At the start it raises what `open_container` raises, and ConfigurationError
        where another cache of the app has the same key.
    """

    running: WeakKeyDictionary[Starlette, _Running] = WeakKeyDictionary()

    @asynccontextmanager
    async def cache_lifespan(app: Starlette | None) -> AsyncGenerator[Mapping[str, Any]]:
        """Open a cache when *app* starts, keep its session in the app's state, and close it when the app stops.

        What is being stored when the app stops is stored first, within a second or so; requests under way are not
        waited for, since the server has done so.

        Args:
            app: the app that starts; the session is ``app.state.cached_session`` while it is up (or is called like
                the key). None where a server gives none: then it is in the lifespan's state alone.

        Yields:
            ``{"cached_session": session}``: Starlette puts it into the ``state`` of each request and web socket.

        Raises:
            ConfigurationError: at the start: a variable cannot be used, another cache of the app has the same key, or
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
            running[app] = _Running(container_of(container))
        found = running[app]
        found.users += 1
        try:
            async with open_container(found.container) as session:
                with found.show(app.state, key, session):
                    yield {key: session}
        finally:
            found.users -= 1
            if not found.users:
                del running[app]

    return cache_lifespan


lifespan: Final = make_lifespan()
"""The lifespan of an app with one cache, which the ``AIOHTTP_CACHE_`` variables describe.

``FastAPI(lifespan=lifespan)`` opens the cache when the app starts and closes it when the app stops. Meanwhile
`get_cached_session` and `CachedSessionDep` find the session, and so do ``request.state.cached_session`` and
``app.state.cached_session``. A start raises ConfigurationError for a variable that cannot be used, and
MissingDependencyError for a driver that is not installed. An app that has a lifespan already takes `install` or
`combine_lifespans`; one with several caches takes `make_lifespan`.
"""


def combine_lifespans(*lifespans: AnyLifespan) -> Lifespan:
    """Make one lifespan of several: entered in order, left in reverse, their states put together.

    Args:
        lifespans: those to combine; of states with the same name the last one counts.
    """

    @asynccontextmanager
    async def combined(app: Any) -> AsyncGenerator[Mapping[str, Any]]:
        """Enter several lifespans of *app* in order, and leave them in reverse."""
        state: dict[str, Any] = {}
        async with AsyncExitStack() as stack:
            for each in lifespans:
                its_state = await stack.enter_async_context(each(app))
                state.update(its_state or {})
            # With None no state is asked of the server, which may have none. Starlette's types know either, not both.
            yield cast("Mapping[str, Any]", state or None)

    return combined


def install(app: Starlette, container: AnyContainer | None = None, *, key: str = CACHED_SESSION) -> None:
    """Open a cache around the lifespan that *app* already has, which can use it as ``app.state.cached_session``.

    Args:
        app: that has not been started yet.
        container: as `make_lifespan` takes it.
        key: where the session is kept; each cache of an app has its own.
    """
    app.router.lifespan_context = combine_lifespans(make_lifespan(container, key=key), app.router.lifespan_context)


def _session_of(connection: HTTPConnection, key: str) -> CachedSession | None:
    scope: Mapping[str, Any] = connection.scope
    app_state = getattr(scope.get("app"), "state", None)
    session: CachedSession | None = scope.get("state", {}).get(key) or getattr(app_state, key, None)
    return session


def make_get_cached_session(key: str = CACHED_SESSION) -> Callable[[HTTPConnection], Awaitable[CachedSession]]:
    """Make the dependency that finds the session kept under *key*, in routes, web sockets and mounted apps.

    Args:
        key: as it was given to `make_lifespan`.

    Returns:
        What ``Depends(…)`` takes; it raises LifecycleError where no lifespan has opened the cache.
    """

    async def get_session(connection: HTTPConnection) -> CachedSession:
        """Find the cached session of the app: one for the whole process, which no route closes.

        Args:
            connection: the request, or the web socket; FastAPI gives it. A mounted app has the session of the app
                that it is mounted on.

        Returns:
            The open session, a `CachedSession`.

        Raises:
            LifecycleError: the app's lifespan did not run; the message says how to have it run, in a test too.
        """
        session = _session_of(connection, key)
        if session is None:
            raise session_not_open(
                key,
                "the app's lifespan did not run. Pass it as FastAPI(lifespan=lifespan) or call install(app); a mounted "
                "app takes the session of the app that it is mounted on. In a test write `with TestClient(app) as "
                "client`; httpx.ASGITransport runs no lifespan, so put `async with app.router.lifespan_context(app)` "
                "around it, or override the dependency.",
            )
        return session

    return get_session


get_cached_session: Final = make_get_cached_session()
"""The dependency that gives the session that `lifespan` has opened: ``Depends(get_cached_session)``.

It works in routes, web sockets, other dependencies and mounted apps, and raises LifecycleError where the lifespan did
not run; `CachedSessionDep` is it as a type. In a test
``app.dependency_overrides[get_cached_session] = lambda: session`` puts another session in its place. What
`make_get_cached_session` makes finds the session of another key.
"""

CachedSessionDep: TypeAlias = Annotated[CachedSession, Depends(get_cached_session)]
"""The session as the type of a parameter: ``async def route(session: CachedSessionDep)``."""


def make_cache_health(
    keys: Sequence[str] = (CACHED_SESSION,), *, degraded_status: int = 200, ping: bool = False
) -> Route:
    """Make a route for readiness probes: ``app.add_api_route("/readyz", make_cache_health(["rates"]))``.

    It answers 503 while a cache is not open, and else 200: a cache whose store fails is ``degraded``, and the service
    works without it.

    Args:
        keys: of the sessions that it tells of.
        degraded_status: the HTTP status while a cache is degraded, such as 503.
        ping: try the stores each time, rather than tell what requests have met.
    """
    probe = Probe(degraded_status, ping)

    async def health(request: Request) -> Response:
        """Tell whether the cache of the app is open, and whether its store works."""
        status, told = await probe.answer([_cache_of(request, key) for key in keys])
        return JSONResponse(told, status, headers=NO_STORE)

    return health


cache_health: Final = make_cache_health()
"""The route for readiness probes of an app with one cache: ``app.add_api_route("/readyz", cache_health)``."""


def make_cache_metrics(keys: Sequence[str] = (CACHED_SESSION,), *, registry: Any = None) -> Route:
    """Make a route for Prometheus; it needs the extra ``prometheus``.

    Args:
        keys: of the sessions that it tells of; one that is not open is left out.
        registry: whose metrics are shown as well, such as `prometheus_client.REGISTRY`.

    Raises:
        MissingDependencyError: when it is asked for the first time, if prometheus_client is not installed.
    """
    exposition = Exposition(registry)

    async def metrics(request: Request) -> Response:
        """Show the counters of the cache to Prometheus."""
        caches = [cache for key in keys if (cache := _cache_of(request, key)) is not None]
        body, content_type = await exposition.show(caches, request.headers.get("Accept", ""))
        return Response(body, headers={**NO_STORE, "Content-Type": content_type})

    return metrics


cache_metrics: Final = make_cache_metrics()
"""The route for Prometheus of an app with one cache: ``app.add_api_route("/metrics", cache_metrics)``."""


def _cache_of(request: Request, key: str) -> CacheBackend | None:
    session = _session_of(request, key)
    return None if session is None or session.closed else session.cache


def admin_router(
    *,
    authorize: Authorize | None,
    prefix: str = DEFAULT_PATH,
    keys: Sequence[str] = (CACHED_SESSION,),
    read_only: bool = False,
    previews: bool = True,
) -> APIRouter:
    """Make a router with the admin page and its API: ``app.include_router(admin_router(authorize=require_admin))``.

    Args:
        authorize: a dependency that lets a request pass, or raises an HTTPException; one that returns False, or a
            response, refuses, too. It has no default: None, written out, lets clients on this machine in and no others,
            which is for development, and not for a service behind a proxy.
        prefix: where the page is.
        keys: of the sessions whose caches it shows.
        read_only: nothing can be purged.
        previews: the beginnings of bodies are shown.

    Raises:
        ConfigurationError: *authorize* or *prefix* is no such thing.
    """
    path = mount_path(prefix, option="prefix")
    if not isinstance(authorize, params.Depends):
        expect_callable(authorize, what="a dependency")
    admin = Admin(is_local=authorize is None, read_only=read_only, previews=previews)

    @asynccontextmanager
    async def watching(app: Any) -> AsyncGenerator[None]:
        sessions = [getattr(getattr(app, "state", None), key, None) for key in keys]
        for session in sessions:
            admin.watch(session)
        try:
            yield
        finally:
            for session in sessions:
                admin.leave(session)

    needed = [] if authorize is None else [Depends(_refusing_false(authorize))]
    router = APIRouter(prefix=path, dependencies=needed, include_in_schema=False, lifespan=watching)
    for name, method, below in ENDPOINTS:
        router.add_api_route(below, _admin_route(admin, name, keys), methods=[method], response_model=None)
    if path:
        own = path.rpartition("/")[2]

        async def to_page() -> Response:
            return RedirectResponse(f"{own}/")  # as the browser sees the path, whatever a proxy has taken off it

        router.add_api_route("", to_page, methods=["GET"], response_model=None)
    return router


def _refusing_false(authorize: Authorize) -> Callable[..., Awaitable[None]]:
    needed: Any = authorize if isinstance(authorize, params.Depends) else Depends(authorize)

    async def gate(verdict: Any = needed) -> None:
        # FastAPI looks at nothing that a dependency returns: what was meant as a refusal has to be one.
        if verdict is False or isinstance(verdict, Response):
            raise HTTPException(403, "authorize= has refused the request")

    return gate


def _admin_route(admin: Admin, name: Name, keys: Sequence[str]) -> Route:
    async def route(request: Request) -> Response:
        async def read(limit: int) -> bytes:
            body = bytearray()
            try:
                async for piece in request.stream():
                    body += piece
                    if len(body) > limit:
                        break
            except ClientDisconnect:
                pass  # the beginning is no JSON
            return bytes(body)

        ask = Ask(
            request.method,
            [(field.lower(), value) for field, value in request.headers.items()],
            request.query_params.multi_items(),
            request.cookies,
            () if request.client is None else (request.client.host,),
            request.url.scheme == "https",
            read,
            request.scope.get("http_version", ""),
        )
        sessions = [(key, _session_of(request, key)) for key in keys]
        reply = await admin.answer(name, ask, sessions, request.path_params.get("number", ""))
        return Response(reply.body, reply.status, reply.headers)

    return route
