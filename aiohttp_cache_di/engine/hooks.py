"""Where a user's own methods have a say: looked for once per revision of a backend."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from msgspec import Struct

from aiohttp_cache_di.backends.base import CacheBackend, accept_all

__all__ = ["Hooks"]


class Hooks(Struct, frozen=True):
    """What the methods and settings of one backend decide that are not the library's own.

    Args:
        revision: of the backend.
        makes_keys: ``create_key`` is the user's.
        makes_rules: so is ``create_cache_actions``.
        looks_up: so is ``request`` or ``get_response``.
        judges_hits: one of these, or a filter, has a say in what is served.
        judges_entries: a filter, ``is_cacheable`` or ``save_response`` has a say in what is stored.
        saves: ``save_response`` is the user's.
    """

    revision: int
    makes_keys: bool
    makes_rules: bool
    looks_up: bool
    judges_hits: bool
    judges_entries: bool
    saves: bool

    @classmethod
    def of(cls, backend: CacheBackend) -> Hooks:
        """Those of *backend* as it is now."""
        hooks = _known.get(backend)
        if hooks is None or hooks.revision != backend.revision:
            _known[backend] = hooks = _look(backend)
        return hooks


_known: WeakKeyDictionary[CacheBackend, Hooks] = WeakKeyDictionary()


def _look(backend: CacheBackend) -> Hooks:
    own, filters = backend.overridden, backend.filter_fn is not accept_all
    makes_rules, looks_up = "create_cache_actions" in own, not own.isdisjoint({"request", "get_response"})
    return Hooks(
        revision=backend.revision,
        makes_keys="create_key" in own,
        makes_rules=makes_rules,
        looks_up=looks_up,
        judges_hits=filters or makes_rules or looks_up,
        judges_entries=filters or not own.isdisjoint({"is_cacheable", "save_response"}),
        saves="save_response" in own,
    )
