"""The options of the near tier: copies in memory, in front of a store on a server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypedDict

from aiohttp_cache_di.errors import ConfigurationError

__all__ = ["DEFAULT_NEAR_TIER_BYTES", "NEAR_OPTIONS", "NearArguments", "near_arguments"]

DEFAULT_NEAR_TIER_BYTES: Final = 32 * 1024 * 1024
NEAR_OPTIONS: Final = frozenset({"near_tier_s", "near_tier_bytes"})


class NearArguments(TypedDict):
    """The arguments of a `StoreStack` for the near tier."""

    near_bytes: int
    near_lifetime_s: float


def near_arguments(options: Mapping[str, Any]) -> NearArguments:
    """The arguments of a stack for *options*; without ``near_tier_s`` there is no near tier.

    Raises:
        ConfigurationError: the seconds or bytes are not above 0.
    """
    seconds: float | None = options.get("near_tier_s")
    size: int = options.get("near_tier_bytes", DEFAULT_NEAR_TIER_BYTES)
    if seconds is not None and not seconds > 0:
        raise ConfigurationError(f"near_tier_s={seconds!r}: give seconds above 0, or None for no near tier")
    if not size > 0:
        raise ConfigurationError(f"near_tier_bytes={size!r}: give a number of bytes above 0")
    return NearArguments(near_bytes=0 if seconds is None else size, near_lifetime_s=seconds or 0.0)
