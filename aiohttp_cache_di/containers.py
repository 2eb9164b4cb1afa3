"""`CacheContainer`: settings → back-end → session, and the one helper that opens and closes a container.

Nothing else in the package imports dependency-injector, which takes half a second to load. What its resources do that
one would not expect, and that `open_container` takes care of:

- Once started, an asynchronous resource hands out futures, never the object: what is yielded here is the object.
- ``init_resources()`` returns None when everything is synchronous, starts resources at the same time, starts those
  that an override has made superfluous, and leaves running what had started when another fails.
- ``shutdown_resources()`` stops at the first error.
- A start that is cancelled midway leaves a callback that raises InvalidStateError.
- A provider takes for good after the first thing that it gives: one whose override gave a plain object does not wait
  for what it depends on when the override is gone.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast
from weakref import WeakKeyDictionary

import dependency_injector
from dependency_injector import containers, providers

from aiohttp_cache_di.arguments import PartsByName, refuse_unknown, require_kind
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.errors import ConfigurationError, LifecycleError
from aiohttp_cache_di.session import CachedSession
from aiohttp_cache_di.settings.build import build_session, check_store, plan_backend
from aiohttp_cache_di.settings.model import DEFAULT_PREFIX, CacheSettings
from aiohttp_cache_di.settings.sources import DEFAULT_ENV_FILE

if TYPE_CHECKING:
    from typing import TypedDict, Unpack

    from aiohttp_cache_di.engine.calls.typed import SessionOptions

    class ContainerOptions(TypedDict, total=False):
        """What a `CacheContainer` takes: a value, or a provider of dependency-injector that gives it."""

        prefix: str | providers.Provider[str]
        """What the names of the variables begin with. Default: "AIOHTTP_CACHE_"."""
        env_file: str | providers.Provider[str | None] | None
        """Path of a file of variables for what the environment lacks; None for none. Default: ".env", if there."""
        session_options: SessionOptions | providers.Provider[Any]
        """Arguments of `CachedSession`, which win over the settings. Default: {}."""
        settings: CacheSettings | providers.Provider[Any]
        """The settings, in place of those of the environment. Default: `CacheSettings` of the prefix."""
        backend: CacheBackend | providers.Provider[Any]
        """The back-end, in place of the one that the settings describe; who made it closes it. Default: that one."""
        session: CachedSession | providers.Provider[Any]
        """The session, in place of one on the back-end; who made it closes it. Default: that one."""


__all__ = [
    "AnyContainer",
    "CacheContainer",
    "container_of",
    "open_container",
    "session_already_open",
    "session_not_open",
]

NEEDED: Mapping[type, tuple[str, ...]] = {
    containers.DeclarativeContainer: ("providers",),
    providers.Provider: ("last_overriding", "related"),
    providers.Resource: ("init", "initialized", "provides", "reset_async_mode", "shutdown"),
}
"""What is used of dependency-injector beyond what its documentation shows, by the class that has it."""


def require(needed: Mapping[type, tuple[str, ...]]) -> None:
    """Raise ImportError if this release of dependency-injector lacks any of the attributes *needed*."""
    missing = [f"{one.__name__}.{name}" for one, names in needed.items() for name in names if not hasattr(one, name)]
    if missing:
        raise ImportError(
            f"aiohttp_cache_di.containers cannot work with dependency-injector {dependency_injector.__version__}, "
            f"which has no {', '.join(missing)}; install a release that the requirements of aiohttp-cache-di name"
        )


require(NEEDED)

CANCELLED_START_S = 5.0  # a resource that is just starting may finish, so that it can be closed in order

Closable = TypeVar("Closable", CacheBackend, CachedSession)

SettingsProvider: TypeAlias = Callable[[], Any]

AnyContainer: TypeAlias = "containers.Container | type[containers.Container] | providers.Container[Any]"
"""A container, its class (a new container is then made at each start), or one that is embedded in another."""


def load_settings(prefix: str, env_file: str | None) -> CacheSettings:
    """Read the variables, unless a test has put something else in the place of `CacheSettings.load`."""
    return CacheSettings.load(prefix, env_file)


class _Closing(AbstractAsyncContextManager[Closable]):
    """Makes a thing in the running loop, and closes it in the end.

    No generator, and neither is `_Opening`: when the start of an aiohttp.web app fails, the loop closes all generators
    at the same time. There must be only that of the app's context, whose end closes the rest in order.
    """

    def __init__(self, make: Callable[[], Awaitable[Closable]]) -> None:
        self._make: Callable[[], Awaitable[Closable]] = make
        self._thing: Closable | None = None

    async def __aenter__(self) -> Closable:
        self._thing = await self._make()
        return self._thing

    async def __aexit__(self, *exc_info: object) -> None:
        if self._thing is not None:
            await self._thing.close()


def backend_resource(settings: SettingsProvider) -> AbstractAsyncContextManager[CacheBackend]:
    """Build the back-end, and close it in the end."""

    async def make() -> CacheBackend:
        plan = await asyncio.to_thread(plan_backend, await _in_thread(settings))
        # Drivers look at files as well, redis-py at its own metadata; a class of the user's may want the loop.
        return await asyncio.to_thread(plan.build) if plan.is_built_in else plan.build()

    return _Closing(make)


def session_resource(
    backend: CacheBackend, settings: SettingsProvider, options: Mapping[str, Any]
) -> AbstractAsyncContextManager[CachedSession]:
    """Build the session in the running loop, and close it in the end."""

    async def make() -> CachedSession:
        found = await _in_thread(settings)
        require_kind("CacheContainer", "backend", backend, CacheBackend)
        await check_store(backend, found)
        return build_session(backend, found, options)

    return _Closing(make)


async def _in_thread(settings: SettingsProvider) -> CacheSettings:
    """Ask for the settings where files may be read; a resource of the user's is asked here, as it may give a future."""
    asked: Any = settings
    while asked.last_overriding is not None:
        asked = asked.last_overriding
    is_resource = isinstance(cast("object", asked), providers.Resource) and asked.provides is not load_settings
    found = await _resolve(asked() if is_resource else await asyncio.to_thread(asked))
    require_kind("CacheContainer", "settings", found, CacheSettings)
    return found  # type: ignore[no-any-return]  # a provider gives anything


class _Parts(containers.DynamicContainer):
    """What a `CacheContainer` is once it is made."""

    def __repr__(self) -> str:
        made_from = getattr(self, "declarative_parent", None)
        name = "CacheContainer" if made_from is None else made_from.__name__
        parts: Mapping[str, Any] = self.providers
        replaced = [each for each, provider in parts.items() if getattr(provider, "overridden", ())]
        started = [each for each, provider in parts.items() if getattr(provider, "initialized", False)]
        told = f"given: {', '.join(replaced) or 'nothing'}; started: {', '.join(started) or 'nothing'}"
        return f"<{name} {told}>"

    def override_providers(self, **overriding_providers: Any) -> containers.ProvidersOverridingContext[Any]:
        """Override providers.

        Raises:
            TypeError: there is no provider of that name.
        """
        refuse_unknown("CacheContainer", overriding_providers, self.providers)
        return super().override_providers(**overriding_providers)


class CacheContainer(containers.DeclarativeContainer):
    """The parts of one cache. Every provider can be given as a keyword argument, or overridden.

    ``CacheContainer(prefix="WEATHER_CACHE_")`` is a cache with variables of its own;
    ``CacheContainer(settings=CacheSettings(backend="memory"))`` has settings from code;
    ``CacheContainer(session_options={"headers": {…}})`` hands arguments on to `CachedSession`. What needs a running
    event loop, such as a connector, goes in as a provider: ``session_options=providers.Factory(dict, connector=…)``.

    ``session`` is shared by the whole process: never inject it with ``Closing``. Nothing is built before
    `open_container` or ``init_resources()`` asks for it.
    """

    instance_type = _Parts
    __signature__: inspect.Signature = PartsByName("providers.Provider")

    if TYPE_CHECKING:  # at run time the container is made of whatever providers its class has

        def __init__(self, **parts: Unpack[ContainerOptions]) -> None:
            """Make a container; nothing is read or built yet.

            Args:
                parts: what takes the place of a part, each with a docstring of its own.

            Raises:
                TypeError: there is no provider of that name.
            """

    prefix: providers.Provider[str] = providers.Object(DEFAULT_PREFIX)
    env_file: providers.Provider[str | None] = providers.Object(DEFAULT_ENV_FILE)
    session_options: providers.Provider[Mapping[str, Any]] = providers.Object(MappingProxyType[str, Any]({}))
    # A resource, so that each start reads the environment anew; synchronous, so that it can be asked for anywhere.
    settings: providers.Provider[CacheSettings] = providers.Resource(load_settings, prefix, env_file)
    # Both are given the provider, not the settings, so that they can ask it in a thread.
    backend: providers.Provider[CacheBackend] = providers.Resource(backend_resource, settings.provider)
    session: providers.Provider[CachedSession] = providers.Resource(
        session_resource, backend, settings.provider, session_options
    )


def open_container(container: AnyContainer | None = None) -> AbstractAsyncContextManager[CachedSession]:
    """Open *container*, yield its session, and close in reverse order whatever was started here.

    The session is the object itself, not a future, and stays the same while the container is open. Only what the
    session needs is started (with an override, that may be nothing), then the container's other resources. What was
    running before stays running. When a start fails or is cancelled, what had started is closed in reverse order.
    A container that is opened again while it is open is shared, and closed with the last who opened it; in another
    event loop it has another session.

    Args:
        container: None for a new `CacheContainer`, which reads the variables that begin with ``AIOHTTP_CACHE_``.

    Raises:
        ConfigurationError: a setting cannot be used, or the container has no provider ``session``, or the setting
            ``require_store`` is true and the store cannot be opened, read and written.
        MissingDependencyError: the back-end's driver is not installed.
    """
    return _Opening(CacheContainer if container is None else container)


class _Opening(AbstractAsyncContextManager[CachedSession]):
    """What `open_container` returns."""

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
    """A container that is open in one loop: started with the first who opens it there, closed with the last."""

    def __init__(self, given: Any, container: Any) -> None:
        self._given = given
        self._loop = asyncio.get_running_loop()
        self._started = AsyncExitStack()
        self.container = container
        self.lock = asyncio.Lock()  # held while anything starts or stops
        self.users = 0

    async def start(self) -> CachedSession:
        """Start what is not running; when that fails or is cancelled, what had started now is closed."""
        async with AsyncExitStack() as stack:
            for resource in _in_order(self.container):
                if not resource.initialized:
                    # Before the start, not after: a start that is cancelled midway is undone as well.
                    stack.push_async_callback(_stop, resource)
                    resource.reset_async_mode()
                await _start(resource)
            session: CachedSession = await _resolve(self.container.session())
            self._started.push_async_exit(stack.pop_all())
        return session

    async def leave(self) -> None:
        """Close what was started, unless others still use it or have come meanwhile."""
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
_shares_lock = threading.Lock()  # loops are in threads of their own


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
    """Make another container like *container*, whose resources belong to another loop."""
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
    return ConfigurationError(f"two caches of one app are kept under {key!r}; give each a key of its own: key=…")


def container_of(container: AnyContainer | None) -> Any:
    """The container that is meant, a new one for a class or None; an adapter keeps it while its app is up."""
    container = CacheContainer if container is None else container
    if isinstance(container, providers.Container):
        found: Any = container()
    else:
        found = container() if isinstance(container, type) else container
    if "session" not in getattr(found, "providers", {}):
        raise ConfigurationError(
            f"{container!r} has no provider 'session'; give a CacheContainer, or the one embedded in yours: app.cache"
        )
    return found


def _in_order(container: Any) -> Iterator[Any]:
    """The resources to start, each after those that it depends on, the session's before all others."""
    # With the session overridden, these two have no use but what the override itself makes of them.
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
    if provider.last_overriding is not None:  # asked instead, so what the overridden one depends on is not needed
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
    await _resolve(resource.shutdown())


async def _resolve(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value
