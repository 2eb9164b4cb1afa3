"""Capabilities of a store for operators: listing and measuring records without reading their bodies.

If a store does not have them, all records are read, a page at a time.
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
"""Size of the largest packed info that is stored beside a record; without it, a listing reads the item."""

Wanted: TypeAlias = Callable[[EntryInfo], bool]
"""Returns whether an entry is selected; may be called in any thread."""


class Clue(Struct, frozen=True):
    """A necessary condition: the packed info (`entries.info.pack_info`) of each selected entry contains one of *texts*.

    Args:
        any_case: ignore the case of ASCII letters; *texts* are in lower case.
    """

    texts: tuple[bytes, ...]
    any_case: bool = False


class Selection:
    """A test for entries, with clues by which a store can exclude most others without decoding them.

    Args:
        test: decides whether an entry is selected.
        clues: conditions that the packed info of each selected entry meets; others may meet them, too.
    """

    __slots__ = ("clues", "test")

    def __init__(self, test: Wanted, clues: tuple[Clue, ...] = ()) -> None:
        self.test: Wanted = test
        self.clues: tuple[Clue, ...] = clues

    def __call__(self, info: EntryInfo) -> bool:
        return self.test(info)

    def having(self, also: Wanted) -> Selection:
        """The selection of the entries that also pass *also*."""
        test = self.test
        return Selection(lambda info: also(info) and test(info), self.clues)


class InfoRow(NamedTuple):
    """A record in a listing without bodies.

    Args:
        info: None if the record has no packed info, so that its item has to be read.
    """

    key: str
    info: EntryInfo | None


class Purged(Struct, frozen=True):
    """What a purge has deleted or made stale, or would.

    Attributes:
        entries: number of entries.
        bytes: total size of their bodies.
        is_whole: whether all entries have been counted. Purges by tag make entries unusable at once, then count and
            delete them for a limited time, and delete the rest in the background, if the store can list them.
    """

    entries: int = 0
    bytes: int = 0
    is_whole: bool = True


class Usage(Struct, frozen=True):
    """How much is stored.

    Attributes:
        entries: number of responses, including redirects, without internal records such as those of purges.
        bytes_in_use: size of all records, including internal ones, if the store can tell; else of the entries' bodies.
        bytes_on_disk: size of the files, including those that others share; None if there are no local files.
    """

    entries: int
    bytes_in_use: int
    bytes_on_disk: int | None = None


@runtime_checkable
class Selecting(Protocol):
    """Finds records by their info, without reading their bodies."""

    def infos(self, wanted: Wanted) -> AsyncIterator[Sequence[InfoRow]]:
        """Iterate over the records that are *wanted*, and over those without info, a page at a time.

        Like `Store.pages`. If *wanted* is a `Selection`, its clues may be used first.
        """
        ...


@runtime_checkable
class Softening(Protocol):
    """Makes responses stale in place, without reading and writing their bodies."""

    async def soften(self, keys: Sequence[str], at: float) -> Collection[str]:
        """Limit the freshness of the responses under *keys* to *at* (POSIX time); missing ones are no error.

        Returns:
            Those of *keys* whose items the store cannot change, since only the user's code can read them.
        """
        ...


@runtime_checkable
class Measuring(Protocol):
    """Knows the size of its contents."""

    async def usage(self) -> Usage:
        """How much is stored."""
        ...


def packed_info(record: Record) -> bytes | None:
    """The packed info to store beside *record*, for listings; None if its item has to be read for them."""
    if record.info is not None:
        return record.info
    if not isinstance(record.item, StoredResponse):
        return None
    info = pack_info(info_of(record.item))
    return info if len(info) <= MAX_INFO_BYTES else None
