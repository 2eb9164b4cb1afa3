"""Deletes responses with their variants, the redirects that lead to them, and what they redirect to."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextvars import ContextVar
from typing import Any

from msgspec import Struct

from aiohttp_cache_di.backends.configured import Configured
from aiohttp_cache_di.backends.options.revision import hook
from aiohttp_cache_di.backends.storage import keys_of
from aiohttp_cache_di.entries.items import item_leads_on
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["Deleting", "delete_each", "next_key", "related"]


class Invalidation(Struct):
    """A deletion of what a response has made outdated, and how many entries it has deleted so far."""

    dropped: int = 0


_CURRENT: ContextVar[Invalidation | None] = ContextVar("aiohttp_cache_di_invalidation", default=None)
"""The invalidation of which a deletion is a part, even if the user's own `delete` comes between; None for none."""


class Deleting(Configured):
    """Deletes responses with related entries."""

    @hook
    async def delete(self, key: str) -> None:
        """Delete a response with its variants, the redirects that lead to it, and what it redirects to."""
        await self.bulk_delete({key})

    async def bulk_delete(self, keys: set[str]) -> None:
        """Delete several responses with related entries; missing ones are no error."""
        keys = keys_of(keys)
        await self.stack.settle(keys, within_s=self.guard.deadline_s / 2)
        invalidation = _CURRENT.get()
        if invalidation is None:
            await self.stack.delete(await related(self, keys))
        else:
            going, there = await _related_backwards(self, keys)
            await self.stack.delete(going)
            invalidation.dropped += there

    async def invalidate(self, keys: set[str]) -> int:
        """Delete the entries under *keys*, which a response has made outdated, with variants and redirects to them.

        The targets of redirects are not deleted: they are other resources, perhaps of another origin, and such a
        response must not invalidate them (RFC 9111 §4.4). A `delete` that the user has overridden is called.

        Returns:
            The number of deleted entries, without those that a user's own `delete` has deleted.
        """
        invalidation = Invalidation()
        token = _CURRENT.set(invalidation)
        try:
            if "delete" not in self.overridden:
                await self.bulk_delete(keys)
            else:
                await delete_each(self, keys)
            return invalidation.dropped
        finally:
            _CURRENT.reset(token)


async def delete_each(backend: Deleting, keys: Collection[str]) -> None:
    """Call `delete` for each of *keys*: one that the user has overridden may delete without the stack's knowledge."""
    with backend.stack.deleting(keys):
        backend.stack.invalidate(keys)
        for key in keys:
            await backend.delete(key)


async def related(backend: Deleting, keys: Collection[str]) -> set[str]:
    """*keys* with their variants, the redirects that lead to them and the targets of redirects; reads each once."""
    found, wanted = set[str](), set(keys)
    while wanted:
        found |= wanted
        following = set[str | None]()
        for item in await backend.stack.items(wanted, doubted=True):
            loaded: Any = backend.stack.packing.loaded(item)
            entry = getattr(loaded, "stored", loaded)
            if isinstance(loaded, str) or (isinstance(entry, StoredResponse) and item_leads_on(item)):
                following.add(next_key(loaded))
            elif loaded is not None:
                found.update(_belonging_to(backend, loaded))
        wanted = {key for key in following if key is not None} - found
    return found


async def _related_backwards(backend: Deleting, keys: Collection[str]) -> tuple[set[str], int]:
    """*keys* with their variants and the redirects that lead to them; and how many of them are stored."""
    variants, before = set[str](), set[str]()
    items = await backend.stack.items(keys, doubted=True)
    for item in items:
        loaded: Any = backend.stack.packing.loaded(item)
        entry = getattr(loaded, "stored", loaded)
        if isinstance(entry, StoredResponse):
            variants.update(ref.key for ref in entry.variants)
        if loaded is not None and not isinstance(loaded, str) and not item_leads_on(item):
            before.update(_belonging_to(backend, loaded))
    # An earlier redirect to this response may have been replaced by a response, which is not deleted.
    variants -= set(keys)
    kinds = await backend.stack.kinds((before | variants) - set(keys))
    going = variants | {key for key, leads_on in kinds.items() if leads_on}
    return going | set(keys), len(items) + len(going & kinds.keys())


def _belonging_to(backend: Deleting, response: Any) -> Iterable[str]:
    """The keys of the variants of *response*, and of the redirects that lead to it."""
    stored = getattr(response, "stored", response)
    if isinstance(stored, StoredResponse):
        return (*(ref.key for ref in stored.variants), *stored.history)
    return [backend.create_key(hop.method, hop.url) for hop in response.history]


def next_key(hop: Any) -> str | None:
    """The key of the target of a stored redirect or alias, if it is known."""
    if hop is None or isinstance(hop, str):
        return hop
    stored = getattr(hop, "stored", hop)
    return stored.history[0] if isinstance(stored, StoredResponse) and stored.history else None
