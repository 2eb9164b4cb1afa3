"""What goes with a response that is deleted: its variants, the redirects that lead to it, and what it leads to."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextvars import ContextVar
from typing import Any

from aiohttp_cache_di.backends.urls import Addressed
from aiohttp_cache_di.entries.codec import item_leads_on
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["Deleting", "next_key"]

_FOLLOWS_ONWARD: ContextVar[bool] = ContextVar("aiohttp_cache_di_follows_onward", default=True)
"""Whether what is deleted takes along what it leads to: where a user deletes it, not where a response does."""


class Deleting(Addressed):
    """Deletes responses with what belongs to them."""

    async def bulk_delete(self, keys: set[str]) -> None:
        """Delete several responses with what belongs to them; missing ones are no error."""
        await self.stack.settle(keys, within_s=self.guard.deadline_s / 2)
        follows = _FOLLOWS_ONWARD.get()
        await self.stack.delete(await (self._related(keys) if follows else self._related_backwards(keys)))

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

    async def _related(self, keys: Collection[str]) -> set[str]:
        """*keys* themselves, their variants, the redirects before them and what they redirect to; each read once."""
        related, wanted = set[str](), set(keys)
        while wanted:
            related |= wanted
            following = set[str | None]()
            for item in await self.stack.items(wanted):
                loaded: Any = self.stack.packing.loaded(item)
                entry = getattr(loaded, "stored", loaded)
                if isinstance(loaded, str) or (isinstance(entry, StoredResponse) and item_leads_on(item)):
                    following.add(next_key(loaded))
                elif loaded is not None:
                    related.update(self._belonging_to(loaded))
            wanted = {key for key in following if key is not None} - related
        return related

    async def _related_backwards(self, keys: Collection[str]) -> set[str]:
        """*keys* themselves, their variants, and the redirects before them."""
        related, before = set(keys), set[str]()
        for item in await self.stack.items(keys):
            loaded: Any = self.stack.packing.loaded(item)
            entry = getattr(loaded, "stored", loaded)
            if isinstance(entry, StoredResponse):
                related.update(ref.key for ref in entry.variants)
            if loaded is not None and not isinstance(loaded, str) and not item_leads_on(item):
                before.update(self._belonging_to(loaded))
        # What once led here may be a response by now.
        kinds = await self.stack.kinds(before - related)
        return related | {key for key, leads_on in kinds.items() if leads_on}

    def _belonging_to(self, response: Any) -> Iterable[str]:
        """The keys of what is stored for the sake of *response*."""
        stored = getattr(response, "stored", response)
        if isinstance(stored, StoredResponse):
            return (*(ref.key for ref in stored.variants), *stored.history)
        return [self.create_key(hop.method, hop.url) for hop in response.history]


def next_key(hop: Any) -> str | None:
    """The key of what a stored redirect leads to, where it is known."""
    if hop is None or isinstance(hop, str):
        return hop
    stored = getattr(hop, "stored", hop)
    return stored.history[0] if isinstance(stored, StoredResponse) and stored.history else None
