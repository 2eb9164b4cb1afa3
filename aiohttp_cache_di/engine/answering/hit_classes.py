"""The classes of hits for sessions whose ``response_class`` is the user's own."""

from __future__ import annotations

from typing import Any, cast
from weakref import WeakKeyDictionary

from aiohttp import ClientResponse

from aiohttp_cache_di.response import CachedResponse

__all__ = ["cached_class_for"]


def cached_class_for(response_class: type[ClientResponse]) -> type[CachedResponse]:
    """The class of hits for a session with *response_class*; it derives from that and from `CachedResponse`."""
    if response_class is ClientResponse:
        return CachedResponse
    found = _hit_classes.get(response_class)
    if found is None:
        found = response_class if issubclass(response_class, CachedResponse) else _both(response_class)
        _hit_classes[response_class] = found
    return found


_hit_classes: WeakKeyDictionary[type[ClientResponse], type[CachedResponse]] = WeakKeyDictionary()


def _both(response_class: type[ClientResponse]) -> type[CachedResponse]:
    own_init = response_class.__init__ is not ClientResponse.__init__
    bases: Any = (response_class, CachedResponse)
    return cast("type[CachedResponse]", type(f"Cached{response_class.__name__}", bases, {"_has_own_init": own_init}))
