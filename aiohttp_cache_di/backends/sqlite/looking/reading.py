"""The jobs that look keys up and take leases, in the reader's thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from msgspec import Struct

from aiohttp_cache_di.backends.sqlite.file.failing import DamagedError
from aiohttp_cache_di.backends.sqlite.file.schema import MAX_NUMBER, Key, Table, checked_state, column_key
from aiohttp_cache_di.backends.sqlite.shared.generation import CounterView, Generations
from aiohttp_cache_di.backends.sqlite.shared.leases import Leases
from aiohttp_cache_di.backends.sqlite.writing import statements
from aiohttp_cache_di.backends.sqlite.writing.softening import softened
from aiohttp_cache_di.backends.store import Found, Lease
from aiohttp_cache_di.entries.codec import EntryCodec, Sealed
from aiohttp_cache_di.entries.items import UNREADABLE, Item, Unreadable
from aiohttp_cache_di.errors import StorageError

__all__ = ["Answer", "LeaseRequest", "Reading", "Seen", "column_or_none"]

LARGE_BYTES: Final = 64 * 1024  # larger frames take more than about 50 µs to decode: not in the loop


class Seen(Struct, frozen=True, gc=False):
    """What is stored under a key, from which the loop makes the item: objects of another thread are slow to reach.

    Args:
        item: checked, and decoded if it is large.
        cutoff: the cutoff of its row; None if it has none.
        version: as in `Found`.
    """

    item: Sealed | Item | Unreadable
    cutoff: Any
    version: int

    def found(self) -> Found:
        """Decode the item."""
        item = self.item.open() if isinstance(self.item, Sealed) else self.item
        return Found(item if self.cutoff is None else softened(item, self.cutoff), self.version)


Answer: TypeAlias = Seen | Lease | None
"""What was found, or whether the lease was granted; None where leases are not locks."""


class LeaseRequest(NamedTuple):
    """A request for a lease.

    Args:
        looks: look the key up first; if something is found, that is the answer and no lease is taken.
    """

    key: str
    ttl_s: float
    looks: bool


class Reading:
    """Reads from the table of a cache.

    Args:
        codec: decodes items.
        generations: give items their versions.
        leases: the leases that are taken.
    """

    def __init__(self, table: Table, codec: EntryCodec, generations: Generations, leases: Leases) -> None:
        self._table = table
        self._codec = codec
        self._generations = generations
        self.leases: Leases = leases

    def look_up(self, keys: Sequence[str], connection: sqlite3.Connection) -> list[Seen | None]:
        """Look up *keys*, at most `MAX_BATCH` of them."""
        return self._seen(keys, connection)[0]

    def answer(self, requests: Sequence[LeaseRequest], connection: sqlite3.Connection) -> list[Answer]:
        """Look up the keys of *requests* (at most `MAX_BATCH`), and take leases on those not found."""
        looking = [request.key for request in requests if request.looks]
        seen, version = self._seen(looking, connection)
        return self._leased(requests, dict(zip(looking, seen, strict=True)), version, connection)

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
                self.leases.release(key)
            raise
        return answers

    def _acquire(self, request: LeaseRequest) -> Lease | None:
        try:
            return Lease(self.leases.acquire(request.key, request.ttl_s))
        except OSError:  # no locks: the store uses the table of leases
            return None

    def _is_unchanged(self, key: str, version: int) -> bool:
        """Whether nothing has been stored under *key* since the snapshot of that *version*."""
        latest = self._generations.version(key) if version else None
        return latest is not None and latest <= version

    def _look_again(
        self, requests: Sequence[LeaseRequest], late: list[int], answers: list[Answer], connection: sqlite3.Connection
    ) -> None:
        """Look up again the keys at the places *late*, which may have been stored before their leases were taken."""
        columns = {place: column_or_none(requests[place].key) for place in late}
        there = statements.stored(connection, self._table, [each for each in columns.values() if each is not None])
        for place, column in columns.items():
            if column not in there:
                continue
            answers[place] = Lease.GRANTED_LATE
            request = requests[place]
            if request.looks:
                (found,), _ = self._seen((request.key,), connection)
                if found is not None:
                    self.leases.release(request.key)
                    answers[place] = found

    def _seen(self, keys: Sequence[str], connection: sqlite3.Connection) -> tuple[list[Seen | None], int]:
        """What is stored under *keys*, and the version of the snapshot; 0 if that is not known."""
        asked = {column: key for key in keys if (column := column_or_none(key)) is not None}
        if not asked:
            return [None] * len(keys), 0
        view = self._generations.view
        try:
            found, version = self._look_up(asked, view, connection)
        except sqlite3.DataError:  # a value is too big
            found, version = self._look_up_each(asked, view, connection)
        if view is not None and not version:
            self._generations.distrust(view)
        return [found.get(key) for key in keys], version

    def _look_up(
        self, asked: Mapping[Key, str], view: CounterView | None, connection: sqlite3.Connection
    ) -> tuple[dict[str, Seen], int]:
        """What is stored under the keys in *asked* (by column), and the version of the snapshot."""
        check, version = self._codec.check, -1
        item: Sealed | Item | Unreadable
        found: dict[str, Seen] = {}
        rows = _rows(connection, self._table, asked)
        try:
            # Each row is checked while its bytes are in the processor's cache.
            for number, tie, column, frame, body, cutoff in rows:
                if version < 0:
                    version = _version(number, tie, view)
                key = asked.get(column)
                if key is not None:
                    item = check(frame, key, body)
                    if isinstance(item, Sealed) and len(frame) > LARGE_BYTES:
                        item = item.open()
                    found[key] = Seen(item, cutoff, version)
        finally:
            rows.close()  # else the connection keeps this snapshot for later statements
        if version < 0:  # another program has deleted the row of the generation
            raise DamagedError("the row of the generation is missing")
        return found, version

    def _look_up_each(
        self, asked: Mapping[Key, str], view: CounterView | None, connection: sqlite3.Connection
    ) -> tuple[dict[str, Seen], int]:
        """As `_look_up`, one key at a time, so that a frame that is too large fails no other key."""
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
        raise DamagedError("the generation has invalid values")
    return 0 if view is None else view.version_at(number, tie)


def _rows(connection: sqlite3.Connection, table: Table, asked: Iterable[Key]) -> sqlite3.Cursor:
    """The rows of the keys *asked* for, at most `MAX_BATCH`; if there are none, one row without a key.

    The columns are number, tie, key, frame, body (None if it is in the frame) and cutoff (None if there is none).
    """
    # sqlite3 searches for an adapter of bytes, but not of a bytearray; the search takes as long as finding the row.
    keys = [bytearray(key) if type(key) is bytes else key for key in asked]
    if len(keys) == 1:
        return connection.execute(table.get, keys)
    # Widths are powers of two, so that there are few statements to prepare; a repeated key costs next to nothing.
    width = 1 << (len(keys) - 1).bit_length()
    return connection.execute(table.get_many[width], keys + keys[-1:] * (width - len(keys)))


def column_or_none(key: str) -> Key | None:
    """The column of a key; None for a key that cannot be stored, and so is not."""
    try:
        return column_key(key)
    except StorageError:
        return None
