"""What a question is made of: as much of a request, and of its caller's wishes, as tells where its response is kept.

A request that is sent satisfies these, and so does one that another program has sent long ago, whose response is taken
over.
"""

from __future__ import annotations

from typing import Protocol

from multidict import CIMultiDict
from yarl import URL

from aiohttp_cache_di.policy.expiration import ExpirationTime
from aiohttp_cache_di.policy.windows import Window

__all__ = ["Asked", "Wishes"]


class Asked(Protocol):
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
