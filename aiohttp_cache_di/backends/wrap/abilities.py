"""What a store can do besides, looked for once: when the stack around it is built."""

from __future__ import annotations

# mypy: disable-error-code="type-abstract"
# Each ability is a protocol that can be asked for at run time.
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
from aiohttp_cache_di.backends.store.inspecting import CountingMarks, Measuring, Selecting, Softening
from aiohttp_cache_di.entries.codec import item_leads_on

__all__ = ["Abilities"]

T = TypeVar("T")
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
            leasing=_as(Leasing, store),
            looking_or_leasing=_as(LookingOrLeasing, store),
            immediate=_as(Immediate, store),
            judging=_as(Judging, store),
            peeking=_as(Peeking, store),
            versioned=_as(Versioned, store),
            touching=_as(Touching, store),
            changing=_as(Changing, store),
            expiring=_as(Expiring, store),
            keeping=_as(Keeping, store),
            selecting=_as(Selecting, store),
            measuring=_as(Measuring, store),
            counting_marks=_as(CountingMarks, store),
            softening=_as(Softening, store),
            spooling=_as(Spooling, store),
            kinds=store.kinds if isinstance(store, Sorting) else _by_reading(store),
            events=store.events if isinstance(store, Telling) else StoreEvents(),
        )


def _as(ability: type[T], store: object) -> T | None:
    """*store*, if it has the *ability*; in a function, as type checkers combine what one name is asked in a row."""
    return store if isinstance(store, ability) else None


def _by_reading(store: Store) -> Kinds:
    """How the kinds are told of a store that has no cheaper way."""

    async def kinds(keys: Sequence[str]) -> Sequence[bool | None]:
        return [
            None if found is None or isinstance(found.item, Unreadable) else item_leads_on(found.item)
            for found in await store.get(keys)
        ]

    return kinds
