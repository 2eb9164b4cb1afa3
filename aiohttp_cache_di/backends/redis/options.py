"""Options of a backend in Redis by who takes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from aiohttp_cache_di.arguments import refuse_unknown
from aiohttp_cache_di.backends.options.values import BACKEND_OPTIONS
from aiohttp_cache_di.backends.redis.clients import driver_options
from aiohttp_cache_di.errors import ConfigurationError

__all__ = ["DEFAULT_NEAR_TIER_BYTES", "Sorted", "sorted_options"]

DEFAULT_NEAR_TIER_BYTES = 32 * 1024 * 1024
NEAR_OPTIONS = frozenset({"near_tier_s", "near_tier_bytes"})


class Sorted(NamedTuple):
    """Options by who takes them: every backend, the near tier, the driver."""

    backend: dict[str, Any]
    near: dict[str, Any]
    driver: dict[str, Any]


def sorted_options(owner: str, given: Mapping[str, Any]) -> Sorted:
    """Sort *given*.

    Raises:
        TypeError: an option is not known.
        ConfigurationError: a lifetime of the near tier that is none.
        MissingDependencyError: redis or hiredis is not installed.
    """
    of_driver = driver_options()
    refuse_unknown(owner, given, BACKEND_OPTIONS | NEAR_OPTIONS | of_driver | {"address", "connection"})
    near_tier_s = given.get("near_tier_s")
    if near_tier_s is not None and not near_tier_s > 0:
        raise ConfigurationError(f"near_tier_s={near_tier_s!r}: give seconds above 0, or None for no near tier")
    known = (BACKEND_OPTIONS, NEAR_OPTIONS, of_driver)
    return Sorted(*({name: given[name] for name in given.keys() & names} for names in known))
