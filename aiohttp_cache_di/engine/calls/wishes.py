"""The options for the cache among the arguments of a request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from aiohttp_cache_di.backends.options.values import refuse_unusable
from aiohttp_cache_di.policy.rules.book import NO_WISHES, Wishes
from aiohttp_cache_di.policy.rules.tags import tags_of

__all__ = ["WISHES", "take_wishes", "wish_for_nothing"]

WISHES: Final = frozenset(Wishes.__struct_fields__)
"""The names of the options that a request of a caching session takes besides aiohttp's own."""

_EMPTY: Final = frozenset({"refresh", "only_if_cached", "tags"})
"""Options whose default is false or empty; the default of the others is None."""


def wish_for_nothing(options: Mapping[str, Any]) -> bool:
    """Whether the options for the cache among *options* all have their defaults."""
    return all(_is_default(name, options[name]) for name in WISHES & options.keys())


def _is_default(name: str, value: object) -> bool:
    return value is None or (name in _EMPTY and not value)


def take_wishes(options: dict[str, Any]) -> Wishes:
    """Remove the options for the cache from *options*, and return them; `NO_WISHES` if all have their defaults.

    Raises:
        ConfigurationError: one of them has a value that cannot be used.
    """
    names = WISHES & options.keys()
    found: dict[str, Any] = {name: value for name in names if not _is_default(name, value := options.pop(name))}
    if not found:
        return NO_WISHES
    refuse_unusable(found)
    if "tags" in found:
        found["tags"] = tags_of(found["tags"], bounded=False)
    return Wishes(**found)
