"""The optional capabilities of a store, determined once, when the stack around it is built."""

from __future__ import annotations

# mypy: disable-error-code="type-abstract"
# Each capability is a protocol that can be checked at run time.
from collections.abc import Awaitable, Callable, Sequence
from typing import Self, TypeAlias, TypeVar

from msgspec import Struct

from aiohttp_cache_di.backends.store import Store, StoreEvents, Unreadable
from aiohttp_cache_di.backends.store.capabilities import (
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
from aiohttp_cache_di.backends.store.inspecting import Measuring, Selecting, Softening
from aiohttp_cache_di.entries.codec import item_leads_on

__all__ = ["Abilities"]

T = TypeVar("T")
Kinds: TypeAlias = Callable[[Sequence[str]], Awaitable[Sequence[bool | None]]]


class Abilities(Struct, frozen=True, eq=False):
    """The store as each of the capability protocols that it satisfies; None for the others.

    Args:
        kinds: `Sorting.kinds` of the store, or a substitute that reads the items.
        events: the events of the store; a store that is not `Telling` reports none.
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
    softening: Softening | None
    spooling: Spooling | None
    kinds: Kinds
    events: StoreEvents

    @classmethod
    def of(cls, store: Store) -> Self:
        """Determine the capabilities of *store*."""
        return cls(
            leasing=_if_able(Leasing, store),
            looking_or_leasing=_if_able(LookingOrLeasing, store),
            immediate=_if_able(Immediate, store),
            judging=_if_able(Judging, store),
            peeking=_if_able(Peeking, store),
            versioned=_if_able(Versioned, store),
            touching=_if_able(Touching, store),
            changing=_if_able(Changing, store),
            expiring=_if_able(Expiring, store),
            keeping=_if_able(Keeping, store),
            selecting=_if_able(Selecting, store),
            measuring=_if_able(Measuring, store),
            softening=_if_able(Softening, store),
            spooling=_if_able(Spooling, store),
            kinds=store.kinds if isinstance(store, Sorting) else _by_reading(store),
            events=store.events if isinstance(store, Telling) else StoreEvents(),
        )


def _if_able(ability: type[T], store: object) -> T | None:
    """*store*, if it has the *ability*.

    A function, since type checkers would combine consecutive `isinstance` checks of one name.
    """
    return store if isinstance(store, ability) else None


def _by_reading(store: Store) -> Kinds:
    """A substitute for `Sorting.kinds` that reads the items."""

    async def kinds(keys: Sequence[str]) -> Sequence[bool | None]:
        return [
            None if found is None or isinstance(found.item, Unreadable) else item_leads_on(found.item)
            for found in await store.get(keys)
        ]

    return kinds
