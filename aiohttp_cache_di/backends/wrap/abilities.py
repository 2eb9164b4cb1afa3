"""What a store can do besides, looked for once: when the stack around it is built."""

from __future__ import annotations

from typing import Self

from msgspec import Struct

from aiohttp_cache_di.backends.store import (
    Changing,
    Expiring,
    Immediate,
    Keeping,
    Leasing,
    Peeking,
    Store,
    StoreEvents,
    Telling,
    Touching,
    Versioned,
)

__all__ = ["Abilities"]


class Abilities(Struct, frozen=True, eq=False):
    """The store, as each of the protocols that it satisfies; None where it does not.

    Args:
        events: where it tells of what happens in it; nothing is told there by a store that is not `Telling`.
    """

    leasing: Leasing | None
    immediate: Immediate | None
    peeking: Peeking | None
    versioned: Versioned | None
    touching: Touching | None
    changing: Changing | None
    expiring: Expiring | None
    keeping: Keeping | None
    events: StoreEvents

    @classmethod
    def of(cls, store: Store) -> Self:
        """Look for what *store* can do."""
        return cls(
            leasing=store if isinstance(store, Leasing) else None,
            immediate=store if isinstance(store, Immediate) else None,
            peeking=store if isinstance(store, Peeking) else None,
            versioned=store if isinstance(store, Versioned) else None,
            touching=store if isinstance(store, Touching) else None,
            changing=store if isinstance(store, Changing) else None,
            expiring=store if isinstance(store, Expiring) else None,
            keeping=store if isinstance(store, Keeping) else None,
            events=store.events if isinstance(store, Telling) else StoreEvents(),
        )
