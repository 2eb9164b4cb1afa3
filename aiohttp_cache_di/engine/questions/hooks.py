"""Where a user's own methods have a say: looked for once per revision of a backend."""

from __future__ import annotations

from msgspec import Struct

from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.backends.configured import LOOKING_UP, accept_all

__all__ = ["Hooks"]

_MEMO = "_engine_hooks"  # among the attributes of the backend, so that they go together


class Hooks(Struct, frozen=True):
    """What the methods and settings of one backend decide that are not the library's own.

    Args:
        revision: of the backend.
        makes_keys: ``create_key`` is the user's.
        makes_rules: so is ``create_cache_actions``.
        answers: so is ``request``.
        looks_up: so is ``request`` or ``get_response``.
        saves: so is ``save_response``.
        filters: there is a ``filter_fn``.
        tags: there is a ``tag_fn``.
        judges_entries: a filter, ``tag_fn``, ``is_cacheable`` or ``save_response`` has a say in what is stored, or how.
    """

    revision: int
    makes_keys: bool
    makes_rules: bool
    answers: bool
    looks_up: bool
    saves: bool
    filters: bool
    tags: bool
    judges_entries: bool

    @classmethod
    def of(cls, backend: CacheBackend) -> Hooks:
        """Those of *backend* as it is now."""
        memo = vars(backend)
        hooks: Hooks | None = memo.get(_MEMO)
        if hooks is None or hooks.revision != backend.revision:
            memo[_MEMO] = hooks = _look(backend)
        return hooks

    @property
    def judges_hits(self) -> bool:
        """Whether one of them has a say in what is served."""
        return self.filters or self.makes_rules or self.looks_up


def _look(backend: CacheBackend) -> Hooks:
    own, filters, tags = backend.overridden, backend.filter_fn is not accept_all, backend.tag_fn is not None
    return Hooks(
        revision=backend.revision,
        makes_keys="create_key" in own,
        makes_rules="create_cache_actions" in own,
        answers="request" in own,
        looks_up=not own.isdisjoint(LOOKING_UP),
        saves="save_response" in own,
        filters=filters,
        tags=tags,
        judges_entries=filters or tags or not own.isdisjoint({"is_cacheable", "save_response"}),
    )
