"""What goes with a response that is deleted: its variants, the redirects that lead to it, and what it leads to."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any

from aiohttp.typedefs import StrOrURL

from aiohttp_cache_di.backends.stacked import Stacked
from aiohttp_cache_di.backends.storage import BaseCache
from aiohttp_cache_di.response import CachedResponse
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["Deleting", "item_of", "next_key"]

_FOLLOWS_ONWARD: ContextVar[bool] = ContextVar("aiohttp_cache_di_follows_onward", default=True)
"""Whether what is deleted takes along what it leads to: where a user deletes it, not where a response does."""


class Deleting(Stacked):
    """Deletes responses with what belongs to them."""

    @abstractmethod
    def create_key(self, method: str, url: StrOrURL, **kwargs: Any) -> str:
        """See `CacheBackend`."""

    @abstractmethod
    async def delete(self, key: str) -> None:
        """See `CacheBackend`."""

    async def bulk_delete(self, keys: set[str]) -> None:
        """Delete several responses with what belongs to them; missing ones are no error."""
        related: set[str] = set()
        await self.stack.settle(keys, within_s=self.guard.deadline_s / 2)
        collect = self._collect if _FOLLOWS_ONWARD.get() else self._collect_backwards
        for key in keys:
            await collect(key, related)
        await self.stack.delete(related)

    async def invalidate(self, keys: set[str]) -> None:
        """Delete what responses of these *keys* have made outdated: with variants and redirects that lead to it.

        What it leads to stays: that is of another resource, perhaps of another origin, of which such a response has
        nothing to say (RFC 9111 §4.4). A `delete` of the user's is asked.
        """
        token = _FOLLOWS_ONWARD.set(False)
        try:
            if "delete" not in self.overridden:
                await self.bulk_delete(keys)
                return
            for key in keys:
                await self.delete(key)
        finally:
            _FOLLOWS_ONWARD.reset(token)

    async def _collect(self, key: str | None, related: set[str]) -> None:
        """Add to *related* the key itself, its variants, the redirects before it and what it redirects to."""
        while key is not None and key not in related:
            related.add(key)
            item = await item_of(self.responses, key)
            if item is not None and not isinstance(item, str):
                related.update(self._belonging_to(item))
                return
            key = item or next_key(await item_of(self.redirects, key))

    async def _collect_backwards(self, key: str, related: set[str]) -> None:
        """Add to *related* the key itself, its variants, and the redirects before it."""
        related.add(key)
        item = await item_of(self.responses, key)
        if item is None or isinstance(item, str):
            return
        stored = getattr(item, "stored", None)
        if isinstance(stored, StoredResponse):
            related.update(ref.key for ref in stored.variants)
        for hop in set(self._belonging_to(item)) - related:
            if await self.redirects.contains(hop):  # what once led here may be a response by now
                related.add(hop)

    def _belonging_to(self, response: CachedResponse) -> Iterable[str]:
        """The keys of what is stored for the sake of *response*."""
        stored = getattr(response, "stored", None)
        if isinstance(stored, StoredResponse):
            return (*(ref.key for ref in stored.variants), *stored.history)
        return [self.create_key(hop.method, hop.url) for hop in response.history]


async def item_of(storage: BaseCache, key: str) -> CachedResponse | str | None:
    """What *storage* has under *key*, if it can be read."""
    return storage.readable(await storage.read(key), key)


def next_key(hop: CachedResponse | str | None) -> str | None:
    """The key of what a stored redirect leads to, where it is known."""
    if hop is None or isinstance(hop, str):
        return hop
    stored = getattr(hop, "stored", None)
    return stored.history[0] if isinstance(stored, StoredResponse) and stored.history else None
