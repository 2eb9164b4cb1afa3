"""Protocols of what a question is made from: the facts of a request, and its caller's options for the cache ("wishes").

A request that is about to be sent satisfies them, and so does the record of one that another program sent, whose
response is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

from multidict import CIMultiDict
from yarl import URL

from aiohttp_cache_di.policy.rules.expiration import ExpirationTime
from aiohttp_cache_di.policy.rules.windows import Window

__all__ = ["WISHES", "RequestFacts", "Wishes", "wish_for_nothing"]

_EMPTY: Final = frozenset({"refresh", "only_if_cached", "tags"})
"""Options whose default is false or empty; the default of the others is None."""

WISHES: Final = _EMPTY | {"expire_after", "stale_if_error", "principal"}
"""The names of the options that a request of a caching session takes besides aiohttp's own."""


class RequestFacts(Protocol):
    """The parts of a request by which the place of its response is found."""

    @property
    def method(self) -> str:
        """The method in capitals."""
        ...

    @property
    def url(self) -> URL:
        """The URL with its query, without a fragment."""
        ...

    @property
    def headers(self) -> CIMultiDict[str]:
        """The header fields that it is sent with."""
        ...


class Wishes(Protocol):
    """The caller's options for the cache that decide the rules of a request; see `CacheRequestOptions`."""

    @property
    def expire_after(self) -> ExpirationTime:
        """The lifetime of this response."""
        ...

    @property
    def refresh(self) -> bool:
        """Whether to validate a stored response before it is used."""
        ...

    @property
    def only_if_cached(self) -> bool:
        """Whether to answer from the cache or with 504, without asking the origin."""
        ...

    @property
    def stale_if_error(self) -> Window:
        """How long past its lifetime a stored response may be used instead of an error."""
        ...

    @property
    def tags(self) -> tuple[str, ...]:
        """Tags of what is stored, besides those of the responses and of the settings."""
        ...


def wish_for_nothing(options: Mapping[str, Any]) -> bool:
    """Whether the options for the cache among *options* all have their defaults."""
    return all(options[name] is None or (name in _EMPTY and not options[name]) for name in WISHES & options.keys())
