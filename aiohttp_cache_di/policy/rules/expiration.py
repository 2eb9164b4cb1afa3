"""Lifetimes of responses in all forms that users may write, and rules by URL pattern.

A lifetime is a number of seconds, a timedelta, a text with units (``"5m"``), a date (a datetime, or text in ISO 8601 or
as an HTTP date), -1 or ``"never"`` for ever, 0 for no caching, or None or ``"none"`` for no lifetime.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any, Final, TypeAlias, TypedDict, cast

from msgspec import Struct
from msgspec.structs import replace

from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.lazy import compiled_later
from aiohttp_cache_di.policy.rules.patterns import UrlTable, shown
from aiohttp_cache_di.policy.rules.tags import tags_of
from aiohttp_cache_di.policy.rules.windows import Window, window_s
from aiohttp_cache_di.units import means_none, parse_duration

__all__ = [
    "FOR_EVER",
    "RULE_FIELDS",
    "UNSET",
    "ExpirationTime",
    "UrlExpiration",
    "UrlExpirationOptions",
    "UrlLifetime",
    "UrlRules",
    "fixed_s",
    "lifetime_s",
    "moment_of",
    "posix_time",
    "url_expiration",
]

ExpirationTime: TypeAlias = int | float | str | datetime | timedelta | None
"""A lifetime as users write it: see `lifetime_s`."""

FOR_EVER: Final = -1
"""The lifetime of what never expires."""


class _Unset(int):
    """The type of the default of ``expire_after``: equal to -1, but distinguishable from a -1 that the user gives."""


UNSET: Final = _Unset(FOR_EVER)
"""The default lifetime: for ever, or none if ``cache_control`` is set."""

_ACCEPTED: Final = (
    "seconds, -1 (for ever), 0 (do not cache), a text such as '5m', 'never' or 'none', a timedelta, a datetime, or "
    "its text in ISO 8601 or as an HTTP date"
)
_LONGEST_TEXT: Final = 64
_ISO: Final = compiled_later(r"\s*\d{4}-\d\d-\d\d")


def lifetime_s(value: ExpirationTime, *, now: float) -> float | None:
    """The lifetime *value* in seconds: ``inf`` for ever, 0 for no caching, None for no lifetime.

    A datetime without a time zone is in UTC, so that it means the same on all machines. A date in the past and a
    negative timedelta are 0.

    Args:
        now: POSIX time, UTC, from which the time until a date is counted.

    Raises:
        ConfigurationError: *value* has none of the accepted forms; the message quotes it.
    """
    if value is None or (isinstance(value, str) and means_none(value)):
        return None
    if isinstance(value, timedelta):
        return max(value.total_seconds(), 0.0)
    if isinstance(value, str) and (fixed := fixed_s(value)) is not None:
        return fixed
    if isinstance(value, str | datetime):
        return max(posix_time(moment_of(value)) - now, 0.0)
    return _of_number(value)


class UrlExpiration(Struct, frozen=True):
    """The rule of a URL pattern for the responses that it matches."""

    value: ExpirationTime = None
    """The lifetime: seconds, ``"5m"``, a timedelta, a datetime or an HTTP date. None means no lifetime; but in a rule
    with other fields, the backend's."""
    override_origin: bool = False
    """With ``cache_control``, the lifetime takes precedence over the origin's. Default: False."""
    stale_if_error: Window = None
    """Seconds, ``"1h"``, a timedelta, True for as long as it is stored, or False for never; None for the backend's."""
    stale_while_revalidate: Window = None
    """Seconds, ``"1h"``, a timedelta, True for as long as it is stored, or False for never; None for the backend's."""
    allowed_methods: Collection[str] | None = None
    """Methods whose responses are cached; None for the backend's."""
    tags: Collection[str] = ()
    """Tags of the responses, by which they can be purged together. Default: none."""

    @property
    def says_more(self) -> bool:
        """Whether it has other fields than a lifetime."""
        others = (self.stale_if_error, self.stale_while_revalidate, self.allowed_methods)
        return self.override_origin or others != (None, None, None) or bool(self.tags)


class UrlExpirationOptions(TypedDict, total=False):
    """The rule of a URL pattern as a mapping, with the names that variables use; see `UrlExpiration`."""

    expire_after: ExpirationTime
    """The lifetime: seconds, ``"5m"``, a timedelta, a datetime or an HTTP date. Default: None, for no lifetime; but in
    a rule with other fields, the backend's."""
    override_origin: bool
    """With ``cache_control``, the lifetime takes precedence over the origin's. Default: False."""
    stale_if_error: Window
    """Seconds, ``"1h"``, a timedelta, True for as long as it is stored, or False for never. Default: None, for the
    backend's."""
    stale_while_revalidate: Window
    """Seconds, ``"1h"``, a timedelta, True for as long as it is stored, or False for never. Default: None, for the
    backend's."""
    allowed_methods: Collection[str] | None
    """Methods whose responses are cached. Default: None, for the backend's."""
    tags: Collection[str]
    """Tags of the responses, by which they can be purged together. Default: none."""


UrlLifetime: TypeAlias = ExpirationTime | UrlExpiration | UrlExpirationOptions
"""A value of ``urls_expire_after``: a lifetime, or a rule in either form."""

RULE_FIELDS: Final[Mapping[str, str]] = {
    name: "value" if name == "expire_after" else name for name in UrlExpirationOptions.__annotations__
}
"""The field of `UrlExpiration` for each name of `UrlExpirationOptions`."""


class UrlRules(UrlTable[UrlExpiration]):
    """Rules by URL pattern; the first pattern that matches decides.

    A pattern is a shell glob for host and path: ``*`` and ``**`` match any characters, ``?`` one, and ``[…]`` one of a
    set. With a scheme (``https://api.example.org/v1``) it matches only that, otherwise any. It matches as a prefix, as
    if ``*`` followed: ``example.org/api`` matches ``http://example.org/api/items?page=2``. But a host without a path is
    matched as a whole: ``example.org`` does not match ``example.org.evil.test``. Case makes no difference in scheme and
    host; nor do userinfo, fragment, the scheme's default port, and the encoding of names and characters:
    ``bücher.example/my files`` matches ``http://xn--bcher-kva.example/my%20files``. A pattern begins with a host or a
    wildcard, and has no fragment: a ``#`` only within ``[…]``.

    Raises:
        ConfigurationError: a pattern is not text, would match no URL or has an invalid set (``[z-a]``), or its rule is
            invalid.
    """

    __slots__ = ("methods",)

    def __init__(self, patterns: Mapping[str, UrlLifetime]) -> None:
        rules = ((pattern, url_expiration(pattern, value)) for pattern, value in patterns.items())
        super().__init__(rules, option="urls_expire_after")
        self.methods: frozenset[str] = frozenset(
            name for rule in self.by_pattern.values() for name in rule.allowed_methods or ()
        )


def _of_number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:  # NaN
        raise _refused(value)
    if value == FOR_EVER:
        return math.inf
    if value < 0:
        return 0.0
    try:
        return float(value)
    except OverflowError:
        return math.inf


def fixed_s(value: str) -> float | None:
    """The lifetime of the text *value* in seconds; None if it is not a number or a duration, and so may be a date.

    Raises:
        ConfigurationError: *value* is NaN.
    """
    return _fixed_s(value) if len(value) <= _LONGEST_TEXT else None


@lru_cache(maxsize=256)
def _fixed_s(value: str) -> float | None:
    text = value.strip().lower()
    if text == "never":
        return math.inf
    try:
        return _of_number(float(text))
    except ConfigurationError as exc:
        raise _refused(value) from exc
    except ValueError:
        pass  # Not a number.
    try:
        return parse_duration(text)
    except ValueError:
        return None


def moment_of(value: str | datetime) -> datetime:
    """The date *value*; without a time zone it is in UTC.

    Raises:
        ConfigurationError: *value* is not a date; the message quotes it.
    """
    if isinstance(value, datetime):
        return value
    try:
        if _ISO.match(value):
            return datetime.fromisoformat(value.strip())
        return parsedate_to_datetime(value)  # Without a zone: asctime's form or "-0000", in UTC (RFC 9110 §5.6.7).
    except (ValueError, TypeError, IndexError, OverflowError) as exc:
        raise _refused(value) from exc


def posix_time(moment: datetime) -> float:
    """The POSIX time of *moment*, which is in UTC if it has no time zone."""
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()


def _refused(value: object) -> ConfigurationError:
    return ConfigurationError(f"expire_after={value!r} is not a lifetime; use {_ACCEPTED}")


def url_expiration(pattern: str, value: UrlLifetime) -> UrlExpiration:
    """The rule *value* of *pattern*, checked and with normalised tags and methods.

    Raises:
        ConfigurationError: *value* or a field of it is invalid; the message names the pattern and the field.
    """
    rule, field = _as_rule(pattern, value), "value"
    try:
        lifetime_s(rule.value, now=0.0)
        field = "stale_if_error"
        window_s(rule.stale_if_error)
        field = "stale_while_revalidate"
        window_s(rule.stale_while_revalidate, option="stale_while_revalidate")
        field = "tags"
        rule = replace(rule, tags=tags_of(rule.tags)) if rule.tags != () else rule
    except ConfigurationError as exc:
        what = "" if field == "value" else f"{field}={getattr(rule, field)!r}: "
        raise ConfigurationError(f"urls_expire_after[{shown(pattern)}]: {what}{exc}") from exc
    if type(rule.override_origin) is not bool:  # a text such as "false" would be true
        raise ConfigurationError(
            f"urls_expire_after[{shown(pattern)}]: override_origin={rule.override_origin!r}: use a bool"
        )
    if rule.allowed_methods is None:
        return rule
    return replace(rule, allowed_methods=_methods(pattern, rule.allowed_methods))


def _as_rule(pattern: str, value: UrlLifetime) -> UrlExpiration:
    if isinstance(value, UrlExpiration):
        return value
    if not isinstance(value, Mapping):
        return UrlExpiration(value)
    given = cast("Mapping[str, Any]", value)
    unknown = [name for name in given if name not in RULE_FIELDS]
    if unknown:
        raise ConfigurationError(
            f"urls_expire_after[{shown(pattern)}]: there is no {unknown[0]!r}; use {', '.join(RULE_FIELDS)}"
        )
    return UrlExpiration(**{RULE_FIELDS[name]: said for name, said in given.items()})


def _methods(pattern: str, given: object) -> frozenset[str]:
    names = cast("Collection[object]", given) if isinstance(given, Collection) else (None,)
    if isinstance(given, str) or not all(isinstance(name, str) for name in names):  # a text's letters are no methods
        raise ConfigurationError(f"urls_expire_after[{shown(pattern)}]: allowed_methods takes a collection of methods")
    return frozenset(str(name).upper() for name in names)
