"""Rules by URL pattern, as variables have them: a lifetime, or an object with everything that a pattern may say."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, TypeAlias, cast

import msgspec

from aiohttp_cache_di.policy.expiration import UrlExpiration, UrlRules
from aiohttp_cache_di.settings.forms import FormError, flag, json_object, lifetime
from aiohttp_cache_di.units import format_duration

__all__ = ["RULE_NAMES", "UrlRule", "mask_patterns", "read_url_rules", "show_url_rules"]

UrlRule: TypeAlias = float | UrlExpiration | None

_READ: Final[Mapping[str, Callable[[object], object]]] = {"expire_after": lifetime, "override_origin": flag}
_FIELDS: Final = {"expire_after": "value"}  # the other names are the same in both places
RULE_NAMES: Final = tuple(_READ)
"""What the object of a pattern may hold."""


def read_url_rules(value: object) -> object:
    """Read rules from JSON, or from a mapping that code gives; what is wrong is told with its pattern."""
    found = json_object(value)
    if not isinstance(found, Mapping):
        return found
    return {pattern: _rule(pattern, rule) for pattern, rule in cast("Mapping[object, object]", found).items()}


def _rule(pattern: object, given: object) -> object:
    if not isinstance(pattern, str) or not pattern.strip():
        raise FormError("a pattern is empty")
    try:
        rule = _read(given)
        UrlRules({pattern: cast("Any", rule)})
    except FormError as exc:
        raise FormError(f"{mask_patterns(repr(pattern))}: {exc}") from None
    except ValueError:
        raise FormError(f"{mask_patterns(repr(pattern))}: no lifetime, or no pattern") from None
    return rule


def _read(given: object) -> object:
    if isinstance(given, UrlExpiration):
        if isinstance(given.value, datetime):
            return given
        return msgspec.structs.replace(given, value=cast("Any", lifetime(given.value)))
    if isinstance(given, Mapping):
        return _policy(cast("Mapping[object, object]", given))
    try:
        found = lifetime(given)
    except ValueError:
        raise FormError("no lifetime") from None
    if isinstance(found, bool) or not isinstance(found, (float, int, type(None))):
        raise FormError("neither a lifetime nor an object")
    return found


def _policy(given: Mapping[object, object]) -> UrlExpiration:
    fields: dict[str, Any] = {}
    for name, value in given.items():
        if not isinstance(name, str) or name not in _READ:
            raise FormError(f"it has something that is none of {', '.join(RULE_NAMES)}")
        try:
            fields[_FIELDS.get(name, name)] = _READ[name](value)
        except (ValueError, TypeError):
            raise FormError(f"its {name} cannot be used") from None
    return UrlExpiration(**fields)


def show_url_rules(rules: Mapping[str, UrlRule]) -> str:
    """Write *rules* as JSON that is read back as the same."""
    return mask_patterns(json.dumps({pattern: _shown(rule) for pattern, rule in rules.items()}, ensure_ascii=False))


def _shown(rule: UrlRule) -> object:
    if not isinstance(rule, UrlExpiration):
        return show_lifetime(rule)
    default = UrlExpiration()
    values = {name: getattr(rule, _FIELDS.get(name, name)) for name in RULE_NAMES}
    return {
        name: show_lifetime(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value
        for name, value in values.items()
        if value != getattr(default, _FIELDS.get(name, name))
    }


def show_lifetime(value: float | None) -> str:
    """Write a lifetime as a variable would have it."""
    if value is None:
        return "none"
    return "never" if value == -1 else format_duration(value)


def mask_patterns(text: str) -> str:
    """Return *text* without what stands before an ``@`` in the URLs in it."""
    return re.sub(r"//[^/@\s\"']*@", "//***@", text)
