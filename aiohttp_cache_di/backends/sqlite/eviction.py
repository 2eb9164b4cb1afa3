"""Keeping a cache file within its bounds: in the background, in small steps between the writes of others."""

from __future__ import annotations

import asyncio
import math
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

from aiohttp_cache_di.backends.sqlite import statements as jobs
from aiohttp_cache_di.backends.sqlite.connections import Link
from aiohttp_cache_di.backends.sqlite.schema import Key, Table, pack_key, unpack_key
from aiohttp_cache_di.errors import StorageError

__all__ = ["Bounds", "Evictor"]

LOW_WATER: Final = 0.97  # evict down to this share of a bound, so that not every write evicts
EXACT_BELOW: Final = 100  # entries; a bound below it is kept exactly
RECOUNT_S: Final = 1.0  # what other processes have written is counted this often
CHECK_SHARE: Final = 0.005  # of max_bytes may be written between two looks at the file's size
CHUNK_ROWS: Final = 100
TOUCHES_PER_STEP: Final = 500
MAX_TOUCHED: Final = 20_000
FREE_SHARE: Final = 0.08  # of a file's pages may be free before it is made smaller
FREE_PAGES: Final = 512
VACUUM_PAGES: Final = 200  # per step, some ten milliseconds


@dataclass(frozen=True)
class Bounds:
    """What a file may hold: bytes in all tables together, entries in each; None for no bound."""

    max_bytes: int | None
    max_entries: int | None


Evicted: TypeAlias = "dict[Table, list[tuple[int, Key]]]"
Touches: TypeAlias = "list[tuple[Table, str]]"


class Step(NamedTuple):
    """What one step of eviction has done."""

    evicted: Evicted
    counts: dict[Table, int]
    again: bool
    shrinking: bool = False


@dataclass
class Evictor:
    """Watches what is written through one link, and evicts what is too much: expired first, then the least used.

    Args:
        link: where to write.
        bounds: what is allowed.
        on_evicted: told how many entries went.
    """

    link: Link
    bounds: Bounds
    on_evicted: Callable[[Table, int], None]
    touched: dict[Table, set[str]] = field(default_factory=dict[Table, set[str]])
    _written_bytes: int = 0
    _most: float = math.inf  # entries that the fullest table may have by now
    _counted_at: float = -math.inf
    _touches: Touches = field(default_factory=list[tuple[Table, str]])
    _running: bool = False
    _draining: bool = False

    def touch(self, table: Table, key: str) -> None:
        """Remember that *key* was used; written down when it matters, which is when something is evicted."""
        touched = self.touched.get(table)
        if touched is None:
            touched = self.touched[table] = set()
        if len(touched) < MAX_TOUCHED:
            touched.add(key)

    def after_commit(self, rows: int, weight: int) -> None:
        """Look whether a bound may have been passed."""
        self._written_bytes += weight
        self._most += rows
        if rows and not self._running and self._is_due():
            self.run()

    def run(self) -> None:
        """Take a step: the first looks, those that follow evict."""
        self._running = True
        self._written_bytes = 0
        draining = self._draining
        touches = [self._touches.pop() for _ in range(min(len(self._touches), TOUCHES_PER_STEP))]
        more = bool(self._touches)
        try:
            step = self.link.call(lambda connection: self._step(connection, touches, draining=draining, more=more))
        except StorageError:
            self._running = False  # read-only by now: nothing can grow
            return
        step.add_done_callback(self._stepped)

    def _is_due(self) -> bool:
        max_bytes, max_entries = self.bounds.max_bytes, self.bounds.max_entries
        if max_bytes is not None and self._written_bytes >= max_bytes * CHECK_SHARE:
            return True
        if max_entries is None:
            return False
        return self._most > max_entries or self.link.loop.time() - self._counted_at > RECOUNT_S

    def _stepped(self, future: asyncio.Future[Step]) -> None:
        self._running = False
        if future.cancelled() or future.exception() is not None:
            return  # the next commit tries again
        step = future.result()
        self._most = max(step.counts.values(), default=0)
        self._counted_at = self.link.loop.time()
        for table, rows in step.evicted.items():
            tier = self.link.tiers[table]
            for row_id, key in rows:
                tier.bury(unpack_key(key), row_id)
            self.on_evicted(table, len(rows))
        if step.again and not self._draining:
            self._touches = [(table, key) for table, touched in self.touched.items() for key in touched]
            self.touched.clear()
        self._draining = step.again
        if (step.again or step.shrinking) and not (self.link.closing or self.link.closed):
            self.run()

    def tidy(self) -> None:
        """Begin to make the file smaller, after much of it was deleted."""
        if not self._running:
            self.run()

    # ---- in the writer's thread

    def _step(self, connection: sqlite3.Connection, touches: Touches, *, draining: bool, more: bool) -> Step:
        counts = self._counts(connection)
        full = [table for table, count in counts.items() if count > self._most_entries(draining)]
        excess = self._excess_bytes(connection, draining)
        if not (full or excess > 0):
            return Step({}, counts, False, shrink(connection))
        if not draining:
            return Step({}, counts, True)
        now = time.time()
        for table, key in touches:
            connection.execute(table.touch, (int(now * 1000), pack_key(key)))
        if more:  # the order is not known yet
            return Step({}, counts, True)
        evicted: dict[Table, list[tuple[int, Key]]] = {}
        if excess > 0:
            _evict_bytes(connection, list(counts), excess, now, evicted)
        for table in full:
            before = len(evicted.get(table, ()))
            counts[table] -= self._evict_entries(connection, table, counts[table] - before, now, evicted)
        return Step(evicted, counts, bool(evicted))

    def _counts(self, connection: sqlite3.Connection) -> dict[Table, int]:
        if self.bounds.max_entries is None:
            return dict.fromkeys(self.link.tiers, 0)
        return {table: connection.execute(table.count).fetchone()[0] for table in self.link.tiers}

    def _most_entries(self, draining: bool) -> float:
        bound = self.bounds.max_entries
        if bound is None:
            return math.inf
        return int(bound * LOW_WATER) if draining and bound >= EXACT_BELOW else bound

    def _excess_bytes(self, connection: sqlite3.Connection, draining: bool) -> float:
        if self.bounds.max_bytes is None:
            return 0
        used = used_bytes(connection)
        if used <= self.bounds.max_bytes and not draining:
            return 0
        return used - self.bounds.max_bytes * LOW_WATER

    def _evict_entries(
        self, connection: sqlite3.Connection, table: Table, count: int, now: float, evicted: Evicted
    ) -> int:
        wanted = min(count - int(self._most_entries(draining=True)), CHUNK_ROWS)
        if wanted <= 0:
            return 0
        rows: list[tuple[int, Key]] = connection.execute(table.expired, (int(now * 1000), wanted)).fetchall()
        if len(rows) < wanted:
            taken = {row[0] for row in rows}
            oldest = connection.execute(table.oldest, (wanted,)).fetchall()
            rows += [(row_id, key) for _, row_id, key, _ in oldest if row_id not in taken][: wanted - len(rows)]
        jobs.drop_rows(connection, table, rows)
        evicted.setdefault(table, []).extend(rows)
        return len(rows)


def used_bytes(connection: sqlite3.Connection) -> int:
    """How much of the file is in use, indexes and all."""
    pages: int = connection.execute("PRAGMA page_count").fetchone()[0]
    free: int = connection.execute("PRAGMA freelist_count").fetchone()[0]
    size: int = connection.execute("PRAGMA page_size").fetchone()[0]
    return (pages - free) * size


def shrink(connection: sqlite3.Connection) -> bool:
    """Give some of the free pages back when there are many; tell whether there are still."""
    pages: int = connection.execute("PRAGMA page_count").fetchone()[0]
    free: int = connection.execute("PRAGMA freelist_count").fetchone()[0]
    spare = max(FREE_PAGES, int(pages * FREE_SHARE))
    if free <= spare or connection.execute("PRAGMA auto_vacuum").fetchone()[0] != 2:
        return False
    for _ in range(min(VACUUM_PAGES, free - spare)):
        connection.execute("PRAGMA incremental_vacuum(1)")  # sqlite3 stops after the first page of a larger number
    return free - VACUUM_PAGES > spare


def _evict_bytes(
    connection: sqlite3.Connection, tables: list[Table], excess: float, now: float, evicted: Evicted
) -> None:
    for table in tables:
        rows = jobs.drop_expired(connection, table, now)
        if rows:
            evicted.setdefault(table, []).extend(rows)
    if evicted:
        return  # the next step sees how much is left to do
    candidates = [
        (*row, table) for table in tables for row in connection.execute(table.oldest, (CHUNK_ROWS,)).fetchall()
    ]
    candidates.sort(key=lambda row: row[:2])
    freed = 0
    for _, row_id, key, size, table in candidates[:CHUNK_ROWS]:
        evicted.setdefault(table, []).append((row_id, key))
        freed += size
        if freed >= excess:
            break
    for table, rows in evicted.items():
        jobs.drop_rows(connection, table, rows)
