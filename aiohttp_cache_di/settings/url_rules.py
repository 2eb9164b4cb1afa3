"""Rules by URL pattern, read from and written as the JSON of a variable: a lifetime, or an object of several fields."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any, Final, TypeAlias, cast
from urllib.parse import unquote_plus

import msgspec

from aiohttp_cache_di.addresses import MASK
from aiohttp_cache_di.keys.names import is_secret_param
from aiohttp_cache_di.policy.rules.expiration import RULE_FIELDS, UrlExpiration, UrlRules
from aiohttp_cache_di.policy.rules.patterns import compiled, why_matchless
from aiohttp_cache_di.policy.rules.principals import PrincipalPatterns
from aiohttp_cache_di.policy.rules.tags import tags_of
from aiohttp_cache_di.policy.rules.windows import Window, window_s
from aiohttp_cache_di.settings.forms import flag, json_object, lifetime, methods, patterns, stale_window
from aiohttp_cache_di.settings.notation import FormError
from aiohttp_cache_di.units import format_duration

__all__ = [
    "RULE_NAMES",
    "UrlRule",
    "read_url_names",
    "read_url_patterns",
    "read_url_rules",
    "show_lifetime",
    "show_url_names",
    "show_url_rules",
]

UrlRule: TypeAlias = float | datetime | UrlExpiration | None

_SECONDS: Final = (int, float, type(None))  # of which True is one: as long as the response is stored
_READ: Final[Mapping[str, tuple[Callable[[object], object], tuple[type, ...]]]] = {
    "expire_after": (lifetime, (*_SECONDS, datetime)),
    "override_origin": (flag, (bool,)),
    "stale_if_error": (stale_window, _SECONDS),
    "stale_while_revalidate": (stale_window, _SECONDS),
    "allowed_methods": (methods, (tuple,)),
    "tags": (tags_of, (tuple,)),
}
"""The function that reads each field, and the types that it may return for a valid value."""

RULE_NAMES: Final = tuple(RULE_FIELDS)
"""The fields of the object for a pattern."""

_SWITCHES: Final = frozenset(("true", "false", "yes", "no", "on", "off"))  # where a flag is expected by mistake


def read_url_rules(value: object) -> object:
    """Read rules from JSON, or from a mapping given in code; an error names the pattern."""
    found = json_object(value)
    if not isinstance(found, Mapping):
        return found
    return {pattern: _rule(pattern, rule) for pattern, rule in cast("Mapping[object, object]", found).items()}


def read_url_names(value: object) -> object:
    """Read names by pattern from JSON, or from a mapping given in code; an error names the pattern."""
    found = json_object(value)
    if not isinstance(found, Mapping):
        return found
    names = cast("Mapping[object, object]", found)
    for pattern, name in names.items():
        _refuse_pattern(pattern)
        try:
            PrincipalPatterns({cast("str", pattern): cast("str", name)})
        except ValueError:
            raise FormError(f"{pattern!r}: its name is empty, or not text") from None
    return dict(names)


def read_url_patterns(value: object) -> object:
    """Read a list of patterns; an error names the pattern."""
    found = patterns(value)
    if not isinstance(found, Collection):
        return found
    for pattern in (given := cast("Collection[object]", found)):
        _refuse_pattern(pattern)
        if str(pattern).strip().lower() in _SWITCHES:
            raise FormError(f"{pattern!r} is no pattern; for all upstreams write *")
    return given


def show_url_names(names: Mapping[str, str]) -> str:
    """Write *names* as JSON, with the names themselves masked: they may identify people."""
    return json.dumps(dict.fromkeys(names, MASK), ensure_ascii=False)


def _refuse_pattern(pattern: object) -> None:
    if not isinstance(pattern, str) or not pattern.strip():
        raise FormError("a pattern is empty")
    if _has_user(pattern):
        raise FormError("a pattern has a user or a password; what stands before an @ in a URL makes no difference")
    for pair in re.split("[?&]", pattern)[1:]:
        name, _, value = pair.partition("=")
        if value.strip("*") and is_secret_param(unquote_plus(name)):
            raise FormError("a pattern has the value of a parameter that is a secret; write * in its place")
    if why := why_matchless(pattern):
        raise FormError(f"a pattern would match no URL: {why}")
    try:
        compiled(pattern, named="a pattern")
    except ValueError:
        raise FormError(f"{pattern!r} is not a pattern") from None


def _has_user(pattern: str) -> bool:
    before, scheme, rest = pattern.partition("://")
    authority = (rest if scheme and "/" not in before else pattern).partition("/")[0]
    user, found, _ = authority.rpartition("@")
    return bool(found) and (bool(scheme) or ":" in user)


def _rule(pattern: object, given: object) -> object:
    _refuse_pattern(pattern)
    try:
        rule = _read(given)
        UrlRules({cast("str", pattern): cast("Any", rule)})
    except FormError as exc:
        raise FormError(f"{pattern!r}: {exc}") from None
    except ValueError:
        raise FormError(f"{pattern!r}: no lifetime") from None
    return rule


def _read(given: object) -> object:
    if isinstance(given, UrlExpiration):
        value: Any = lifetime(given.value)
        windows: dict[str, Any] = {
            name: _window(name, getattr(given, name)) for name in ("stale_if_error", "stale_while_revalidate")
        }
        try:
            windows["tags"] = tags_of(given.tags)
        except ValueError:
            raise FormError("its tags cannot be used") from None
        return msgspec.structs.replace(given, value=value, **windows)
    if isinstance(given, Mapping):
        return _policy(cast("Mapping[object, object]", given))
    try:
        found = lifetime(given)
    except ValueError:
        raise FormError("no lifetime") from None
    if isinstance(found, bool) or not isinstance(found, (float, int, datetime, type(None))):
        raise FormError("neither a lifetime nor an object")
    return found


def _window(name: str, given: Window) -> Window:
    """A window given in code, in a form that can be shown: seconds, True or None; False becomes 0."""
    try:
        return given if given is True or given is None else window_s(given) or 0.0
    except ValueError:
        raise FormError(f"its {name} cannot be used") from None


def _policy(given: Mapping[object, object]) -> UrlExpiration:
    """The rule that the object *given* stands for."""
    fields: dict[str, Any] = {}
    for name, value in given.items():
        if not isinstance(name, str) or name not in _READ:
            raise FormError(f"it has a name other than {', '.join(RULE_NAMES)}")
        read, types = _READ[name]
        try:
            found = read(value)
        except ValueError:
            raise FormError(f"its {name} cannot be used") from None
        if not isinstance(found, types):
            raise FormError(f"its {name} cannot be used")
        fields[RULE_FIELDS[name]] = found if name != "allowed_methods" else frozenset(cast("tuple[str, ...]", found))
    return UrlExpiration(**fields)


def show_url_rules(rules: Mapping[str, UrlRule]) -> str:
    """Write *rules* as JSON that `read_url_rules` reads back."""
    return json.dumps({pattern: _shown(rule) for pattern, rule in rules.items()}, ensure_ascii=False)


def _shown(rule: UrlRule) -> object:
    if not isinstance(rule, UrlExpiration):
        return show_lifetime(rule)
    default, shown = UrlExpiration(), dict[str, object]()
    for name in RULE_NAMES:
        value = getattr(rule, RULE_FIELDS[name])
        if value == getattr(default, RULE_FIELDS[name]):
            continue
        if name == "tags":
            shown[name] = list(value)
        elif name == "allowed_methods":
            shown[name] = sorted(value)
        elif name == "override_origin":
            shown[name] = value
        else:
            shown[name] = "always" if value is True else show_lifetime(value)
    return shown


def show_lifetime(value: float | datetime | None) -> str:
    """Write a lifetime as the text of a variable."""
    if value is None:
        return "none"
    if isinstance(value, datetime):
        return value.isoformat()
    return "never" if value == -1 else format_duration(value)
