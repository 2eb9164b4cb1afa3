"""The settings that apply to one request, for callers that use a backend without a session."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from aiohttp_cache_di.keys import redact_url
from aiohttp_cache_di.policy import Rules

__all__ = ["CacheActions"]


class CacheActions(Struct, frozen=True):
    """Returned by `CacheBackend.create_cache_actions`, taken by `CacheBackend.request` and `CacheBackend.is_cacheable`.

    Attributes:
        key: the cache key of the request.
        url: its URL.
        rules: the settings that apply to it.
        request: the other arguments of the request.
    """

    key: str
    url: str
    rules: Rules
    request: dict[str, Any] = field(default_factory=dict[str, Any])

    def __repr__(self) -> str:  # without the arguments, which may contain secrets
        return f"<CacheActions for {redact_url(self.url)} under {self.key}>"

    @property
    def expire_after(self) -> float | None:
        """Lifetime of the response in seconds; ``inf`` never expires, 0 is not stored, None is not set."""
        return self.rules.lifetime_s

    @property
    def refresh(self) -> bool:
        """Whether a stored response is validated before use."""
        return self.rules.refresh
