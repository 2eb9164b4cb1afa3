"""Compares options that a session is given beside a backend with the settings of that backend.

Equal values can have several forms: ``"1m"``, 60 and ``timedelta(minutes=1)``, or a list and a set. So the values are
converted to a normal form before they are compared. The backend's value is its current one, whether it was given, is a
default, or was changed later.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from reprlib import Repr
from typing import Any, Final, TypeAlias

from aiohttp_cache_di.backends.configured import SETTINGS, Configured
from aiohttp_cache_di.backends.options.values import refuse_unusable
from aiohttp_cache_di.backends.storage import BaseCache
from aiohttp_cache_di.keys import credential_names
from aiohttp_cache_di.policy.rules.book import DEFAULT_CODES
from aiohttp_cache_di.policy.rules.expiration import (
    UNSET,
    ExpirationTime,
    UrlExpiration,
    UrlRules,
    fixed_s,
    lifetime_s,
    moment_of,
    posix_time,
)
from aiohttp_cache_di.policy.rules.windows import Window, window_s
from aiohttp_cache_di.units import means_none

__all__ = ["differences", "no_backend", "refuse_other"]

NormalForm: TypeAlias = Callable[[Any, Configured], object]

_SECRET_OPTIONS: Final = frozenset({"secret_key", "salt", "serializer", "principal", "principals"})
_BACKENDS: Final = {
    "DynamoDbCache": "DynamoDBBackend",
    "FileCache": "FileBackend",
    "MongoDBCache": "MongoDBBackend",
    "RedisCache": "RedisBackend",
    "SQLiteCache": "SQLiteBackend",
}
_UNKNOWN: Final = object()


class _ShortRepr(Repr):
    """A short repr that keeps the order of mappings, since their order may be the difference."""

    def repr_dict(self, x: dict[Any, Any], level: int) -> str:
        shown = [f"{self.repr1(key, level - 1)}: {self.repr1(value, level - 1)}" for key, value in x.items()]
        return f"{{{', '.join(shown[: self.maxdict] + ['...'] * (len(shown) > self.maxdict))}}}"


_SHORT: Final = _ShortRepr()
_SHORT.maxstring = _SHORT.maxother = 80


def no_backend(given: object) -> str:
    """An error message's end for *given* in place of a backend; early documents of the API confuse the two."""
    if isinstance(given, type):
        return f"not the class {given.__name__}: call it"
    if isinstance(given, str) and "://" in given:  # not shown: it may contain a password
        return "not an address: use one such as RedisBackend(address='redis://…')"
    if not isinstance(given, BaseCache):
        return f"not {given!r}: use one such as SQLiteBackend('cache.sqlite')"
    instead = _BACKENDS.get(type(given).__name__, "a CacheBackend with it as `responses`")
    return f"and {given!r} is a storage: use {instead}"


def refuse_other(owner: str, backend: Configured, given: Mapping[str, object]) -> None:
    """Raise TypeError if an option in *given* differs from the setting of *backend*, which is passed as ``cache=``.

    Raises:
        ConfigurationError: an option has an invalid value.
    """
    refuse_unusable(given)
    found = differences(backend, given)
    if found:
        way_out = "the backend's options hold: give it there, or leave it out here"
        raise TypeError(f"{owner}: {'; '.join(found)}. With a cache=, {way_out}")


def differences(backend: Configured, given: Mapping[str, object]) -> list[str]:
    """One message for each option in *given* that differs from the setting of *backend*; secrets are not shown.

    Raises:
        ConfigurationError: an option has an invalid value.
    """
    return [
        _difference(backend, name, value) for name, value in sorted(given.items()) if not _agrees(backend, name, value)
    ]


def _agrees(backend: Configured, name: str, value: object) -> bool:
    held = backend.value_of(name, _UNKNOWN)
    if held is _UNKNOWN:
        return False
    form = _FORMS.get(name, _kept(name))
    try:
        return bool(form(value, backend) == form(held, backend))
    except (TypeError, AttributeError):  # values that cannot be compared
        return value is held


def _difference(backend: Configured, name: str, value: object) -> str:
    if name in _SECRET_OPTIONS:
        return f"{name}= is not what the backend has"
    held = backend.value_of(name, _UNKNOWN)
    has = "its default" if held is _UNKNOWN else _SHORT.repr(held)
    if held is UNSET and backend.cache_control:
        has = "none is given: with cache_control, that adds no lifetime"
    return f"{name}={_SHORT.repr(value)} is not what the backend has ({has})"


def _kept(option: str) -> NormalForm:
    """The form in which a backend keeps the values of *option*."""
    return lambda value, _: SETTINGS[option].kept(value) if option in SETTINGS else value


def _lifetime(value: ExpirationTime, backend: Configured) -> object:
    if value is UNSET or value is None or (isinstance(value, str) and means_none(value)):
        return None if backend.cache_control else math.inf  # without cache_control, no lifetime means for ever
    if isinstance(value, datetime) or (isinstance(value, str) and fixed_s(value) is None):
        return "until", posix_time(moment_of(value))
    return lifetime_s(value, now=0.0)


def _window_of_pattern(value: Window) -> object:
    return "the backend's" if value is None else window_s(value)


def _rule(rule: UrlExpiration, backend: Configured) -> object:
    lifetime = "the backend's" if rule.says_more and rule.value is None else _lifetime(rule.value, backend)
    windows = _window_of_pattern(rule.stale_if_error), _window_of_pattern(rule.stale_while_revalidate)
    return lifetime, rule.override_origin, windows, rule.allowed_methods, frozenset(rule.tags)


def _rules(value: Any, backend: Configured) -> object:
    # A list, since the first match decides.
    return [(pattern, _rule(rule, backend)) for pattern, rule in UrlRules(value or {}).by_pattern.items()]


def _names(value: Iterable[str] | None, backend: Configured) -> object:
    return frozenset(value or ())


def _codes(value: Iterable[int], backend: Configured) -> object:
    return None if value is DEFAULT_CODES and backend.cache_control else frozenset(value)


def _credential_names(value: Any, backend: Configured) -> object:
    return credential_names(value, backend.ignored_params)


def _named(value: Mapping[str, str] | None, backend: Configured) -> object:
    return list((value or {}).items())


def _secrets(value: Any, backend: Configured) -> object:
    if value is None:
        return ()
    return tuple(map(_as_bytes, [value] if isinstance(value, str | bytes) else value))


def _salt(value: Any, backend: Configured) -> object:
    return _as_bytes(value)


def _as_bytes(value: str | bytes) -> bytes:
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else bytes(value)


_FORMS: Final[Mapping[str, NormalForm]] = {
    "expire_after": _lifetime,
    "urls_expire_after": _rules,
    "allowed_codes": _codes,
    "post_as_query": _names,
    "shared_credentials": _names,
    "credential_headers": _credential_names,
    "principals": _named,
    "secret_key": _secrets,
    "salt": _salt,
}
