"""The cached session in the state of an app: put there while the app is up, found for each request."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from starlette.requests import HTTPConnection

from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.session import CachedSession

__all__ = ["CACHED_SESSION", "Running", "cache_of", "session_of"]

CACHED_SESSION: Final = "cached_session"
"""Where the session is kept, in the lifespan's state and in ``app.state``."""


class Running:
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


def session_of(connection: HTTPConnection, key: str) -> CachedSession | None:
    """The session kept under *key* in the app of *connection*; None where no lifespan has put one there."""
    scope: Mapping[str, Any] = connection.scope
    session: CachedSession | None = scope.get("state", {}).get(key)
    if session is None:
        session = getattr(getattr(scope.get("app"), "state", None), key, None)
    return session


def cache_of(connection: HTTPConnection, key: str) -> CacheBackend | None:
    """The cache of that session; None where there is none, or it is closed."""
    session = session_of(connection, key)
    return None if session is None or session.closed else session.cache
