"""Build the back-end and the client session that settings describe; no container, no event loop needed to import."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from aiohttp import ClientTimeout, DummyCookieJar, TCPConnector

from aiohttp_cache_di import keys
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.backends.options import BACKEND_OPTIONS
from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.session import CachedSession
from aiohttp_cache_di.settings.model import CacheSettings

__all__ = ["build_backend", "build_session"]


def build_backend(settings: CacheSettings) -> CacheBackend:
    """Build the back-end that *settings* name; nothing is opened before its first use.

    Raises:
        ConfigurationError: the class cannot be found, is no back-end, or does not take an option.
        MissingDependencyError: its driver is not installed.
    """
    backend_class = _backend_class(settings)
    options = {**_common_options(settings), **_own_options(settings), **settings.backend_options}
    try:
        return backend_class(**options)
    except (TypeError, ConfigurationError) as exc:
        raise ConfigurationError(f"{settings.prefix}BACKEND={settings.backend!r} cannot be built: {exc}") from exc


def build_session(
    backend: CacheBackend, settings: CacheSettings, options: Mapping[str, Any] | None = None
) -> CachedSession:
    """Build the client session on *backend*; call it inside the running event loop.

    Args:
        backend: stays its owner's: closing the session does not close it, unless the back-end says ``autoclose``.
        settings: its section ``client`` is what counts here.
        options: keyword arguments of ``CachedSession`` that go before the settings.
    """
    client, given = settings.client, dict(options or {})
    if "cookie_jar" not in given and not client.cookies:
        # The session serves all users of a process: what one of them is given must not be sent for another.
        given["cookie_jar"] = DummyCookieJar()
    if "connector" not in given:
        given["connector"] = TCPConnector(limit=client.connections, limit_per_host=client.connections_per_host)
    given.setdefault("timeout", ClientTimeout(total=client.timeout, sock_connect=client.connect_timeout))
    given.setdefault("trust_env", client.trust_env)
    return CachedSession(cache=backend, **given)


def _common_options(settings: CacheSettings) -> dict[str, Any]:
    """Options whose names and meanings are the same in the settings and in every back-end."""
    options: dict[str, Any] = {
        name: getattr(settings, name) for name in sorted(BACKEND_OPTIONS & type(settings).model_fields.keys())
    }
    options["cache_name"] = settings.name
    options["urls_expire_after"] = settings.urls_expire_after or None
    options["credential_headers"] = keys.DEFAULT_CREDENTIAL_HEADERS | settings.credential_headers
    options["secret_key"] = [key.get_secret_value() for key in settings.secret_key] or None
    if settings.allowed_codes is None:
        del options["allowed_codes"]  # the mode's own default
    if settings.max_bytes == "auto":
        del options["max_bytes"]  # the back-end's own
    return options


def _own_options(settings: CacheSettings) -> dict[str, Any]:
    """Options of the one back-end that is asked for."""
    if settings.backend == "sqlite":
        sqlite = settings.sqlite
        return {"cache_name": str(settings.sqlite_path), "timeout": sqlite.timeout, "fast_save": sqlite.fast_save}
    if settings.backend == "redis":
        redis = settings.redis
        own: dict[str, Any] = {"address": redis.url.get_secret_value(), "near_tier_s": redis.near_tier}
        if redis.username is not None:
            own["username"] = redis.username
        if redis.password is not None:
            own["password"] = redis.password.get_secret_value()
        return own
    return {}


def _backend_class(settings: CacheSettings) -> Callable[..., CacheBackend]:
    if settings.backend == "memory":
        return CacheBackend
    if settings.backend == "sqlite":
        from aiohttp_cache_di.backends.sqlite.backend import SQLiteBackend

        return SQLiteBackend
    if settings.backend == "redis":
        # Inside the function: the driver is an extra, and importing this module must do without.
        from aiohttp_cache_di.backends.redis.backend import RedisBackend

        return RedisBackend
    return _load_class(settings)


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
