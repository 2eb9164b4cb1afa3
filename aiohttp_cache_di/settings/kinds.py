"""The kinds of values that a setting can have: how each is read from a variable, shown, and explained."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias, cast
from urllib.parse import urlsplit, urlunsplit

from pydantic import BeforeValidator, SecretStr

from aiohttp_cache_di.settings.units import format_duration, format_size, parse_duration, parse_size

__all__ = [
    "MASK",
    "BackendName",
    "Codes",
    "Duration",
    "Flag",
    "FreeText",
    "HeaderNames",
    "JsonObject",
    "Kind",
    "Lifetime",
    "Methods",
    "Names",
    "OptionalCount",
    "OptionalDuration",
    "OptionalPath",
    "OptionalSecret",
    "RedisUrl",
    "Secrets",
    "Size",
    "SizeLimit",
    "StaleWindow",
    "UrlLifetimes",
]

MASK: Final = "***"
BUILT_IN_BACKENDS: Final = ("memory", "sqlite", "redis")
_CLASS_PATH: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)  # RFC 9110 §5.6.2
_NONE_WORDS: Final = frozenset({"none", "null", "off"})


def _show(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


@dataclass(frozen=True, slots=True)
class Kind:
    """What a setting accepts, in words for a person, and how its value is shown.

    Args:
        accepts: completes "it accepts …".
        show: turns a value into text that the variable would accept; never shows a secret.
        mask: turns refused text into what a message may show.
        bounded: *accepts* tells the bounds already.
    """

    accepts: str
    show: Callable[[Any], str] = _show
    mask: Callable[[str], str] = str
    bounded: bool = False


def _is_none(value: object) -> bool:
    return value is None or (isinstance(value, str) and value.strip().lower() in _NONE_WORDS)


def _seconds(value: object) -> object:
    seconds = parse_duration(value) if isinstance(value, str) else value
    if isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and not 0 <= seconds < float("inf"):
        raise ValueError("not a length of time")
    return seconds


def _optional_seconds(value: object) -> object:
    return None if _is_none(value) else _seconds(value)


def _lifetime(value: object) -> object:
    if value == -1 or (isinstance(value, str) and value.strip().lower() in {"never", "-1"}):
        return -1.0
    return _optional_seconds(value)


def _stale_window(value: object) -> object:
    if value is True or (isinstance(value, str) and value.strip().lower() == "always"):
        return True
    return _optional_seconds(value)


def _bytes(value: object) -> object:
    return parse_size(value) if isinstance(value, str) else value


def _size_limit(value: object) -> object:
    if isinstance(value, str) and value.strip().lower() == "auto":
        return "auto"
    return None if _is_none(value) else _bytes(value)


def _optional(value: object) -> object:
    return None if _is_none(value) else value


def _split(value: object) -> object:
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _secrets(value: object) -> object:
    parts = _split(value)
    if isinstance(value, str) and not parts:
        raise ValueError("no secret")  # someone who sets it means to sign
    return parts


def _tokens(value: object) -> object:
    parts = _split(value)
    if isinstance(value, str) and not all(_TOKEN.fullmatch(part) for part in cast(Collection[str], parts)):
        raise ValueError("not tokens")
    return parts


def _methods(value: object) -> object:
    parts = _tokens(value)
    return tuple(part.upper() for part in cast(Collection[str], parts)) if isinstance(value, str) else parts


def _codes(value: object) -> object:
    if _is_none(value):
        return None
    parts = _split(value)
    if isinstance(value, str) and not all(re.fullmatch(r"[1-5]\d\d", part) for part in cast(Collection[str], parts)):
        raise ValueError("not status codes")
    return parts


def _json_object(value: object) -> object:
    if not isinstance(value, str):
        return value
    found = json.loads(value)
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")  # not TypeError: pydantic reports ValueError
    return cast(object, found)


def _url_lifetimes(value: object) -> object:
    found = _json_object(value)
    if not isinstance(found, Mapping):
        return found
    rules = cast(Mapping[object, object], found)
    if not all(rules):
        raise ValueError("a pattern is empty")
    return {pattern: _lifetime(lifetime) for pattern, lifetime in rules.items()}


def _backend_name(value: object) -> object:
    if isinstance(value, str) and (value in BUILT_IN_BACKENDS or _CLASS_PATH.fullmatch(value)):
        return value
    raise ValueError("unknown backend")


def _redis_url(value: object) -> object:
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    parts = urlsplit(text) if isinstance(text, str) else None
    if parts is None or parts.scheme not in {"redis", "rediss", "unix"}:
        raise ValueError("not the URL of a Redis server")
    _ = parts.port  # raises ValueError for one that is no number
    if not (
        parts.path if parts.scheme == "unix" else parts.hostname and re.fullmatch(r"(/\d*)?", parts.path, re.ASCII)
    ):
        raise ValueError("no socket, no host, or no number of a database")
    return text


def mask_url(url: str) -> str:
    """Return *url* without the password in its userinfo or its query."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        user = parts.username
    except ValueError:
        return MASK  # what cannot be taken apart may hold a password anywhere
    if not parts.scheme or "@" in parts.path:
        return MASK
    query = re.sub(r"((?:^|&)[^=&]*password[^=&]*=)[^&]*", rf"\g<1>{MASK}", parts.query, flags=re.IGNORECASE)
    if parts.password is None and query == parts.query:
        return url
    userinfo = f"{user or ''}:{MASK}@" if parts.password else (f"{user}@" if user else "")
    return urlunsplit((parts.scheme, userinfo + host, parts.path, query, ""))


def _show_lifetime(value: float | None) -> str:
    return "never" if value == -1 else _show_seconds(value)


def _show_seconds(value: float | None) -> str:
    return "none" if value is None else format_duration(value)


def _show_window(value: float | bool | None) -> str:
    return "always" if value is True else _show_seconds(value)


def _show_size(value: int | str | None) -> str:
    return format_size(value) if isinstance(value, int) else value or "none"


def _show_list(values: Collection[object] | None) -> str:
    return "none" if values is None else ",".join(str(value) for value in values)


def _show_secrets(values: Collection[SecretStr] | SecretStr | None) -> str:
    return MASK if values else "none"


def _mask_all(text: str) -> str:
    return MASK


def _show_url_lifetimes(value: Mapping[str, float | None]) -> str:
    return json.dumps({pattern: _show_lifetime(lifetime) for pattern, lifetime in value.items()})


_SECONDS: Final = "a number of seconds or a duration such as 250ms, 5m, 1h30m, 2d"
_SIZE: Final = "a number of bytes or a size such as 500kB, 64MiB, 1GiB"

Flag: TypeAlias = Annotated[bool, Kind("true or false (also 1/0, yes/no, on/off)")]
OptionalFlag: TypeAlias = Annotated[
    bool | None, BeforeValidator(_optional), Kind("true or false (also 1/0, yes/no, on/off), or none")
]
FreeText: TypeAlias = Annotated[str, Kind("any text", bounded=True)]
Duration: TypeAlias = Annotated[float, BeforeValidator(_seconds), Kind(_SECONDS, _show_seconds)]
OptionalDuration: TypeAlias = Annotated[
    float | None, BeforeValidator(_optional_seconds), Kind(f"{_SECONDS}, or none", _show_seconds)
]
Lifetime: TypeAlias = Annotated[
    float | None, BeforeValidator(_lifetime), Kind(f"{_SECONDS}; 0 (do not cache), never or none", _show_lifetime)
]
StaleWindow: TypeAlias = Annotated[
    float | Literal[True] | None, BeforeValidator(_stale_window), Kind(f"{_SECONDS}; always or none", _show_window)
]
Size: TypeAlias = Annotated[int, BeforeValidator(_bytes), Kind(_SIZE, _show_size)]
SizeLimit: TypeAlias = Annotated[
    int | Literal["auto"] | None,
    BeforeValidator(_size_limit),
    Kind(f"{_SIZE}; auto (64MiB in memory, 1GiB in a file) or none", _show_size),
]
OptionalCount: TypeAlias = Annotated[
    int | None, BeforeValidator(_optional), Kind("a whole number from 1, or none", bounded=True)
]
OptionalPath: TypeAlias = Annotated[Path | None, BeforeValidator(_optional), Kind("a file path (~ is your home)")]
Names: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_split), Kind("names, separated by commas", _show_list)]
HeaderNames: TypeAlias = Annotated[
    tuple[str, ...], BeforeValidator(_tokens), Kind("names of header fields, separated by commas", _show_list)
]
Methods: TypeAlias = Annotated[
    tuple[str, ...], BeforeValidator(_methods), Kind("HTTP methods, separated by commas", _show_list)
]
Codes: TypeAlias = Annotated[
    tuple[int, ...] | None,
    BeforeValidator(_codes),
    Kind("status codes, separated by commas, or none for the mode's own", _show_list),
]
Secrets: TypeAlias = Annotated[
    tuple[SecretStr, ...],
    BeforeValidator(_secrets),
    Kind("secrets, separated by commas: the first signs, all verify", _show_secrets, _mask_all),
]
OptionalSecret: TypeAlias = Annotated[SecretStr | None, Kind("a secret", _show_secrets, _mask_all)]
RedisUrl: TypeAlias = Annotated[
    SecretStr,
    BeforeValidator(_redis_url),
    Kind(
        "redis://host:6379/0, rediss:// for TLS, or unix:///path",
        lambda url: mask_url(url.get_secret_value()),
        mask_url,
    ),
]
BackendName: TypeAlias = Annotated[
    str, BeforeValidator(_backend_name), Kind(f"{', '.join(BUILT_IN_BACKENDS)} or package.module:Class")
]
JsonObject: TypeAlias = Annotated[
    dict[str, Any],
    BeforeValidator(_json_object),
    # Options of a driver may well hold a password, so neither values nor refused text are shown.
    Kind(
        "a JSON object of keyword arguments", lambda value: f"{{{', '.join(f'{k}: {MASK}' for k in value)}}}", _mask_all
    ),
]
UrlLifetimes: TypeAlias = Annotated[
    dict[str, float | None],
    BeforeValidator(_url_lifetimes),
    Kind('a JSON object of URL patterns and lifetimes, such as {"*.example.com/static/*": "1d"}', _show_url_lifetimes),
]
