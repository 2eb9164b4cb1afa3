"""Items: what is stored under a key, once its bytes are decoded."""

from __future__ import annotations

import enum
from typing import Final, TypeAlias

from msgspec import Struct

from aiohttp_cache_di.rfc9111.messages import REDIRECTS, StoredResponse

__all__ = ["UNREADABLE", "Item", "Opaque", "Unreadable", "item_leads_on"]


class Opaque(Struct, frozen=True, array_like=True):
    """An item that a user's own serializer has made; only that can read it.

    Args:
        key: its storage key.
        payload: the bytes that the serializer's ``dumps`` returned.
        leads_on: whether the item is a redirect or an alias.
    """

    key: str
    payload: bytes
    leads_on: bool = False


Item: TypeAlias = StoredResponse | str | Opaque
"""What is stored under a key: a response, the key of another record (an alias), or a user's serialized item."""


class Unreadable(enum.Enum):
    """Returned instead of an item if the bytes under the key are not valid."""

    UNREADABLE = enum.auto()


UNREADABLE: Final = Unreadable.UNREADABLE


def item_leads_on(item: object) -> bool:
    """Whether *item* is a redirect or an alias, rather than a final response."""
    if isinstance(item, StoredResponse):
        return item.status in REDIRECTS and "Location" in item.headers
    return item.leads_on if isinstance(item, Opaque) else isinstance(item, str)
