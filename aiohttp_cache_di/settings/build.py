"""Build the backend and the session that settings describe."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from aiohttp import ClientTimeout, DummyCookieJar, TCPConnector

from aiohttp_cache_di import backends, keys
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.backends.options.values import BACKEND_OPTIONS
from aiohttp_cache_di.engine.watching import tell_start
from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.session import CachedSession
from aiohttp_cache_di.settings.consistency import passed_over, refuse_contradictions
from aiohttp_cache_di.settings.forms import BUILT_IN_BACKENDS
from aiohttp_cache_di.settings.model import CacheSettings
from aiohttp_cache_di.settings.report import without_secrets
from aiohttp_cache_di.settings.sections import StoreSection

__all__ = ["BackendPlan", "build_backend", "build_session", "check_store", "plan_backend"]

logger: logging.Logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BackendPlan:
    """All that it takes to build a backend: its class is imported and the path of its file is known.

    Attributes:
        stand_in: why responses are kept in memory instead of the configured store; "" if they are not.
    """

    settings: CacheSettings
    backend_class: Callable[..., CacheBackend]
    options: Mapping[str, Any] = field(repr=False)
    stand_in: str = ""

    @property
    def is_built_in(self) -> bool:
        """Whether the backend is one of ours, which can be built without an event loop."""
        return self.settings.backend in BUILT_IN_BACKENDS

    def build(self) -> CacheBackend:
        """Build the backend; nothing is opened before its first use.

        Raises:
            ConfigurationError: the class does not take an option.
            MissingDependencyError: its driver is not installed.
        """
        try:
            backend = self.backend_class(**self.options)
        except (TypeError, ConfigurationError) as exc:
            what = f"{self.settings.prefix}BACKEND={self.settings.backend!r} cannot be built"
            if any(f"unexpected option {name!r}" in str(exc) for name in self.settings.backend_options):
                what += f" with {self.settings.prefix}BACKEND_OPTIONS"
            message = without_secrets(str(exc), self.settings)
            # Tracebacks print the cause, whose message may contain the secret.
            raise ConfigurationError(f"{what}: {message}") from (exc if message == str(exc) else None)
        if self.settings.is_named:
            backend.name = self.settings.name  # not that of its file, table or database
        if self.stand_in:
            backend.stats.stand_in = self.stand_in
        return backend


def plan_backend(settings: CacheSettings) -> BackendPlan:
    """Find the class of the backend that *settings* name, and the path of its file; call it in a thread.

    Raises:
        ConfigurationError: the class cannot be imported or is not a backend, the path is invalid, a setting has no
            effect, or no file can be written and ``require_store`` is true.
    """
    refuse_contradictions(settings)
    if (unused := passed_over(settings)) is not None:
        logger.warning("Cache %s: %s", settings.name, unused)
    options = _common_options(settings)
    place = settings.place
    if place is not None:
        if place.warning is not None:
            logger.warning("Cache %s: %s", settings.name, place.warning)
        if place.is_stand_in:
            if settings.require_store:
                raise _store_missing(settings, f"{place.warning}")
            return BackendPlan(settings, CacheBackend, options, f"{place.warning}")
        options["cache_name"] = str(place.path)
    own = getattr(settings, settings.backend, None)
    if isinstance(own, StoreSection):
        options |= own.arguments()
    return BackendPlan(settings, _backend_class(settings), {**options, **settings.backend_options})


def build_backend(settings: CacheSettings) -> CacheBackend:
    """Build the backend that *settings* name; nothing is opened before its first use.

    Raises:
        ConfigurationError: as `plan_backend`, or the class does not take an option.
        MissingDependencyError: its driver is not installed.
    """
    return plan_backend(settings).build()


def build_session(
    backend: CacheBackend, settings: CacheSettings, options: Mapping[str, Any] | None = None
) -> CachedSession:
    """Build the session on *backend*; call it in the running event loop.

    Args:
        backend: closing the session does not close it, unless its ``autoclose`` is set.
        settings: only the section ``client`` is used.
        options: keyword arguments of ``CachedSession``, which take precedence over the settings.
    """
    client, given = settings.client, dict(options or {})
    if "cookie_jar" not in given and not client.cookies:
        # The session serves all users of a process: a cookie set for one of them must not be sent for another.
        given["cookie_jar"] = DummyCookieJar()
    if "connector" not in given:
        given["connector"] = TCPConnector(limit=client.connections, limit_per_host=client.connections_per_host)
    given.setdefault("timeout", ClientTimeout(total=client.timeout, sock_connect=client.connect_timeout))
    given.setdefault("trust_env", client.trust_env)
    return CachedSession(cache=backend, **given)


async def check_store(backend: CacheBackend, settings: CacheSettings) -> None:
    """Log that the cache starts, and test the store: the log and ``health()`` tell of both before the first request.

    Raises:
        ConfigurationError: the store cannot be used, and ``require_store`` is true.
    """
    tell_start(backend)
    health = await backend.ping()
    if settings.require_store and not health.is_ok:
        raise _store_missing(settings, without_secrets(health.reason, settings))


def _store_missing(settings: CacheSettings, reason: str) -> ConfigurationError:
    return ConfigurationError(f"{settings.prefix}REQUIRE_STORE=true: {reason}")


def _common_options(settings: CacheSettings) -> dict[str, Any]:
    """The options that have the same name and meaning in the settings and in every backend."""
    options: dict[str, Any] = {
        name: getattr(settings, name) for name in sorted(BACKEND_OPTIONS & type(settings).model_fields.keys())
    }
    options["cache_name"] = settings.name
    options["urls_expire_after"] = settings.urls_expire_after or None
    options["principals"] = settings.principals or None
    options["credential_headers"] = keys.DEFAULT_CREDENTIAL_HEADERS | settings.credential_headers
    options["secret_key"] = [key.get_secret_value() for key in settings.secret_key] or None
    if settings.allowed_codes is None:
        del options["allowed_codes"]  # the default depends on cache_control
    if settings.max_bytes == "auto":
        del options["max_bytes"]  # the default depends on the backend
    return options


def _backend_class(settings: CacheSettings) -> Callable[..., CacheBackend]:
    name = BUILT_IN_BACKENDS.get(settings.backend)
    if name is None:
        return _load_class(settings)
    found: type[CacheBackend] = getattr(backends, name)  # imports the driver, which is an extra, only now
    return found


def _load_class(settings: CacheSettings) -> type[CacheBackend]:
    variable = f"{settings.prefix}BACKEND={settings.backend!r}"
    module_name, _, class_name = settings.backend.partition(":")
    try:
        found = getattr(import_module(module_name), class_name)
    except ImportError as exc:
        raise ConfigurationError(f"{variable}: module {module_name} cannot be imported: {exc}") from exc
    except AttributeError as exc:
        raise ConfigurationError(f"{variable}: module {module_name} has no {class_name}") from exc
    if not (isinstance(found, type) and issubclass(found, CacheBackend)):
        raise ConfigurationError(f"{variable}: {class_name} is not a subclass of aiohttp_cache_di.CacheBackend")
    return found
