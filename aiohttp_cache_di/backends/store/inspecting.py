"""What a store may be able to tell of its records without their bodies, for operators.

Of a store that has neither protocol, all records are read, a page at a time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from typing import Final, NamedTuple, Protocol, TypeAlias, runtime_checkable

from msgspec import Struct

from aiohttp_cache_di.backends.store.contract import Record
from aiohttp_cache_di.entries.info import EntryInfo, info_of, pack_info
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = [
    "MAX_INFO_BYTES",
    "Clue",
    "CountingMarks",
    "InfoRow",
    "Measuring",
    "Purged",
    "Selecting",
    "Selection",
    "Softening",
    "Usage",
    "Wanted",
    "packed_info",
]

MAX_INFO_BYTES: Final = 4096
"""How much a store keeps beside a record; of one that tells more, the item is read."""

Wanted: TypeAlias = Callable[[EntryInfo], bool]
"""Tells whether an entry is one that is looked for; called in any thread."""


class Clue(Struct, frozen=True):
    """Bytes that the packed info (`entries.info.pack_info`) of each entry has that is looked for: one of *texts*.

    Args:
        any_case: an ASCII letter may be a capital or a small one; *texts* have small ones.
    """

    texts: tuple[bytes, ...]
    any_case: bool = False


class Selection:
    """What tells whether an entry is looked for, with clues by which a store can pass most others over.

    Args:
        test: decides.
        clues: all of which the packed info of each entry has that passes *test*; others may have them too.
    """

    __slots__ = ("clues", "test")

    def __init__(self, test: Wanted, clues: tuple[Clue, ...] = ()) -> None:
        self.test: Wanted = test
        self.clues: tuple[Clue, ...] = clues

    def __call__(self, info: EntryInfo) -> bool:
        return self.test(info)

    def having(self, also: Wanted) -> Selection:
        """Those of which *also* tells that it wants them."""
        test = self.test
        return Selection(lambda info: also(info) and test(info), self.clues)


class InfoRow(NamedTuple):
    """One record met on a walk without bodies.

    Args:
        info: None for a record of which only its item tells anything.
    """

    key: str
    info: EntryInfo | None


class Purged(Struct, frozen=True):
    """What a purge has dropped, or made stale, or would.

    Attributes:
        bytes: of the bodies.
        is_whole: whether that is all of them. Purges by tag count for a moment, while they drop what they have made
            unusable already; what they have not met by then they drop in the background.
    """

    entries: int = 0
    bytes: int = 0
    is_whole: bool = True


class Usage(Struct, frozen=True):
    """How much is stored.

    Attributes:
        entries: responses, redirects included; no records of the cache's own, such as those of purges.
        bytes_in_use: what is stored takes, such records included, as far as the store can tell; else what the bodies of
            the entries take.
        bytes_on_disk: of the files, those that others share included; None where there are none to be seen from here.
    """

    entries: int
    bytes_in_use: int
    bytes_on_disk: int | None = None


@runtime_checkable
class Selecting(Protocol):
    """Finds records by what is told of them, without a look at their bodies."""

    def infos(self, wanted: Wanted) -> AsyncIterator[Sequence[InfoRow]]:
        """Walk over the records that are *wanted*, and those of which nothing is known without their items.

        A page at a time, as `Store.pages` does. Of a `Selection`, the clues may be looked at first.
        """
        ...


@runtime_checkable
class Softening(Protocol):
    """Makes responses stale where they are, so that no body comes to the loop and goes back."""

    async def soften(self, keys: Sequence[str], at: float) -> Collection[str]:
        """Have the responses under *keys* fresh until *at* (POSIX time) at most; what is missing stays so.

        Returns:
            Those of *keys* under which there is something that only its user can read.
        """
        ...


@runtime_checkable
class Measuring(Protocol):
    """Knows how much it holds."""

    async def usage(self) -> Usage:
        """How much that is, records that tell of purges included."""
        ...


@runtime_checkable
class CountingMarks(Protocol):
    """Knows how many of its records tell of purges, without a walk over all."""

    async def count_marks(self) -> int:
        """How many keys are those of `is_mark`."""
        ...


def packed_info(record: Record) -> bytes | None:
    """What a store keeps beside *record*, so that it can be told of without its item; None where only that tells."""
    if record.info is not None:
        return record.info
    if not isinstance(record.item, StoredResponse):
        return None
    info = pack_info(info_of(record.item))
    return info if len(info) <= MAX_INFO_BYTES else None
