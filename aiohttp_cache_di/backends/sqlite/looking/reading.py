"""What the reader's thread does for those who look keys up, and for those who ask for leases."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from msgspec import Struct

from aiohttp_cache_di.backends.sqlite.file.failing import DamagedError
from aiohttp_cache_di.backends.sqlite.file.schema import MAX_NUMBER, Key, Table, checked_state, column_key
from aiohttp_cache_di.backends.sqlite.shared.generation import CounterView, Generations
from aiohttp_cache_di.backends.sqlite.shared.leases import Leases
from aiohttp_cache_di.backends.sqlite.writing import statements as jobs
from aiohttp_cache_di.backends.sqlite.writing.softening import softened
from aiohttp_cache_di.backends.store import Found, Lease
from aiohttp_cache_di.entries.codec import UNREADABLE, EntryCodec, Item, Sealed, Unreadable
from aiohttp_cache_di.errors import StorageError

__all__ = ["Answer", "LeaseRequest", "Reading", "Seen", "column_or_none"]

LARGE_BYTES: Final = 64 * 1024  # of a frame: the loop does not wait until more is decoded, some 50 µs


class Seen(Struct, frozen=True, gc=False):
    """What is under a key, for the loop to make an item of: what another thread has made is slow to reach from there.

    Args:
        item: checked, as far as that takes the longer the more there is of it.
        mark: that its row has.
        version: as `Found` has it.
    """

    item: Sealed | Item | Unreadable
    mark: Any
    version: int

    def found(self) -> Found:
        """What it is."""
        item = self.item.open() if isinstance(self.item, Sealed) else self.item
        return Found(item if self.mark is None else softened(item, self.mark), self.version)


Answer: TypeAlias = Seen | Lease | None
"""What was found, or became of the request for a lease; None where there are no locks that could be leases."""


class LeaseRequest(NamedTuple):
    """A lease that is asked for.

    Args:
        looks: only if nothing is under the key; what is there is the answer else.
    """

    key: str
    ttl_s: float
    looks: bool


class Reading:
    """Reads from the table of a cache.

    Args:
        codec: decodes what is read.
        generations: tell of which version it is.
        leases: that are taken.
    """

    def __init__(self, table: Table, codec: EntryCodec, generations: Generations, leases: Leases) -> None:
        self._table = table
        self._codec = codec
        self._generations = generations
        self._leases = leases

    def answer(
        self, keys: Sequence[str], requests: Sequence[LeaseRequest], connection: sqlite3.Connection
    ) -> tuple[list[Seen | None], list[Answer]]:
        """Look up *keys*, and what is asked for so, `MAX_BATCH` together; and take the leases on what is not found."""
        if not requests:
            return self._seen(keys, connection)[0], []
        looking = [request.key for request in requests if request.looks]
        seen, version = self._seen([*keys, *looking], connection)
        answers = self._leased(requests, dict(zip(looking, seen[len(keys) :], strict=True)), version, connection)
        return seen[: len(keys)], answers

    def _leased(
        self,
        requests: Sequence[LeaseRequest],
        found: dict[str, Seen | None],
        version: int,
        connection: sqlite3.Connection,
    ) -> list[Answer]:
        answers: list[Answer] = [found.get(request.key) for request in requests]
        granted: dict[int, str] = {}
        try:
            for place, request in enumerate(requests):
                if answers[place] is None:
                    answers[place] = self._acquire(request)
                    if answers[place]:
                        granted[place] = request.key
            late = [place for place, key in granted.items() if not self._is_unchanged(key, version)]
            self._look_again(requests, late, answers, connection)
        except BaseException:
            for key in granted.values():
                self._leases.release(key)
            raise
        return answers

    def _acquire(self, request: LeaseRequest) -> Lease | None:
        try:
            return Lease(self._leases.acquire(request.key, request.ttl_s))
        except OSError:  # the table serves
            return None

    def _is_unchanged(self, key: str, version: int) -> bool:
        """Whether nothing was stored under *key* after what was seen of that *version*."""
        latest = self._generations.version(key) if version else None
        return latest is not None and latest <= version

    def _look_again(
        self, requests: Sequence[LeaseRequest], late: list[int], answers: list[Answer], connection: sqlite3.Connection
    ) -> None:
        """See whether something was stored before the leases at the places *late* were had."""
        columns = {place: column_or_none(requests[place].key) for place in late}
        there = jobs.stored(connection, self._table, [each for each in columns.values() if each is not None])
        for place, column in columns.items():
            if column not in there:
                continue
            answers[place] = Lease.GRANTED_LATE
            request = requests[place]
            if request.looks:
                (found,), _ = self._seen((request.key,), connection)
                if found is not None:
                    self._leases.release(request.key)
                    answers[place] = found

    def _seen(self, keys: Sequence[str], connection: sqlite3.Connection) -> tuple[list[Seen | None], int]:
        """What is under *keys*, and the version of all that is stored; 0 where that is not known."""
        asked = {column: key for key in keys if (column := column_or_none(key)) is not None}
        if not asked:
            return [None] * len(keys), 0
        view = self._generations.view
        try:
            found, version = self._look_up(asked, view, connection)
        except sqlite3.DataError:  # too big
            found, version = self._look_up_each(asked, view, connection)
        if view is not None and not version:
            self._generations.distrust(view)
        return [found.get(key) for key in keys], version

    def _look_up(
        self, asked: Mapping[Key, str], view: CounterView | None, connection: sqlite3.Connection
    ) -> tuple[dict[str, Seen], int]:
        """What is there of the keys *asked* for, by their columns, and the version of that."""
        check, version = self._codec.check, -1
        item: Sealed | Item | Unreadable
        found: dict[str, Seen] = {}
        rows = _rows(connection, self._table, asked)
        try:
            # Each is checked while the processor has its bytes at hand.
            for number, tie, column, frame, body, mark in rows:
                if version < 0:
                    version = _version(number, tie, view)
                key = asked.get(column)
                if key is not None:
                    item = check(frame, key, body)
                    if isinstance(item, Sealed) and len(frame) > LARGE_BYTES:
                        item = item.open()
                    found[key] = Seen(item, mark, version)
        finally:
            rows.close()  # which else keeps its snapshot for those that follow
        if version < 0:  # a program that knows nothing of us has deleted the row of the generation
            raise DamagedError("the generation is gone")
        return found, version

    def _look_up_each(
        self, asked: Mapping[Key, str], view: CounterView | None, connection: sqlite3.Connection
    ) -> tuple[dict[str, Seen], int]:
        """As `_look_up`, where there is a frame larger than any of ours."""
        version = _version(*checked_state(connection), view)
        found: dict[str, Seen] = {}
        for column, key in asked.items():
            try:
                found |= self._look_up({column: key}, view, connection)[0]
            except sqlite3.DataError:
                found[key] = Seen(UNREADABLE, None, version)
        return found, version


def _version(number: object, tie: object, view: CounterView | None) -> int:
    if type(number) is not int or type(tie) is not int or not 0 <= number < MAX_NUMBER:
        raise DamagedError("the generation is none")
    return 0 if view is None else view.version_at(number, tie)


def _rows(connection: sqlite3.Connection, table: Table, asked: Iterable[Key]) -> sqlite3.Cursor:
    """Those of the keys *asked* for, `MAX_BATCH` at most, that there are; if none is, there is one row without a key.

    Each begins with the generation and the key, and ends in its frame, its body if that is apart, and its mark if any.
    """
    # sqlite3 looks for an adapter of whatever is bytes, which takes as long as to find a row by it.
    keys = [bytearray(key) if type(key) is bytes else key for key in asked]
    if len(keys) == 1:
        return connection.execute(table.get, keys)
    # Few different lengths, so that each statement is prepared once; a repeated key costs next to nothing.
    width = 1 << (len(keys) - 1).bit_length()
    return connection.execute(table.get_many[width], keys + keys[-1:] * (width - len(keys)))


def column_or_none(key: str) -> Key | None:
    """The column of a key; None for one that cannot be stored, and so is not."""
    try:
        return column_key(key)
    except StorageError:
        return None
