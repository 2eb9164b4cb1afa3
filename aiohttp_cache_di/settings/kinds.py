"""The types of the settings: how each is read from a variable, shown, and explained."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BeforeValidator, Field, SecretStr

from aiohttp_cache_di.addresses import MASK, mask_mongodb_address, mask_redis_address
from aiohttp_cache_di.entries.secrets import MIN_SECRET_CHARS
from aiohttp_cache_di.settings import forms
from aiohttp_cache_di.settings.url_rules import (
    UrlRule,
    read_url_names,
    read_url_patterns,
    read_url_rules,
    show_lifetime,
    show_url_names,
    show_url_rules,
)
from aiohttp_cache_di.units import format_duration, format_size, means_none

__all__ = [
    "BackendName",
    "Codes",
    "Duration",
    "Flag",
    "HeaderNames",
    "JsonObject",
    "Kind",
    "Lifetime",
    "Methods",
    "MongoDBUrl",
    "Names",
    "OptionalCount",
    "OptionalDuration",
    "OptionalEndpoint",
    "OptionalFlag",
    "OptionalPath",
    "OptionalSecret",
    "OptionalSize",
    "OptionalText",
    "RedisUrl",
    "Secrets",
    "Size",
    "SizeLimit",
    "StaleWindow",
    "UrlLifetimes",
    "UrlNames",
    "UrlPatterns",
    "Wait",
]

MAX_SHOWN_CHARS: Final = 300
MAX_WAIT_S: Final = 60.0  # for a store; more is rather a number of milliseconds: no cache is worth that wait


def _show(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_SHOWN_CHARS else f"{text[:MAX_SHOWN_CHARS]}…"


def _mask_stray(text: str) -> str:
    """Refused text of a setting that is not secret, without what may be a secret: users in URLs, and JSON objects."""
    if text.lstrip()[:1] == "{":
        return f"{{{MASK}}}"
    text = "".join(map(_without_user, re.split(r"([\s,/])", text)))
    return _shorten(re.sub(r"://.*", f"://{MASK}", text, flags=re.DOTALL))


def _without_user(text: str) -> str:
    user, found, host = text.rpartition("@")
    return f"{MASK}@{host}" if found and ":" in user else text


@dataclass(frozen=True, slots=True)
class Kind:
    """What a setting accepts, and how its value is shown.

    Args:
        accepts: completes the sentence "it accepts …".
        show: turns a value into text that the variable would accept, with secrets masked.
        mask: turns refused text into text that an error message may show.
        bounded: *accepts* states the bounds already.
        secret: the value may be in a file, which the variable ``…_FILE`` names.
        may_be_empty: an empty variable counts as not set; otherwise it is refused.
    """

    accepts: str
    show: Callable[[Any], str] = _show
    mask: Callable[[str], str] = _mask_stray
    bounded: bool = False
    secret: bool = False
    may_be_empty: bool = True


def _show_seconds(value: float | None) -> str:
    return "none" if value is None else format_duration(value)


def _show_window(value: float | bool | None) -> str:
    return "always" if value is True else _show_seconds(value)


def _show_size(value: int | str | None) -> str:
    return format_size(value) if isinstance(value, int) else value or "none"


def _show_list(values: Collection[object] | None) -> str:
    if values is None:
        return "none"
    texts = [str(value) for value in values]
    plain = texts and all(re.fullmatch(r"[\w!#$%&*+.^|~\-\]\[/]+", text) and text[0] != "[" for text in texts)
    plain = plain and not (len(texts) == 1 and means_none(texts[0]))
    return ",".join(texts) if plain else json.dumps(texts, ensure_ascii=False)


def _show_secret(values: Collection[SecretStr] | SecretStr | None) -> str:
    return MASK if values else "none"


def _show_url(value: SecretStr) -> str:
    return mask_redis_address(value.get_secret_value())


def _show_mongodb_url(value: SecretStr) -> str:
    return mask_mongodb_address(value.get_secret_value())


def _show_names_only(value: Collection[str]) -> str:
    # A driver's options may contain a password, so neither values nor refused text are shown.
    return f"{{{', '.join(f'{name if name.isidentifier() else MASK}: {MASK}' for name in value)}}}"


def _mask_all(text: str) -> str:
    return MASK


_SECONDS: Final = "a number of seconds or a duration such as 250ms, 5m, 1h30m, 2d"
_SHORT: Final = "a number of seconds, or a duration such as 250ms or 2s"
_SIZE: Final = "a number of bytes or a size such as 500kB, 64MiB, 1GiB"
_LIST: Final = "separated by commas or as a JSON list, or none"

Flag: TypeAlias = Annotated[bool, Kind("true or false (also 1/0, yes/no, on/off)")]
OptionalFlag: TypeAlias = Annotated[
    bool | None, BeforeValidator(forms.optional), Kind("true or false (also 1/0, yes/no, on/off), or none")
]
OptionalText: TypeAlias = Annotated[
    str | None, BeforeValidator(forms.optional_text), Kind("any text without quotes around it, or none", bounded=True)
]
Duration: TypeAlias = Annotated[float, BeforeValidator(forms.seconds), Kind(_SECONDS, _show_seconds)]
Wait: TypeAlias = Annotated[float, Field(le=MAX_WAIT_S), BeforeValidator(forms.seconds), Kind(_SHORT, _show_seconds)]
OptionalDuration: TypeAlias = Annotated[
    float | None, BeforeValidator(forms.optional_seconds), Kind(f"{_SECONDS}, or none", _show_seconds)
]
Lifetime: TypeAlias = Annotated[
    float | datetime | None,
    BeforeValidator(forms.lifetime),
    Kind(f"{_SECONDS}; a date (ISO 8601 or HTTP), 0 (do not cache), never or none", show_lifetime),
]
StaleWindow: TypeAlias = Annotated[
    float | Literal[True] | None,
    BeforeValidator(forms.stale_window),
    Kind(f"{_SECONDS}; always or none", _show_window),
]
Size: TypeAlias = Annotated[int, BeforeValidator(forms.number_of_bytes), Kind(_SIZE, _show_size)]
OptionalSize: TypeAlias = Annotated[
    int | None, BeforeValidator(forms.optional_number_of_bytes), Kind(f"{_SIZE}, or none", _show_size)
]
SizeLimit: TypeAlias = Annotated[
    int | Literal["auto"] | None,
    BeforeValidator(forms.size_limit),
    Kind(f"{_SIZE}; auto (64MiB in memory, 1GiB in a file) or none", _show_size),
]
OptionalCount: TypeAlias = Annotated[
    int | None, BeforeValidator(forms.optional), Kind("a whole number from 1, or none", bounded=True)
]
OptionalPath: TypeAlias = Annotated[Path | None, BeforeValidator(forms.path), Kind("a path (~ is your home), or none")]
Names: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(forms.names), Kind(f"names, {_LIST}", _show_list)]
HeaderNames: TypeAlias = Annotated[
    tuple[str, ...], BeforeValidator(forms.tokens), Kind(f"names of header fields, {_LIST}", _show_list)
]
Methods: TypeAlias = Annotated[
    tuple[str, ...], BeforeValidator(forms.methods), Kind(f"HTTP methods, {_LIST}", _show_list)
]
Codes: TypeAlias = Annotated[
    tuple[int, ...] | None,
    BeforeValidator(forms.codes),
    Kind(f"status codes, {_LIST} for the mode's own", _show_list),
]
Secrets: TypeAlias = Annotated[
    tuple[SecretStr, ...],
    BeforeValidator(forms.secrets),
    Kind(
        f"secrets of {MIN_SECRET_CHARS} characters or more, separated by commas or as a JSON list: the first signs, "
        "all verify",
        _show_secret,
        _mask_all,
        secret=True,
        may_be_empty=False,
    ),
]
OptionalSecret: TypeAlias = Annotated[
    SecretStr | None,
    BeforeValidator(forms.plain_text),
    Kind("a secret, without quotes", _show_secret, _mask_all, secret=True),
]
RedisUrl: TypeAlias = Annotated[
    SecretStr,
    BeforeValidator(forms.redis_url),
    Kind(
        "redis://host:6379/0, redis+cluster://host,host, redis+sentinel://host,host/name, "
        "each with rediss for TLS, or unix:///path",
        _show_url,
        mask_redis_address,
        secret=True,
    ),
]
OptionalEndpoint: TypeAlias = Annotated[
    str | None,
    BeforeValidator(forms.optional_endpoint),
    Kind("https://host or http://host:port without a user, or none", bounded=True),
]
MongoDBUrl: TypeAlias = Annotated[
    SecretStr,
    BeforeValidator(forms.mongodb_url),
    Kind("mongodb://host:27017 or mongodb+srv://host", _show_mongodb_url, mask_mongodb_address, secret=True),
]
BackendName: TypeAlias = Annotated[
    str,
    BeforeValidator(forms.backend_name),
    Kind(f"{', '.join(forms.BUILT_IN_BACKENDS)} or package.module:Class"),
]
JsonObject: TypeAlias = Annotated[
    dict[str, Any],
    BeforeValidator(forms.json_object),
    Kind("a JSON object of keyword arguments", _show_names_only, _mask_all, secret=True),
]
UrlPatterns: TypeAlias = Annotated[
    tuple[str, ...], BeforeValidator(read_url_patterns), Kind(f"URL patterns, {_LIST}", _show_list)
]
UrlNames: TypeAlias = Annotated[
    dict[str, str],
    BeforeValidator(read_url_names),
    Kind('a JSON object of URL patterns and names, such as {"*.example.com": "tenant-7"}', show_url_names, _mask_all),
]
UrlLifetimes: TypeAlias = Annotated[
    dict[str, UrlRule],
    BeforeValidator(read_url_rules),
    Kind(
        'a JSON object of URL patterns and lifetimes, such as {"*.example.com/static/*": "1d"}; '
        'a rule may be {"expire_after": "5m", "override_origin": true, "stale_if_error": "1h", '
        '"stale_while_revalidate": "30s", "allowed_methods": ["GET"], "tags": ["static"]}',
        show_url_rules,
        _mask_all,  # the error names the pattern
    ),
]
