"""`open_container`, which starts the resources of a container in order, and stops them in reverse order."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, Final, TypeAlias
from weakref import WeakKeyDictionary

from dependency_injector import containers, providers

from aiohttp_cache_di.containers.parts import CacheContainer, load_settings, resolve
from aiohttp_cache_di.errors import ConfigurationError, LifecycleError
from aiohttp_cache_di.session import CachedSession
from aiohttp_cache_di.settings.model import CacheSettings

__all__ = ["AnyContainer", "container_of", "open_container", "session_already_open", "session_not_open"]

CANCELLED_START_S: Final = 5.0  # for a resource that is just starting to finish, so that it can be closed

AnyContainer: TypeAlias = containers.Container | type[containers.Container] | providers.Container[Any]
"""A container, its class (of which a new container is made at each start), or one that is embedded in another."""


def open_container(container: AnyContainer | None = None) -> AbstractAsyncContextManager[CachedSession]:
    """Open *container*, yield its session, and at the end close in reverse order what was started here.

    The session is the object itself, not a future, and stays the same while the container is open. First the resources
    that the session needs are started, then the others; those that an override replaces are not, and those that are
    running already stay running. If a start fails or is cancelled, what has been started is closed in reverse order.

    A container may be opened several times: all get the same session, which is closed with the last of them. In another
    event loop it has another session.

    Args:
        container: None for a new `CacheContainer`, which reads the variables that begin with ``AIOHTTP_CACHE_``.

    Raises:
        ConfigurationError: a setting is invalid, the container has no provider ``session``, or ``require_store`` is
            true and the store cannot be opened, read and written.
        MissingDependencyError: the driver of the backend is not installed.
    """
    return _Opening(CacheContainer if container is None else container)


class _Opening(AbstractAsyncContextManager[CachedSession]):
    """The context manager that `open_container` returns."""

    def __init__(self, container: AnyContainer) -> None:
        self._container = container
        self._share: _Share | None = None

    async def __aenter__(self) -> CachedSession:
        self._share = share = _join(container_of(self._container))
        try:
            async with share.lock:
                return await share.start()
        except BaseException:
            await share.leave()
            raise

    async def __aexit__(self, *exc_info: object) -> None:
        if self._share is not None:
            await self._share.leave()


class _Share:
    """A container that is open in one event loop: started by the first use of it, closed with the last."""

    def __init__(self, given: Any, container: Any) -> None:
        self._given = given
        self._loop = asyncio.get_running_loop()
        self._started = AsyncExitStack()
        self.container = container
        self.lock = asyncio.Lock()  # held while resources are started or stopped
        self.users = 0

    async def start(self) -> CachedSession:
        """Start the resources that are not running; if that fails or is cancelled, close those started here."""
        async with AsyncExitStack() as stack:
            for resource in _in_order(self.container):
                if not resource.initialized:
                    # Registered before the start, so that a start that is cancelled midway is undone as well.
                    stack.push_async_callback(_stop, resource)
                    resource.reset_async_mode()
                await _start(resource)
            session: CachedSession = await resolve(self.container.session())
            self._started.push_async_exit(stack.pop_all())
        return session

    async def leave(self) -> None:
        """Close what was started, unless there are other users, including those that came while this one waited."""
        self.users -= 1
        if self.users:
            return
        async with self.lock:
            if self.users:
                return
            try:
                await self._started.aclose()
            finally:
                if not self.users:
                    _forget(self._given, self._loop)


_shares: WeakKeyDictionary[Any, dict[asyncio.AbstractEventLoop, _Share]] = WeakKeyDictionary()
_shares_lock = threading.Lock()  # event loops run in several threads


def _join(given: Any) -> _Share:
    loop = asyncio.get_running_loop()
    with _shares_lock:
        by_loop = _shares.setdefault(given, {})
        if loop not in by_loop:
            by_loop[loop] = _Share(given, _twin(given) if by_loop else given)
        by_loop[loop].users += 1
        return by_loop[loop]


def _forget(given: Any, loop: asyncio.AbstractEventLoop) -> None:
    with _shares_lock:
        by_loop = _shares[given]
        del by_loop[loop]
        if not by_loop:
            del _shares[given]


def _twin(container: Any) -> Any:
    """Make a container like *container*, whose resources belong to another event loop, with the same overrides."""
    made_from = getattr(container, "declarative_parent", None)
    if made_from is None:
        raise LifecycleError(f"{container!r} is open in another event loop; each needs a container of its own")
    twin = made_from()
    for name, provider in container.providers.items():
        for override in provider.overridden:
            twin.providers[name].override(override)
    return twin


def session_not_open(key: object, why: str) -> LifecycleError:
    """Make the error of an adapter that finds no session under *key*."""
    return LifecycleError(f"the cached session {key!r} is not open: {why}")


def session_already_open(key: object) -> ConfigurationError:
    """Make the error of an adapter that finds another cache's session under *key*."""
    return ConfigurationError(
        f"two caches of one app are kept under {key!r}; if one is meant, open it once (in FastAPI by the lifespan or "
        "by install, not by both), else give each a key of its own: key=…"
    )


def container_of(container: AnyContainer | None) -> Any:
    """The container itself, or a new one for a class or None; an adapter keeps it while its app runs."""
    container = CacheContainer if container is None else container
    if isinstance(container, providers.Container):
        found: Any = container()
    else:
        found = container() if isinstance(container, type) else container
    if "session" not in getattr(found, "providers", {}):
        what = f"a {type(container).__name__}" if isinstance(container, CacheSettings) else repr(container)
        raise ConfigurationError(
            f"{what} has no provider 'session'; give a CacheContainer, or the one embedded in yours: app.cache. "
            "A prefix is given as CacheContainer(prefix=…), settings as CacheContainer(settings=…)"
        )
    return found


def _in_order(container: Any) -> Iterator[Any]:
    """The resources to start, in order: each after its dependencies, and those of the session first."""
    # If the session is overridden, these two are needed only if the override depends on them.
    skipped = {"settings", "backend"} if container.session.last_overriding is not None else set[str]()
    seen: set[int] = set()
    yield from _dependencies_first(container.session, seen)
    for name, provider in container.providers.items():
        if name not in skipped:
            yield from _dependencies_first(provider, seen)


def _dependencies_first(provider: Any, seen: set[int]) -> Iterator[Any]:
    if id(provider) in seen:
        return
    seen.add(id(provider))
    if provider.last_overriding is not None:  # the dependencies of the overridden provider are not needed
        yield from _dependencies_first(provider.last_overriding, seen)
        return
    for related in provider.related:
        yield from _dependencies_first(related, seen)
    if isinstance(provider, providers.Resource):
        yield provider


async def _start(resource: Any) -> None:
    started = asyncio.to_thread(resource.init) if resource.provides is load_settings else resource.init()
    if not inspect.isawaitable(started):
        return
    future = asyncio.ensure_future(started)
    try:
        await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait({future}, timeout=CANCELLED_START_S)
        future.cancel()  # does nothing to one that is done
        raise


async def _stop(resource: Any) -> None:
    await resolve(resource.shutdown())
