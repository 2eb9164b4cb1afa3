"""What a question is made of: as much of a request, and of its caller's wishes, as tells where its response is kept.

A request that is sent satisfies these, and so does one that another program has sent long ago, whose response is taken
over.
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
"""Wishes that are empty where nothing is wished for; the others are None."""

WISHES: Final = _EMPTY | {"expire_after", "stale_if_error", "principal"}
"""What a request of a caching session takes beside aiohttp's own options."""


class RequestFacts(Protocol):
    """What is known of a request by which its place is found: one that is sent, or one that was sent long ago."""

    @property
    def method(self) -> str:
        """In capitals."""
        ...

    @property
    def url(self) -> URL:
        """With its query, without a fragment."""
        ...

    @property
    def headers(self) -> CIMultiDict[str]:
        """What it sends."""
        ...


class Wishes(Protocol):
    """What the caller of a request wishes for it: see `Call`."""

    @property
    def expire_after(self) -> ExpirationTime:
        """A lifetime for its response alone."""
        ...

    @property
    def refresh(self) -> bool:
        """To have what is stored validated."""
        ...

    @property
    def only_if_cached(self) -> bool:
        """To be answered from the cache or with 504."""
        ...

    @property
    def stale_if_error(self) -> Window:
        """How stale a response may be that stands in for an error."""
        ...


def wish_for_nothing(options: Mapping[str, Any]) -> bool:
    """Whether those of *options* that are wishes say no more than if they were not there."""
    return all(options[name] is None or (name in _EMPTY and not options[name]) for name in WISHES & options.keys())
