"""What the reader's thread does for those who look keys up, and for those who ask for leases."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

from aiohttp_cache_di.backends.sqlite.file.failing import DamagedError
from aiohttp_cache_di.backends.sqlite.file.schema import MAX_NUMBER, Key, Table, checked_state, column_key
from aiohttp_cache_di.backends.sqlite.shared.generation import Generations
from aiohttp_cache_di.backends.sqlite.shared.leases import Leases
from aiohttp_cache_di.backends.sqlite.writing import statements as jobs
from aiohttp_cache_di.backends.sqlite.writing.softening import softened
from aiohttp_cache_di.backends.store import Found, Lease
from aiohttp_cache_di.entries.codec import EntryCodec
from aiohttp_cache_di.errors import StorageError

__all__ = ["Answer", "LeaseRequest", "Reading", "column_or_none"]

Answer: TypeAlias = Found | Lease | None
"""What was found, or became of the request for a lease; None where there are no locks that could be leases."""


class Snapshot(NamedTuple):
    """What was found of some keys at one moment.

    Args:
        number: of the last commit before it.
        tie: of the database to its counters.
        rows: each ends in its frame, its body if that is apart, and its mark if it has one.
    """

    number: int
    tie: int
    rows: dict[Key, tuple[Any, ...]]


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
    ) -> tuple[list[Found | None], list[Answer]]:
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
        found: dict[str, Found | None],
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

    def _seen(self, keys: Sequence[str], connection: sqlite3.Connection) -> tuple[list[Found | None], int]:
        """What is under *keys*, and the version of all that is stored; 0 where that is not known."""
        generations = self._generations
        view = generations.view
        columns = [column_or_none(key) for key in keys]
        asked = [column for column in columns if column is not None]
        if not asked:
            return [None] * len(keys), 0
        try:
            number, tie, rows = look_up(connection, self._table, asked)
        except sqlite3.DataError:  # too big
            number, tie, rows = look_up_each(connection, self._table, asked)
        version = 0
        if view is not None:
            version = view.version_at(number, tie)
            if not version:
                generations.distrust(view)
        unpack = self._codec.unpack
        found: list[Found | None] = []
        for key, column in zip(keys, columns, strict=True):
            row = rows.get(column) if column is not None else None
            if row is None:
                found.append(None)
                continue
            item = unpack(row[-3], key, row[-2])
            found.append(Found(item if row[-1] is None else softened(item, row[-1]), version))
        return found, version


def look_up(connection: sqlite3.Connection, table: Table, keys: Sequence[Key]) -> Snapshot:
    """Read the rows of those of *keys*, `MAX_BATCH` at most, that there are."""
    if len(keys) == 1:
        rows = connection.execute(table.get, keys).fetchall()
    else:
        # Few different lengths, so that each statement is prepared once; a repeated key costs next to nothing.
        width = 1 << (len(keys) - 1).bit_length()
        rows = connection.execute(table.get_many[width], [*keys, *[keys[-1]] * (width - len(keys))]).fetchall()
    if not rows:  # a program that knows nothing of us has deleted the row of the generation
        raise DamagedError("the generation is gone")
    number, tie, first, *_ = rows[0]
    if type(number) is not int or type(tie) is not int or not 0 <= number < MAX_NUMBER:
        raise DamagedError("the generation is none")
    return Snapshot(number, tie, {} if first is None else {row[2]: row for row in rows})


def look_up_each(connection: sqlite3.Connection, table: Table, keys: Sequence[Key]) -> Snapshot:
    """As `look_up`, where there is a frame larger than any of ours among those of *keys*: None stands for that."""
    number, tie = checked_state(connection)
    rows: dict[Key, tuple[Any, ...]] = {}
    for key in keys:
        try:
            rows |= look_up(connection, table, (key,)).rows
        except sqlite3.DataError:
            rows[key] = (None, None, None)
    return Snapshot(number, tie, rows)


def column_or_none(key: str) -> Key | None:
    """The column of a key; None for one that cannot be stored, and so is not."""
    try:
        return column_key(key)
    except StorageError:
        return None
