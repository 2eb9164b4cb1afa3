"""One cached HTTP client per FastAPI (or Starlette) process: opened at start-up, closed at shut-down.

    app = FastAPI(lifespan=lifespan)

    @app.get("/weather")
    async def weather(session: CachedSessionDep) -> Any:
        async with session.get("https://api.example.com/weather") as response:
            return await response.json()

An app that has a lifespan of its own calls `install`, or passes ``combine_lifespans(lifespan, its_own)``. A second
cache has a container and a key of its own: `make_lifespan` and `make_get_cached_session`.

The adapter is one module: it may import FastAPI, Starlette, the container and the session, and nothing imports it. A
lifespan opens the container and puts the session into the state of the app; the dependency finds it there.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from typing import Annotated, Any, Final, TypeAlias, cast
from weakref import WeakKeyDictionary

from fastapi import Depends
from starlette.applications import Starlette
from starlette.requests import HTTPConnection

from aiohttp_cache_di.containers import (
    AnyContainer,
    container_of,
    open_container,
    session_already_open,
    session_not_open,
)
from aiohttp_cache_di.session import CachedSession

__all__ = [
    "CACHED_SESSION",
    "AnyLifespan",
    "CachedSessionDep",
    "Lifespan",
    "combine_lifespans",
    "get_cached_session",
    "install",
    "lifespan",
    "make_get_cached_session",
    "make_lifespan",
]

CACHED_SESSION: Final = "cached_session"
"""Where the session is kept, in the lifespan's state and in ``app.state``."""

Lifespan: TypeAlias = Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any]]]
"""What FastAPI and Starlette take as ``lifespan=``, with a state."""

AnyLifespan: TypeAlias = Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any] | None]]
"""The same, with or without a state."""


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
        container: None for a `CacheContainer` of its own at each start, from the ``AIOHTTP_CACHE_`` variables.
        key: where the session is kept; each cache of an app has its own.
    """

    running: WeakKeyDictionary[Starlette, _Running] = WeakKeyDictionary()

    @asynccontextmanager
    async def cache_lifespan(app: Starlette | None) -> AsyncGenerator[Mapping[str, Any]]:
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
"""The lifespan of an app with one cache, which is configured by the ``AIOHTTP_CACHE_`` variables."""


def combine_lifespans(*lifespans: AnyLifespan) -> Lifespan:
    """Make one lifespan of several: entered in order, left in reverse, their states put together."""

    @asynccontextmanager
    async def combined(app: Any) -> AsyncGenerator[Mapping[str, Any]]:
        state: dict[str, Any] = {}
        async with AsyncExitStack() as stack:
            for each in lifespans:
                its_state = await stack.enter_async_context(each(app))
                state.update(its_state or {})
            # With None no state is asked of the server, which may have none. Starlette's types know either, not both.
            yield cast("Mapping[str, Any]", state or None)

    return combined


def install(app: Starlette, container: AnyContainer | None = None, *, key: str = CACHED_SESSION) -> None:
    """Open a cache around the lifespan that *app* already has, which can use it as ``app.state.cached_session``."""
    app.router.lifespan_context = combine_lifespans(make_lifespan(container, key=key), app.router.lifespan_context)


def make_get_cached_session(key: str = CACHED_SESSION) -> Callable[[HTTPConnection], Awaitable[CachedSession]]:
    """Make the dependency that finds the session kept under *key*, in routes, web sockets and mounted apps."""

    async def get_session(connection: HTTPConnection) -> CachedSession:
        scope: Mapping[str, Any] = connection.scope
        app_state = getattr(scope.get("app"), "state", None)
        session: CachedSession | None = scope.get("state", {}).get(key) or getattr(app_state, key, None)
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
"""The dependency that gives the session; ``app.dependency_overrides[get_cached_session]`` replaces it in a test."""

CachedSessionDep: TypeAlias = Annotated[CachedSession, Depends(get_cached_session)]
"""The session as the type of a parameter: ``async def route(session: CachedSessionDep)``."""
