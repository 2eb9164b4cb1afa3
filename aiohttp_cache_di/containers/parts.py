"""`CacheContainer`, and the functions that make and close its parts."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

import dependency_injector
from dependency_injector import containers, providers

from aiohttp_cache_di.arguments import refuse_unknown
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.session import CachedSession
from aiohttp_cache_di.settings.build import build_session, check_store, plan_backend
from aiohttp_cache_di.settings.model import DEFAULT_PREFIX, CacheSettings
from aiohttp_cache_di.settings.sources import DEFAULT_ENV_FILE
from aiohttp_cache_di.signatures import ProvidersSignature

if TYPE_CHECKING:
    from typing import TypedDict, Unpack

    from aiohttp_cache_di.engine.sessions.typed import SessionOptions

    class ContainerOptions(TypedDict, total=False):
        """The arguments of `CacheContainer`: each is a value, or a provider of dependency-injector that returns it."""

        prefix: str | providers.Provider[str]
        """The prefix of the variables. Default: "AIOHTTP_CACHE_"."""
        env_file: str | providers.Provider[str | None] | None
        """Path of a file of variables that the environment does not set; None for none. Default: ".env", if there."""
        session_options: SessionOptions | providers.Provider[Any]
        """Arguments of `CachedSession`, which take precedence over the settings. Default: {}."""
        settings: CacheSettings | providers.Provider[Any]
        """The settings, instead of those from variables. Default: the `CacheSettings` of the prefix."""
        backend: CacheBackend | providers.Provider[Any]
        """The backend, instead of the one that the settings describe; its maker closes it. Default: that one."""
        session: CachedSession | providers.Provider[Any]
        """The session, instead of a new one on the backend; its maker closes it. Default: that one."""


__all__ = ["NEEDED", "CacheContainer", "load_settings", "require", "resolve"]

NEEDED: Mapping[type, tuple[str, ...]] = {
    containers.DeclarativeContainer: ("providers",),
    providers.Provider: ("last_overriding", "related"),
    providers.Resource: ("init", "initialized", "provides", "reset_async_mode", "shutdown"),
}
"""The undocumented attributes of dependency-injector that are used, by class."""


def require(needed: Mapping[type, tuple[str, ...]]) -> None:
    """Raise ImportError if the installed dependency-injector lacks one of the attributes *needed*."""
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
    """Call `CacheSettings.load`, looked up at each call so that tests can replace it."""
    return CacheSettings.load(prefix, env_file)


class _Closing(AbstractAsyncContextManager[Closable]):
    """Makes an object in the running event loop, and closes it at the end.

    Neither this nor `_Opening` is an asynchronous generator: if the start of an aiohttp.web app fails, the event loop
    closes all such generators concurrently. Only the app's context may be one, whose end closes the rest in order.
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
    """Build the backend, and close it at the end."""

    async def make() -> CacheBackend:
        plan = await asyncio.to_thread(plan_backend, await _in_thread(settings))
        # In a thread, as drivers read files (redis-py its metadata); a user's class may need the event loop.
        return await asyncio.to_thread(plan.build) if plan.is_built_in else plan.build()

    return _Closing(make)


def session_resource(
    backend: CacheBackend, settings: SettingsProvider, options: Mapping[str, Any]
) -> AbstractAsyncContextManager[CachedSession]:
    """Build the session in the running event loop, and close it at the end."""

    async def make() -> CachedSession:
        found = await _in_thread(settings)
        _expect_kind("backend", backend, CacheBackend)
        if not isinstance(options, Mapping):
            raise ConfigurationError(f"session_options of a CacheContainer are a mapping, not {type(options).__name__}")
        await check_store(backend, found)
        return build_session(backend, found, options)

    return _Closing(make)


async def resolve(value: Any) -> Any:
    """*value*, which a provider returned; awaited if it is a future."""
    return await value if inspect.isawaitable(value) else value


async def _in_thread(settings: SettingsProvider) -> CacheSettings:
    """Call the settings provider in a thread, as it may read files; not a user's resource, which may need the loop."""
    asked: Any = settings
    while asked.last_overriding is not None:
        asked = asked.last_overriding
    is_resource = isinstance(cast("object", asked), providers.Resource) and asked.provides is not load_settings
    found = await resolve(asked() if is_resource else await asyncio.to_thread(asked))
    _expect_kind("settings", found, CacheSettings)
    return found  # type: ignore[no-any-return]  # a provider gives anything


def _expect_kind(name: str, given: object, kind: type) -> None:
    """Raise ConfigurationError unless *given*, the part *name* of a container, is a *kind*."""
    if not isinstance(given, kind):  # its repr is not shown: it may contain a secret
        what = f"the class {given.__name__}" if isinstance(given, type) else f"of the type {type(given).__name__}"
        raise ConfigurationError(
            f"{name} of a CacheContainer is {what}; give a {kind.__name__}, or a provider that makes one"
        )


class _Parts(containers.DynamicContainer):
    """An instance of `CacheContainer`."""

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
    ``CacheContainer(session_options={"headers": {…}})`` passes arguments on to `CachedSession`. An argument that needs
    a running event loop, such as a connector, is given by a provider:
    ``session_options=providers.Factory(dict, connector=…)``.

    ``session`` is shared by the whole process: never inject it with ``Closing``. Nothing is built before
    `open_container` or ``init_resources()``.
    """

    instance_type = _Parts
    __signature__: inspect.Signature = ProvidersSignature("providers.Provider")

    if TYPE_CHECKING:  # at run time dependency-injector makes the container from the providers of its class

        def __init__(self, **parts: Unpack[ContainerOptions]) -> None:
            """Make a container; nothing is read or built yet.

            Args:
                parts: replacements for the parts, each with a docstring of its own.

            Raises:
                TypeError: there is no provider of that name.
            """

    prefix: providers.Provider[str] = providers.Object(DEFAULT_PREFIX)
    env_file: providers.Provider[str | None] = providers.Object(DEFAULT_ENV_FILE)
    session_options: providers.Provider[Mapping[str, Any]] = providers.Object(MappingProxyType[str, Any]({}))
    # A resource, so that each start reads the environment again; synchronous, so that it can be called anywhere.
    settings: providers.Provider[CacheSettings] = providers.Resource(load_settings, prefix, env_file)
    # Both get the provider instead of the settings, so that they can call it in a thread.
    backend: providers.Provider[CacheBackend] = providers.Resource(backend_resource, settings.provider)
    session: providers.Provider[CachedSession] = providers.Resource(
        session_resource, backend, settings.provider, session_options
    )
