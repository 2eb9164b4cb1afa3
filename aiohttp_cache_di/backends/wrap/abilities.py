"""What a store can do besides, looked for once: when the stack around it is built."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Self, TypeAlias

from msgspec import Struct

from aiohttp_cache_di.backends.capabilities import (
    Changing,
    Expiring,
    Immediate,
    Judging,
    Keeping,
    Leasing,
    LookingOrLeasing,
    Peeking,
    Sorting,
    Spooling,
    Telling,
    Touching,
    Versioned,
)
from aiohttp_cache_di.backends.inspecting import CountingMarks, Measuring, Selecting, Softening
from aiohttp_cache_di.backends.store import Store, StoreEvents, Unreadable
from aiohttp_cache_di.entries.codec import item_leads_on

__all__ = ["Abilities"]

Kinds: TypeAlias = Callable[[Sequence[str]], Awaitable[Sequence[bool | None]]]


class Abilities(Struct, frozen=True, eq=False):
    """The store, as each of the protocols that it satisfies; None where it does not.

    Args:
        kinds: as `Sorting.kinds`, of every store.
        events: where it tells of what happens in it; nothing is told there by a store that is not `Telling`.
    """

    leasing: Leasing | None
    looking_or_leasing: LookingOrLeasing | None
    immediate: Immediate | None
    judging: Judging | None
    peeking: Peeking | None
    versioned: Versioned | None
    touching: Touching | None
    changing: Changing | None
    expiring: Expiring | None
    keeping: Keeping | None
    selecting: Selecting | None
    measuring: Measuring | None
    counting_marks: CountingMarks | None
    softening: Softening | None
    spooling: Spooling | None
    kinds: Kinds
    events: StoreEvents

    @classmethod
    def of(cls, store: Store) -> Self:
        """Look for what *store* can do."""
        return cls(
            leasing=store if isinstance(store, Leasing) else None,
            looking_or_leasing=_looking_or_leasing(store),
            immediate=store if isinstance(store, Immediate) else None,
            judging=store if isinstance(store, Judging) else None,
            peeking=store if isinstance(store, Peeking) else None,
            versioned=store if isinstance(store, Versioned) else None,
            touching=store if isinstance(store, Touching) else None,
            changing=store if isinstance(store, Changing) else None,
            expiring=store if isinstance(store, Expiring) else None,
            keeping=store if isinstance(store, Keeping) else None,
            selecting=store if isinstance(store, Selecting) else None,
            measuring=store if isinstance(store, Measuring) else None,
            counting_marks=store if isinstance(store, CountingMarks) else None,
            softening=store if isinstance(store, Softening) else None,
            spooling=store if isinstance(store, Spooling) else None,
            kinds=store.kinds if isinstance(store, Sorting) else _by_reading(store),
            events=store.events if isinstance(store, Telling) else StoreEvents(),
        )


def _looking_or_leasing(store: Store) -> LookingOrLeasing | None:
    """The store, if it does both at once and has each item in one piece."""
    return store if isinstance(store, LookingOrLeasing) and store.limits.value_bytes is None else None


def _by_reading(store: Store) -> Kinds:
    """How the kinds are told of a store that has no cheaper way."""

    async def kinds(keys: Sequence[str]) -> Sequence[bool | None]:
        return [
            None if found is None or isinstance(found.item, Unreadable) else item_leads_on(found.item)
            for found in await store.get(keys)
        ]

    return kinds
