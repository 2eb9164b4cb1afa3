"""The cached session of an app: opened when the app starts, kept in the app, closed when it is cleaned up."""

from __future__ import annotations

import warnings
from collections.abc import AsyncGenerator, Callable, MutableMapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, TypeAlias
from weakref import WeakKeyDictionary

from aiohttp import web

from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.containers import AnyContainer, container_of, open_container, session_already_open
from aiohttp_cache_di.session import CachedSession

__all__ = ["CACHED_SESSION", "CacheContext", "cache_ctx", "cache_of", "make_cache_ctx"]

CACHED_SESSION: Final = web.AppKey("CACHED_SESSION", CachedSession)
"""The default key of the session in the app."""

CacheContext: TypeAlias = Callable[[web.Application], AbstractAsyncContextManager[None]]
"""A context for ``app.cleanup_ctx``."""


def make_cache_ctx(
    container: AnyContainer | None = None, *, key: web.AppKey[CachedSession] = CACHED_SESSION
) -> CacheContext:
    """Make a context that opens *container* when the app starts and closes it when the app is cleaned up.

    An app that several runners start at the same time has one session, which is closed when the last runner is cleaned
    up.

    Args:
        container: a `CacheContainer`, its class, or one that is embedded in yours; None for a new one at each start,
            configured by the ``AIOHTTP_CACHE_`` variables.
        key: the key of the session in the app; each cache of an app has its own.

    Returns:
        A context for ``app.cleanup_ctx.append(…)``. At the start it raises what `open_container` raises, and
        ConfigurationError if another cache of the app has the same key.
    """
    running: WeakKeyDictionary[web.Application, _Running] = WeakKeyDictionary()

    def context(app: web.Application) -> AbstractAsyncContextManager[None]:
        """Open a cache when *app* starts, keep its session in the app, and close it when the app is cleaned up.

        Responses that are being stored at that time are stored first, within about a second.

        Args:
            app: the app, or a sub-app. From the start on the session is ``app[CACHED_SESSION]``, or under another key
                that was given, and `get_cached_session` finds it.

        Raises:
            ConfigurationError: at the start: a variable is invalid, another cache of the app has the same key, or
                ``REQUIRE_STORE`` is true and the store cannot be used.
            MissingDependencyError: at the start: the driver of the store is not installed.
        """
        return _Context(app, key, container, running)

    return context


class _Running:
    """A cache of a running app, which several runners may have started."""

    def __init__(self, container: Any) -> None:
        self.container = container
        self.contexts: list[_Context] = []


class _Context(AbstractAsyncContextManager[None]):
    """The context of one start of an app.

    When a runner is cleaned up, aiohttp exits the contexts of *all* starts, in reverse order; so each context is exited
    once per runner. The last runner is being cleaned up when the first context is exited for the n-th time, where n is
    the number of contexts. Only then are the contexts closed.
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
        # A generator: aiohttp does not clean up after a failed start, but an event loop closes generators at its end.
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
            # aiohttp warns of this when the app is started again; but then its session has to be replaced.
            warnings.filterwarnings("ignore", "Changing state of started", DeprecationWarning)
            self._app[self._key] = session


cache_ctx: Final = make_cache_ctx()
"""The context of an app with one cache, which the ``AIOHTTP_CACHE_`` variables describe.

``app.cleanup_ctx.append(cache_ctx)``: the cache is opened when the app starts and closed when it is cleaned up, and
`get_cached_session` finds its session meanwhile. A start raises ConfigurationError for an invalid variable,
and MissingDependencyError for a driver that is not installed. For an app with several caches see `make_cache_ctx`.
"""


def cache_of(request: web.Request, key: web.AppKey[CachedSession]) -> CacheBackend | None:
    """The cache of the session under *key*; None if there is no session, or it is closed."""
    session: CachedSession | None = request.config_dict.get(key)
    return None if session is None or session.closed else session.cache
