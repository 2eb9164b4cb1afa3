"""Conversion between items as stores have them and as users see them, with a user's serializer if there is one."""

from __future__ import annotations

import contextlib
from typing import Any, TypeAlias

from aiohttp_cache_di.backends.store import Item, StoreEvents, Unreadable
from aiohttp_cache_di.entries.items import Opaque, item_leads_on
from aiohttp_cache_di.response import CachedResponse
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["Packing"]

Loaded: TypeAlias = Any
"""An item as users see it: a stored response, the key of another item, or the result of a user's ``loads``."""


class Packing:
    """Converts to and from items, in the loop's thread, since a user's serializer need not be thread-safe.

    Args:
        serializer: an object with ``dumps`` and ``loads``, or None.
        events: counts unreadable items.
    """

    def __init__(self, serializer: Any, events: StoreEvents) -> None:
        self.serializer = serializer
        self._events = events

    def packed(self, entry: StoredResponse) -> Item:
        """The item to store for *entry*."""
        if self.serializer is None:
            return entry
        return self.opaque(CachedResponse.from_stored(entry), entry.key, leads_on=item_leads_on(entry))

    def opaque(self, item: object, key: str, *, leads_on: bool) -> Opaque:
        """*item*, serialized by the user's serializer."""
        payload: str | bytes = self.serializer.dumps(item)
        return Opaque(key, payload.encode() if isinstance(payload, str) else payload, leads_on)

    def loaded(self, item: Item | None) -> Loaded:
        """*item* as users see it; None if it is unreadable, which is counted."""
        if not isinstance(item, Opaque):
            return item
        with contextlib.suppress(Exception):  # any error of the user's code: the entry is unusable
            return self.serializer.loads(item.payload)
        self._events.unreadable()
        return None

    def entry_of(self, item: Item | Unreadable | None, key: str) -> StoredResponse | None:
        """The response that *item* is; None for anything else."""
        if isinstance(item, StoredResponse):
            return item
        if item is None or isinstance(item, str):
            return None
        if isinstance(item, Unreadable):
            self._events.unreadable()
            return None
        stored: object = None
        with contextlib.suppress(Exception):  # an object of the user's may raise
            stored = getattr(self.loaded(item), "stored", None)
        return stored if isinstance(stored, StoredResponse) and stored.key == key else None
