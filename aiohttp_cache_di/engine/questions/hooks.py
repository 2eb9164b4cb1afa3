"""Which of the user's own methods and functions take part in caching: found once per revision of a backend."""

from __future__ import annotations

from msgspec import Struct

from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.backends.configured import LOOKING_UP, accept_all

__all__ = ["Hooks"]

_MEMO = "_engine_hooks"  # an attribute of the backend, so that both are freed together


class Hooks(Struct, frozen=True):
    """Which methods of one backend the user overrides, and which functions are given.

    Args:
        revision: the backend's revision when they were found.
        makes_keys: ``create_key`` is overridden.
        makes_rules: ``create_cache_actions`` is overridden.
        answers: ``request`` is overridden.
        looks_up: ``request`` or ``get_response`` is overridden.
        saves: ``save_response`` is overridden.
        filters: there is a ``filter_fn``.
        tags: there is a ``tag_fn``.
        judges_entries: ``filter_fn``, ``tag_fn``, ``is_cacheable`` or ``save_response`` has to be called with each
            response before it is stored.
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
        """The hooks of *backend* at its present revision."""
        memo = vars(backend)
        hooks: Hooks | None = memo.get(_MEMO)
        if hooks is None or hooks.revision != backend.revision:
            memo[_MEMO] = hooks = _look(backend)
        return hooks

    @property
    def judges_hits(self) -> bool:
        """Whether one of them takes part in answering from the store."""
        return self.filters or self.makes_rules or self.looks_up


def _look(backend: CacheBackend) -> Hooks:
    revision = backend.revision  # before what it stands for, which another thread may change meanwhile
    own, filters, tags = backend.overridden, backend.filter_fn is not accept_all, backend.tag_fn is not None
    return Hooks(
        revision=revision,
        makes_keys="create_key" in own,
        makes_rules="create_cache_actions" in own,
        answers="request" in own,
        looks_up=not own.isdisjoint(LOOKING_UP),
        saves="save_response" in own,
        filters=filters,
        tags=tags,
        judges_entries=filters or tags or not own.isdisjoint({"is_cacheable", "save_response"}),
    )
