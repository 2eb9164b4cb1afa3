"""Turn the text of a variable into a value: one function for each kind of value.

Values that are not text come from code; they are returned unchanged, for pydantic to check.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Final, cast

from pydantic import SecretStr

from aiohttp_cache_di.addresses import refuse_odd_endpoint, refuse_odd_mongodb_address, refuse_odd_redis_address
from aiohttp_cache_di.entries.secrets import MIN_SECRET_CHARS
from aiohttp_cache_di.policy.rules.expiration import moment_of
from aiohttp_cache_di.policy.rules.windows import named_window
from aiohttp_cache_di.rfc9111.fields import is_token
from aiohttp_cache_di.settings.notation import (
    FormError,
    is_json,
    is_quoted_list,
    items_of,
    parsed_json,
    refuse_quotes,
    refuse_separators,
    refuse_spaces,
)
from aiohttp_cache_di.units import means_none, parse_duration, parse_size

__all__ = [
    "BUILT_IN_BACKENDS",
    "CLASS_PATH",
    "backend_name",
    "codes",
    "flag",
    "is_none",
    "json_object",
    "lifetime",
    "methods",
    "mongodb_url",
    "names",
    "number_of_bytes",
    "optional",
    "optional_endpoint",
    "optional_number_of_bytes",
    "optional_seconds",
    "optional_text",
    "path",
    "patterns",
    "plain_text",
    "redis_url",
    "seconds",
    "secrets",
    "size_limit",
    "stale_window",
    "tokens",
]

BUILT_IN_BACKENDS: Final = {
    "memory": "CacheBackend",
    "sqlite": "SQLiteBackend",
    "redis": "RedisBackend",
    "filesystem": "FileBackend",
    "dynamodb": "DynamoDBBackend",
    "mongodb": "MongoDBBackend",
}
"""The names of built-in backends, and of their classes."""
CLASS_PATH: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")

MAX_SECONDS: Final = 1e10  # 317 years; timers of the operating system overflow not far beyond

_TRUE_WORDS: Final = frozenset({"true", "yes", "on", "1"})
_FALSE_WORDS: Final = frozenset({"false", "no", "off", "0"})


def is_none(value: object) -> bool:
    """Whether *value* is None or a word for it: ``none``, ``null`` or ``off``."""
    return value is None or (isinstance(value, str) and means_none(value))


def optional(value: object) -> object:
    """None for a word that means None, else *value*."""
    return None if is_none(value) else value


def seconds(value: object) -> object:
    """A duration in seconds: a number, or a number with a unit."""
    if isinstance(value, bool):
        raise ValueError("not a length of time")
    if isinstance(value, timedelta):
        value = value.total_seconds()
    found = parse_duration(value) if isinstance(value, str) else _plain(value)
    if isinstance(found, (int, float)) and not 0 <= found < MAX_SECONDS:
        raise ValueError("not a length of time")
    return found


def _plain(value: object) -> object:
    """*value*, as a float if it is a number of another exact kind, which would pass the bounds unseen.

    Raises:
        ValueError: *value* is bytes, in which pydantic would read a number without bounds.
    """
    if isinstance(value, (bytes, bytearray)):
        raise ValueError("not a number")
    return float(value) if isinstance(value, (Decimal, Fraction)) else value


def optional_seconds(value: object) -> object:
    """A duration in seconds, or None."""
    return None if is_none(value) else seconds(value)


def lifetime(value: object) -> object:
    """A duration in seconds, a date, -1 for ever, or None."""
    if value == -1 or (isinstance(value, str) and value.strip().lower() in {"never", "-1"}):
        return -1.0
    if isinstance(value, datetime) or (isinstance(value, str) and not is_none(value) and _is_moment(value)):
        return moment_of(value)
    return optional_seconds(value)


def _is_moment(text: str) -> bool:
    """Whether *text* is a date rather than a duration."""
    try:
        parse_duration(text)
    except ValueError:
        try:
            moment_of(text)
        except ValueError:
            return False
        return True
    return False


def stale_window(value: object) -> object:
    """A duration in seconds, True for as long as the response is stored, or None."""
    named = named_window(value)
    value = value if named is None else named
    return True if value is True else None if value is False else optional_seconds(value)


def number_of_bytes(value: object) -> object:
    """A size in bytes."""
    found = parse_size(value) if isinstance(value, str) else _plain(value)
    if isinstance(found, bool) or (isinstance(found, (int, float)) and found < 0):
        raise ValueError("not a size")
    return found


def size_limit(value: object) -> object:
    """A size in bytes, ``auto``, or None."""
    if isinstance(value, str) and value.strip().lower() == "auto":
        return "auto"
    return optional_number_of_bytes(value)


def optional_number_of_bytes(value: object) -> object:
    """A size in bytes, or None."""
    return None if is_none(value) else number_of_bytes(value)


def flag(value: object) -> bool:
    """True or False, from a word for either."""
    word = str(value).strip().lower()
    if isinstance(value, (bool, str)) and word in _TRUE_WORDS | _FALSE_WORDS:
        return word in _TRUE_WORDS
    raise ValueError("neither true nor false")


def plain_text(value: object) -> object:
    """Text; quotes around it, JSON and control characters are refused, since no setting contains them on purpose."""
    if isinstance(value, str):
        refuse_quotes(value)
        if value.strip()[:1] in ("[", "{") and is_json(value):
            raise FormError("JSON, where the bare text belongs")
        if is_quoted_list(value.strip()):
            raise FormError("a list in the notation of a program, where the bare text belongs")
        if re.search(r"[\x00-\x1f\x7f]", value):
            raise FormError("a line break or another control character in it")
    return value


def optional_text(value: object) -> object:
    """Text, or None."""
    return optional(_no_structure(plain_text(value)))


_VARIABLE_IN_PATH: Final = re.compile(
    r"""
    \$ \{ [^}]* \} | \$ \( [^)]* \)  # ${HOME}, and $(HOME) as Kubernetes has it, anywhere
    | (?:\A|(?<=[/\\])) \s* \$ [A-Za-z_]\w* (?=[/\\]|\s*\Z)  # $HOME as the whole name of a directory or a file
    """,
    re.VERBOSE,
)


def path(value: object) -> object:
    """A file path, or None."""
    if isinstance(value, str) and re.search(r"\A\s*(?:file|sqlite[\w+]*):|://", value, re.IGNORECASE):
        raise FormError("a URL, where a path belongs")
    if isinstance(value, str) and _VARIABLE_IN_PATH.search(value):
        raise FormError("a variable in it, which nothing replaces here; write the path out")
    return optional(_no_structure(plain_text(value)))


def _no_structure(value: object) -> object:
    if isinstance(value, (str, Path)) and str(value) and not str(value).strip():
        raise FormError("nothing but spaces in it")
    if isinstance(value, str) and ("://" in value or value.lstrip()[:1] == "{"):
        raise FormError("a URL or JSON, where a name belongs")
    return value


def names(value: object) -> object:
    """Names, as a JSON list or separated by commas."""
    return items_of(value, part=refuse_separators)


def patterns(value: object) -> object:
    """URL patterns, as a JSON list or separated by commas."""
    return items_of(value, part=refuse_spaces)


def tokens(value: object) -> object:
    """Names of header fields or methods, as a JSON list or separated by commas."""
    found = items_of(value)
    if not all(is_token(part) for part in _parts_of(found) if isinstance(part, str)):
        raise FormError("a name that has other characters than HTTP allows")
    return found


def _parts_of(found: object) -> Collection[object]:
    return cast("Collection[object]", found) if isinstance(found, Collection) else ()


def methods(value: object) -> object:
    """HTTP methods; letter case makes no difference."""
    found = tokens(value)
    if isinstance(found, Collection):
        return tuple(part.upper() if isinstance(part, str) else part for part in cast("Collection[object]", found))
    return found


def codes(value: object) -> object:
    """Status codes, as a JSON list or separated by commas, or None."""
    if is_none(value):
        return None
    found = items_of(value)
    if isinstance(value, str) and not all(re.fullmatch(r"[1-5]\d\d", part) for part in cast("Collection[str]", found)):
        raise FormError("a status is a number from 100 to 599")
    return found


def secrets(value: object) -> object:
    """Secrets, as a JSON list or separated by commas; short ones are refused."""
    found = items_of(value)
    if isinstance(value, str) and not found:
        raise ValueError("no secret")  # an empty value would turn signing off by accident
    if isinstance(found, Collection):
        found = cast("Collection[object]", found)
        for one in found:
            text = one.get_secret_value() if isinstance(one, SecretStr) else one
            if isinstance(text, str) and len(text) < MIN_SECRET_CHARS:
                raise FormError(
                    f"a secret of less than {MIN_SECRET_CHARS} characters can be guessed; make one with "
                    "python -c 'import secrets; print(secrets.token_urlsafe(32))'"
                )
    return found


def redis_url(value: object) -> object:
    """The address of a Redis server, cluster or service of sentinels; ambiguous addresses are refused."""
    return _address(value, refuse_odd_redis_address, "Redis")


def mongodb_url(value: object) -> object:
    """The address of MongoDB servers; ambiguous addresses are refused."""
    return _address(value, refuse_odd_mongodb_address, "MongoDB")


def _address(value: object, refuse_odd: Callable[[str], object], kind: str) -> str:
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not isinstance(text, str):
        raise ValueError(f"not the URL of a {kind} server")
    try:
        refuse_odd(text)
    except ValueError as exc:
        raise FormError(str(exc)) from None
    return text


def optional_endpoint(value: object) -> object:
    """The URL of a service, without user and query; or None."""
    if is_none(value):
        return None
    if not isinstance(value, str):
        raise ValueError("not the URL of a service")
    refuse_odd_endpoint(value)
    return value


def backend_name(value: object) -> object:
    """The name of a built-in backend, or the module and the name of a class."""
    if isinstance(value, str) and (value in BUILT_IN_BACKENDS or CLASS_PATH.fullmatch(value)):
        return value
    raise ValueError("unknown back-end")


def json_object(value: object) -> object:
    """A JSON object."""
    if not isinstance(value, str):
        return value
    found = parsed_json(value)
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")
    return cast("object", found)
