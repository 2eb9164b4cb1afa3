"""The accepted values of options; invalid ones are refused where they are given. `typed` declares the options."""

from __future__ import annotations

import functools
import inspect
import math
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from operator import index
from typing import Any, Final, SupportsFloat, SupportsIndex, TypeAlias, TypedDict, cast

from msgspec import Struct

from aiohttp_cache_di.arguments import is_switch
from aiohttp_cache_di.backends.options.typed import BackendOptions, CacheOptions, SigningOptions, StorageOptions
from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.keys import CredentialNames
from aiohttp_cache_di.rfc9111.fields import is_token

__all__ = [
    "BACKEND_OPTIONS",
    "DEFAULT_NEAR_TIER_BYTES",
    "MAX_IN_MEMORY_BYTES",
    "NEAR_OPTIONS",
    "STORAGE_OPTIONS",
    "BackendOptions",
    "NearArguments",
    "StorageOptions",
    "collected",
    "near_arguments",
    "of_backend",
    "of_driver",
    "of_storage",
    "refuse_unusable",
]


MAX_IN_MEMORY_BYTES: Final = 64 * 1024 * 1024
"""Most bytes of all bodies being copied in one process: eight of the default ``max_body_bytes``."""


STORAGE_OPTIONS = frozenset(StorageOptions.__annotations__) | frozenset(SigningOptions.__annotations__)
BACKEND_OPTIONS = frozenset(CacheOptions.__annotations__) | {"cache_name", "autoclose"}
NEAR_OPTIONS: Final = frozenset({"near_tier_s", "near_tier_bytes"})
"""The options of the near tier: copies in memory, in front of a store on a server."""

DEFAULT_NEAR_TIER_BYTES: Final = 32 * 1024 * 1024

_NAMES: Final = frozenset(
    {"allowed_methods", "credential_headers", "ignored_params", "post_as_query", "shared_credentials"}
)
_OF_SERVERS: Final = frozenset({"redis", "rediss", "valkey", "valkeys", "unix", "mongodb"})
_NAME_ACCEPTED: Final = (
    "a name that is not blank; the address of a server is given as address= for Redis, and as host= for MongoDB"
)

Check: TypeAlias = Callable[[Any], bool]


class _Rule(Struct, frozen=True):
    check: Check
    accepted: str


def of_backend(options: Mapping[str, object]) -> dict[str, Any]:
    """Those of *options* that every backend has."""
    return {name: options[name] for name in options.keys() & BACKEND_OPTIONS}


def of_storage(options: Mapping[str, object]) -> dict[str, Any]:
    """Those of the *options* of a backend that its storages have, too, with those of the store and its driver."""
    return {name: options[name] for name in options.keys() - (BACKEND_OPTIONS - STORAGE_OPTIONS)}


def of_driver(options: Mapping[str, object], own: Collection[str]) -> dict[str, Any]:
    """Those of *options* that are meant for a store's driver.

    Args:
        own: names of the store's own options.
    """
    return {name: options[name] for name in options.keys() - BACKEND_OPTIONS - set(own)}


class NearArguments(TypedDict):
    """The arguments of a `StoreStack` for the near tier."""

    near_bytes: int
    near_lifetime_s: float


def near_arguments(options: Mapping[str, Any]) -> NearArguments:
    """The arguments of a stack for *options*; without ``near_tier_s`` there is no near tier.

    Raises:
        ConfigurationError: the seconds or bytes are not above 0.
    """
    refuse_unusable({name: options[name] for name in options.keys() & NEAR_OPTIONS})
    seconds, most = options.get("near_tier_s"), options.get("near_tier_bytes", DEFAULT_NEAR_TIER_BYTES)
    if seconds is None:
        return NearArguments(near_bytes=0, near_lifetime_s=0.0)
    return NearArguments(near_bytes=_number(most), near_lifetime_s=_number(seconds))


def collected(options: Mapping[str, Any]) -> dict[str, Any]:
    """The *options*, with a tuple in place of each iterator of names or patterns, which can be read only once."""
    return {name: _read_once(value) if name in _NAMES else value for name, value in options.items()}


def refuse_unusable(options: Mapping[str, Any]) -> None:
    """Raise ConfigurationError for the first invalid value of *options*; the message says what is accepted."""
    for name, value in options.items():
        rule = _RULES.get(name)
        if rule is not None and not rule.check(value):
            raise ConfigurationError(f"{name}={_for_message(value)}: use {rule.accepted}")


def _for_message(value: object) -> str:
    """*value* for a message; of a URL only the scheme, since it may contain a password."""
    scheme, is_address, _ = value.partition("://") if isinstance(value, str) else ("", "", "")
    return f"'{scheme}://…'" if is_address else repr(value)


def _read_once(value: Any) -> object:
    if isinstance(value, Iterable) and not isinstance(value, Collection):
        return tuple(cast("Iterable[object]", value))
    return cast("object", value)


def _are_codes(value: Any) -> bool:
    return isinstance(value, Collection) and all(
        isinstance(code, SupportsIndex) and not isinstance(code, bool) for code in cast("Collection[object]", value)
    )


def _are_names(value: Any) -> bool:
    # A string is iterable too, but a string of one name is a mistake. An iterator can be read only once.
    if not isinstance(value, Collection):
        return isinstance(value, Iterable)
    names = cast("Collection[object]", value)
    return not isinstance(value, str | bytes) and all(isinstance(name, str) for name in names)


def _are_tokens(value: Any) -> bool:
    # A method or a header field of another name is never sent.
    return _are_names(value) and (not isinstance(value, Collection) or all(map(is_token, cast("Any", value))))


def _are_credential_names(value: Any) -> bool:
    return isinstance(value, CredentialNames) or _are_tokens(value)


def _are_patterns(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str | bytes)


def _number(value: object) -> Any:
    """*value*, which may be of any class of numbers, as an int or float; NaN if it is none, or text or a bool."""
    if isinstance(value, bool):
        return math.nan
    try:
        if isinstance(value, SupportsIndex):
            return index(value)
        return float(value) if isinstance(value, SupportsFloat) else math.nan
    except (TypeError, ValueError, OverflowError):  # such as an array of two numbers
        return math.nan


def _is_above_0(value: object) -> bool:
    return bool(_number(value) > 0)


def _at_least(low: float, high: float = math.inf) -> Check:
    return lambda value: isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def _one_of(*words: str) -> Check:
    return lambda value: value in words


def _is_principal(value: Any) -> bool:
    # A coroutine function would give a coroutine instead of a name, and every request would bypass the cache.
    while isinstance(value, functools.partial):
        value = value.func
    if callable(value):
        return not any(map(inspect.iscoroutinefunction, (value, type(value).__call__)))
    return value is None or (isinstance(value, str) and value != "")


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping)


def _or_none(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_cache_name(value: Any) -> bool:
    if not isinstance(value, str):
        return isinstance(value, os.PathLike)
    if "\0" in value:
        return False
    scheme, is_address, _ = value.partition("://")
    return value.strip() != "" and not (is_address and scheme.partition("+")[0].lower() in _OF_SERVERS)


def _is_serializer(value: Any) -> bool:
    return callable(getattr(value, "dumps", None)) and callable(getattr(value, "loads", None))


_COUNT = _Rule(_at_least(0), "a number from 0")
_BOUND = _Rule(_or_none(_at_least(0)), "a number from 0, or None for no bound")
_SECONDS = _Rule(_at_least(0), "a number of seconds")
_SWITCH = _Rule(is_switch, "True or False")

_RULES: Mapping[str, _Rule] = {
    "cache_name": _Rule(_is_cache_name, _NAME_ACCEPTED),
    "urls_expire_after": _Rule(_or_none(_is_mapping), "a mapping of URL patterns to lifetimes, or None"),
    "allowed_codes": _Rule(_are_codes, "a collection of status codes, which are whole numbers, such as (200, 404)"),
    "allowed_methods": _Rule(_are_tokens, "a collection of methods, such as ('GET', 'HEAD')"),
    "ignored_params": _Rule(_or_none(_are_names), "a collection of names, or None"),
    "filter_fn": _Rule(callable, "a function or coroutine function of a response"),
    "tag_fn": _Rule(_or_none(callable), "a function or coroutine function of a response, or None"),
    "post_as_query": _Rule(_are_patterns, "a collection of URL patterns"),
    "match_order": _Rule(_or_none(_is_flag), "True, False, or None for the default of the mode"),
    "credential_headers": _Rule(_are_credential_names, "a collection of names of header fields"),
    "principal": _Rule(
        _is_principal, "a name of at least one character, a function of a request (not a coroutine), or None"
    ),
    "principals": _Rule(_or_none(_is_mapping), "a mapping of URL patterns to names, or None"),
    "shared_credentials": _Rule(_are_patterns, "a collection of URL patterns"),
    "partition_cookies": _Rule(_one_of("effective", "explicit"), "'effective' or 'explicit'"),
    "partition_tls": _Rule(_one_of("authorities", "context"), "'authorities' or 'context'"),
    "heuristic_fraction": _Rule(_at_least(0, 1), "a number from 0 to 1"),
    "max_variants": _COUNT,
    "max_body_bytes": _BOUND,
    "max_entries": _BOUND,
    "max_bytes": _BOUND,
    "coalesce_timeout": _SECONDS,
    "lease": _SECONDS,
    "storage_deadline": _SECONDS,
    "near_tier_s": _Rule(_or_none(_is_above_0), "a number of seconds above 0, or None for no copies in memory"),
    "near_tier_bytes": _Rule(_is_above_0, "a number of bytes above 0"),
    "timeout": _Rule(lambda value: _number(value) >= 0, "a number of seconds"),
    "salt": _Rule(lambda value: isinstance(value, str | bytes), "text or bytes"),
    "serializer": _Rule(_or_none(_is_serializer), "an object with dumps and loads, or None"),
    **dict.fromkeys(
        ("autoclose", "cache_control", "coalesce", "fast_lane", "heuristic_with_query", "include_headers", "shared"),
        _SWITCH,
    ),
    **dict.fromkeys(("store_cookies", "write_behind", "refresh", "only_if_cached"), _SWITCH),
    **dict.fromkeys(
        ("consistent_reads", "create_if_not_exists", "fast_save", "fsync", "near_tier", "use_temp"), _SWITCH
    ),
}
