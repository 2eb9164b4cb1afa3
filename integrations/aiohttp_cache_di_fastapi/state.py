"""The cached session in the state of an app: kept there while the app runs, and found by each request."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from starlette.requests import HTTPConnection

from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.session import CachedSession

__all__ = ["CACHED_SESSION", "Running", "cache_of", "session_of"]

CACHED_SESSION: Final = "cached_session"
"""The default key of the session, in the lifespan's state and in ``app.state``."""


class Running:
    """A cache of a running app; several servers of the app share the session if they share the event loop."""

    def __init__(self, container: Any) -> None:
        self.container = container
        self.users = 0
        self._sessions: list[CachedSession] = []

    @contextmanager
    def show(self, state: Any, key: str, session: CachedSession) -> Generator[None]:
        """Keep *session* in the *state* of the app; with several servers, the session of the one that started last."""
        # The server passes the lifespan's state on to each request and web socket, in mounted apps too. ``app.state``
        # is for code without a request: the user's own lifespan, or a test that runs the lifespan itself.
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
    """The session under *key* of the app that serves *connection*; None if no lifespan has opened one."""
    scope: Mapping[str, Any] = connection.scope
    session: CachedSession | None = scope.get("state", {}).get(key)
    if session is None:
        session = getattr(getattr(scope.get("app"), "state", None), key, None)
    return session


def cache_of(connection: HTTPConnection, key: str) -> CacheBackend | None:
    """The cache of that session; None if there is no session, or it is closed."""
    session = session_of(connection, key)
    return None if session is None or session.closed else session.cache
