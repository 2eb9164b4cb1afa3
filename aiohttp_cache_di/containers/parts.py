"""`CacheContainer`: what its parts are, and how each is made and closed."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

import dependency_injector
from dependency_injector import containers, providers

from aiohttp_cache_di.arguments import refuse_unknown, require_kind
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.session import CachedSession
from aiohttp_cache_di.settings.build import build_session, check_store, plan_backend
from aiohttp_cache_di.settings.model import DEFAULT_PREFIX, CacheSettings
from aiohttp_cache_di.settings.sources import DEFAULT_ENV_FILE
from aiohttp_cache_di.signatures import ProvidersSignature

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


__all__ = ["NEEDED", "CacheContainer", "load_settings", "require", "resolve"]

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

Closable = TypeVar("Closable", CacheBackend, CachedSession)

SettingsProvider: TypeAlias = Callable[[], Any]


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


async def resolve(value: Any) -> Any:
    """*value*, which a provider gives; awaited, where it is a future."""
    return await value if inspect.isawaitable(value) else value


async def _in_thread(settings: SettingsProvider) -> CacheSettings:
    """Ask for the settings where files may be read; a resource of the user's is asked here, as it may give a future."""
    asked: Any = settings
    while asked.last_overriding is not None:
        asked = asked.last_overriding
    is_resource = isinstance(cast("object", asked), providers.Resource) and asked.provides is not load_settings
    found = await resolve(asked() if is_resource else await asyncio.to_thread(asked))
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
    __signature__: inspect.Signature = ProvidersSignature("providers.Provider")

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
