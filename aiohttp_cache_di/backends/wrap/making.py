"""`make_stack`: a store and the stack around it, from the options of a backend or a storage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from aiohttp_cache_di.backends.options.values import NearArguments, near_arguments, of_backend, refuse_unusable
from aiohttp_cache_di.backends.store import Store
from aiohttp_cache_di.backends.store.sizes import RecordLimit
from aiohttp_cache_di.backends.wrap.stack import StoreStack
from aiohttp_cache_di.entries.codec import EntryCodec

__all__ = ["make_stack"]

MakeStore: TypeAlias = Callable[[EntryCodec, Callable[[], int]], Store]
"""Makes a store; takes the codec of its items, and a function that returns the size of the largest record."""


def make_stack(
    make_store: MakeStore,
    options: Mapping[str, Any],
    *names: str,
    by_users: bool = True,
    near: NearArguments | None = None,
) -> StoreStack:
    """Make a store and a stack around it; nothing is opened yet.

    Args:
        options: options of a backend or a storage; those of the store itself are ignored.
        names: what the entries belong to, such as a cache and a collection; entries that were signed for other names
            are unreadable.
        by_users: whether users may write items directly, which may be larger.
        near: the copies in memory; by default those of the options ``near_tier_s`` and ``near_tier_bytes``.

    Raises:
        ConfigurationError: an option has a value that cannot be used.
    """
    refuse_unusable(of_backend(options))  # the driver's may have the same names
    signing = {name: options[name] for name in ("secret_key", "salt") if name in options}
    codec = EntryCodec(**signing, names=names)
    serializer = options.get("serializer")
    limit = RecordLimit(serializer, by_users=by_users)
    return StoreStack(make_store(codec, limit), codec, serializer, limit=limit, **near or near_arguments(options))
