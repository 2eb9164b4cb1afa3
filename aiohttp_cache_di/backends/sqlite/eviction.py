"""Eviction keeps a cache file within its bounds: in the background, in small transactions between other writes.

Evicting an entry invalidates the copies of it in memory. Deletions that search the file, such as those of all responses
of a host, do not find it any more, and a copy would be used in spite of them.

The record of a purge has to outlive the entries that it applies to, which may be used again without it. So such records
are evicted only when nothing else is left.
"""

# ruff: noqa: S608  # table names cannot be parameters; ours are quoted in `Table`
from __future__ import annotations

import asyncio
import math
import sqlite3
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, NamedTuple

from aiohttp_cache_di.backends.sqlite.connections import Connections
from aiohttp_cache_di.backends.sqlite.file.schema import USED_LAST, Key, Table, now_used, pack_key, unpack_key
from aiohttp_cache_di.backends.sqlite.writing import statements
from aiohttp_cache_di.backends.sqlite.writing.writes import Transaction
from aiohttp_cache_di.backends.store.sizes import Bounds
from aiohttp_cache_di.errors import StorageError

__all__ = ["Evictor", "Uses", "used_bytes"]

RECOUNT_S: Final = 1.0  # interval of counting entries, since other processes write them, too
CHECK_SHARE: Final = 0.005  # share of max_bytes that may be written between two checks of the file's size
CHUNK_ROWS: Final = 100
TOUCHES_PER_STEP: Final = 500
MAX_TOUCHED: Final = 20_000
FREE_SHARE: Final = 0.08  # share of a file's pages that may be free before it is vacuumed
FREE_PAGES: Final = 512
VACUUM_PAGES: Final = 200  # per step, which takes about ten milliseconds


class Uses:
    """The keys that were used lately, in any loop; written to the file only when something is to be evicted."""

    __slots__ = ("_keys",)

    def __init__(self) -> None:
        self._keys: set[str] = set()

    def touch(self, key: str) -> None:
        """Remember that *key* was used."""
        keys = self._keys
        if len(keys) < MAX_TOUCHED:
            keys.add(key)

    def touch_all(self, keys: Iterable[str]) -> None:
        """Remember that *keys* were used."""
        if len(self._keys) < MAX_TOUCHED:
            self._keys.update(keys)

    def take(self) -> list[str]:
        """The keys that were used since the last call."""
        keys, self._keys = self._keys, set()
        return list(keys)


class Step(NamedTuple):
    """The outcome of one step of eviction.

    Args:
        evicted: how many entries were deleted.
        left: how many entries the table has now.
        again: another step is needed to get below the bounds.
        shrinking: another step is needed to give free pages back.
    """

    evicted: int
    left: int
    again: bool
    shrinking: bool = False


@dataclass
class Evictor:
    """Evicts entries when the writes of one loop's connections may have exceeded a bound.

    Expired entries are evicted first, then the least recently used.

    Args:
        connections: where to write.
        bounds: the limits: bytes of all tables together, entries of each table.
        uses: the keys used lately, to be written down before the least recently used entries are chosen.
        on_evicted: called with the number of evicted entries.
    """

    connections: Connections
    bounds: Bounds
    uses: Uses
    on_evicted: Callable[[int], None]
    _written_bytes: int = 0
    _count_at_most: float = math.inf  # upper bound of the number of entries now
    _counted_at: float = -math.inf
    _touches: list[str] = field(default_factory=list[str])
    _running: bool = False
    _draining: bool = False

    def after_commit(self, rows: int, weight: int) -> None:
        """Begin a step if a bound may have been exceeded."""
        self._written_bytes += weight
        self._count_at_most += rows
        if rows and not self._running and self._is_due():
            self.run()

    def run(self) -> None:
        """Take a step: the first one measures, the following ones evict."""
        self._running = True
        self._written_bytes = 0
        draining = self._draining
        touches = [self._touches.pop() for _ in range(min(len(self._touches), TOUCHES_PER_STEP))]
        more = bool(self._touches)
        try:
            step = self.connections.call(
                lambda transaction: self._step(transaction, touches, draining=draining, more=more)
            )
        except StorageError:
            self._running = False  # the file is read-only now and cannot grow
            return
        step.add_done_callback(self._stepped)

    def tidy(self) -> None:
        """Begin to shrink the file after many entries were deleted."""
        if not self._running:
            self.run()

    def _is_due(self) -> bool:
        max_bytes, max_entries = self.bounds.max_bytes, self.bounds.max_entries
        if max_bytes is not None and self._written_bytes >= max_bytes * CHECK_SHARE:
            return True
        if max_entries is None:
            return False
        return self._count_at_most > max_entries or self.connections.loop.time() - self._counted_at > RECOUNT_S

    def _stepped(self, future: asyncio.Future[Step]) -> None:
        self._running = False
        if future.cancelled() or future.exception() is not None:
            return  # the next commit tries again
        step = future.result()
        self._count_at_most = step.left
        self._counted_at = self.connections.loop.time()
        if step.evicted:
            self.on_evicted(step.evicted)
        if step.again and not self._draining:
            self._touches = self.uses.take()
        self._draining = step.again
        if (step.again or step.shrinking) and not (self.connections.closing or self.connections.closed):
            self.run()

    # ---- in the writer's thread

    def _step(self, transaction: Transaction, touches: list[str], *, draining: bool, more: bool) -> Step:
        connection, table = transaction.connection, transaction.table
        count = self._count(connection, table)
        excess_bytes = self._excess_bytes(connection, draining)
        most = self.bounds.low_entries if draining else self.bounds.max_entries
        if (most is None or count <= most) and excess_bytes <= 0:
            return Step(0, count, False, shrink(connection))
        if not draining:
            return Step(0, count, True)
        used = now_used()
        touch = f"UPDATE {table.sql} SET used = ? WHERE key = ? AND used < {USED_LAST}"
        connection.executemany(touch, ((used, pack_key(key)) for key in touches))
        if more:  # not all uses are written down: the order of entries is not known yet
            return Step(0, count, True)
        change = transaction.changing()
        keys = _evict_bytes(connection, table, excess_bytes, time.time()) if excess_bytes > 0 else []
        keys += self._evict_entries(connection, table, count - len(keys), time.time())
        change.invalidate(map(unpack_key, keys))
        return Step(len(keys), count - len(keys), bool(keys))

    def _count(self, connection: sqlite3.Connection, table: Table) -> int:
        if self.bounds.max_entries is None:
            return 0
        return statements.count_shown(connection, table)

    def _excess_bytes(self, connection: sqlite3.Connection, draining: bool) -> float:
        if self.bounds.max_bytes is None:
            return 0
        used = used_bytes(connection)
        if used <= self.bounds.max_bytes and not draining:
            return 0
        return used - self.bounds.low_bytes

    def _evict_entries(self, connection: sqlite3.Connection, table: Table, count: int, now: float) -> list[Key]:
        wanted = min(count - self.bounds.low_entries, CHUNK_ROWS)
        if wanted <= 0:
            return []
        rows = dict(statements.expired(connection, table, now, int(wanted)))
        if len(rows) < wanted:
            oldest = {row_id: key for row_id, key, _ in _oldest(connection, table, int(wanted)) if row_id not in rows}
            rows |= islice(oldest.items(), int(wanted) - len(rows))
        statements.drop_rows(connection, table, list(rows))
        return list(rows.values())


def used_bytes(connection: sqlite3.Connection) -> int:
    """The bytes of all pages in use, including indexes."""
    pages: int = connection.execute("PRAGMA page_count").fetchone()[0]
    free: int = connection.execute("PRAGMA freelist_count").fetchone()[0]
    size: int = connection.execute("PRAGMA page_size").fetchone()[0]
    return (pages - free) * size


def shrink(connection: sqlite3.Connection) -> bool:
    """Give some free pages back to the file system if there are many; return whether many are left."""
    pages: int = connection.execute("PRAGMA page_count").fetchone()[0]
    free: int = connection.execute("PRAGMA freelist_count").fetchone()[0]
    spare = max(FREE_PAGES, int(pages * FREE_SHARE))
    if free <= spare or connection.execute("PRAGMA auto_vacuum").fetchone()[0] != 2:
        return False
    for _ in range(min(VACUUM_PAGES, free - spare)):
        connection.execute("PRAGMA incremental_vacuum(1)")  # sqlite3 stops after the first page of a larger number
    return free - VACUUM_PAGES > spare


def _evict_bytes(connection: sqlite3.Connection, table: Table, excess: float, now: float) -> list[Key]:
    expired = statements.drop_expired(connection, table, now)
    if expired:
        return expired  # the next step measures again
    freed = 0
    rows: dict[int, Key] = {}
    for row_id, key, size in _oldest(connection, table, CHUNK_ROWS):
        rows[row_id] = key
        freed += size
        if freed >= excess:
            break
    statements.drop_rows(connection, table, list(rows))
    return list(rows.values())


def _oldest(connection: sqlite3.Connection, table: Table, most: int) -> list[tuple[int, Key, int]]:
    """Ids, keys and sizes of the least recently used rows, the oldest first; records of purges if no other is left."""
    size = "length(frame) + ifnull(length(body), 0)"
    rows: list[tuple[int, Key, int]] = []
    for wanted in (f"NOT {statements.IS_MARK}", statements.IS_MARK):
        sql = f"SELECT id, key, {size} FROM {table.sql} WHERE {wanted} ORDER BY used, id LIMIT ?"
        rows = connection.execute(sql, (most,)).fetchall()
        if rows:
            break
    return rows
