"""The near tier: decoded entries in memory, believed only while nobody has written the file since.

``PRAGMA data_version`` says in a few microseconds whether any other connection has committed. When one has, the rows
written since (their ids are higher than the highest seen) and the deletions listed since tell which of the
entries in memory are no longer those of the file. What expires goes without being listed; where what went may have been
newer than what is in memory, all of that is forgotten. Our own commits come through another connection, and are
told apart by the ids that they got.
"""

# ruff: noqa: S608  # table names cannot be parameters; ours are constants, or quoted in `Table`
from __future__ import annotations

import contextlib
import math
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Final, NamedTuple

from aiohttp_cache_di.backends.sqlite.files import CacheFile
from aiohttp_cache_di.backends.sqlite.schema import DELETIONS, EXPIRED, Table, unpack_key
from aiohttp_cache_di.backends.sqlite.statements import Deletion
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["Gate", "Tier"]

ENTRY_OVERHEAD_BYTES: Final = 512  # the objects that an entry is made of, beside its texts
MAX_CHANGES: Final = 2000  # rows looked at in one go, some milliseconds; beyond, everything is forgotten instead
MAX_REMEMBERED: Final = 8192
FILE_CHECK_S: Final = 0.5  # how long a file that was deleted or replaced may go unnoticed


class Held(NamedTuple):
    """An entry in memory, and the row that it was read from or written to."""

    entry: StoredResponse
    row_id: int
    weight: int


class Tier:
    """The entries of one table that are in memory, least recently used first.

    Args:
        table: where they come from.
        max_bytes: what they may weigh together; 0 keeps none.
    """

    def __init__(self, table: Table, max_bytes: int) -> None:
        self.table = table
        self.max_bytes = max_bytes
        self.held: OrderedDict[str, Held] = OrderedDict()
        self.last_id = 0
        self._bytes = 0
        self._newest: dict[str, int] = {}
        self._floor = 0
        self._forgot_at = -math.inf

    def put(self, entry: StoredResponse, key: str, row_id: int, begun_at: float) -> None:
        """Keep *entry* unless a newer row of *key*, or its deletion, is known already.

        Args:
            row_id: of the row that it was read from or written to.
            begun_at: time (``time.monotonic``) when reading or writing began.
        """
        if not self.max_bytes or begun_at <= self._forgot_at or row_id <= self._floor:
            return
        weight = entry.size_bytes + ENTRY_OVERHEAD_BYTES
        if weight > self.max_bytes // 8:
            return
        if self._newest.get(key, 0) > row_id:
            return
        before = self.held.pop(key, None)
        if before is not None:
            self._bytes -= before.weight
        self.held[key] = Held(entry, row_id, weight)
        self._bytes += weight
        while self._bytes > self.max_bytes:
            _, dropped = self.held.popitem(last=False)
            self._bytes -= dropped.weight

    def wrote(self, first_id: int, last_id: int) -> None:
        """Take note of rows that we have written: if none but ours are new, there is nothing to look at."""
        if first_id == self.last_id + 1:
            self.last_id = last_id

    def supersede(self, key: str, row_id: int) -> None:
        """Forget what is held of *key* if it is older than the row *row_id*, and do not take it back."""
        newest = self._newest
        if len(newest) >= MAX_REMEMBERED:
            newest.clear()
            self._forgot_at = time.monotonic()
        newest[key] = max(row_id, newest.get(key, 0))
        held = self.held.get(key)
        if held is not None and held.row_id < row_id:
            self._drop(key)

    def bury(self, key: str, row_id: int) -> None:
        """Forget the deleted row *row_id* of *key*, and do not take it back."""
        self.supersede(key, row_id + 1)

    def bury_upto(self, row_id: int) -> None:
        """Forget all rows up to *row_id*, and do not take them back."""
        self._floor = max(self._floor, row_id)
        for key in [key for key, held in self.held.items() if held.row_id <= row_id]:
            self._drop(key)

    def forget_all(self) -> None:
        """Hold nothing, and take nothing that is being read now."""
        self.held.clear()
        self._bytes = 0
        self._newest.clear()
        self._forgot_at = time.monotonic()

    def _drop(self, key: str) -> None:
        self._bytes -= self.held.pop(key).weight


class Gate:
    """The reading connection, in the loop's own thread, that tells whether what the tiers hold is still true.

    Args:
        file: the database file; one in memory has no gate.
        tiers: what to keep true.
    """

    def __init__(self, file: CacheFile, tiers: list[Tier]) -> None:
        self._file = file
        self._tiers = tiers
        self._identity = file.identity()
        self._file_checked_at = time.monotonic()
        self._connection = file.connect("ro", timeout_s=0)
        self._ask = self._connection.cursor().execute
        self._version = -1
        self._last_n = 0
        self._deletions = f"SELECT n, cache, key, id FROM {DELETIONS} WHERE n > ? ORDER BY n LIMIT ?"
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def is_open(self) -> bool:
        """Whether what the tiers hold now is what the file has; those that are not have been dropped.

        Never waits: when the file cannot be asked, nothing is believed.
        """
        try:
            version = self._ask("PRAGMA data_version").fetchone()[0]
            if version != self._version:
                self._catch_up()
                self._version = version
        except sqlite3.Error:
            self._distrust()
            return False
        now = time.monotonic()
        if now - self._file_checked_at > FILE_CHECK_S:
            self._file_checked_at = now
            if self._file.identity() != self._identity:
                self._distrust()
                return False
        return self._identity is not None

    def deleted(self, deletion: Deletion) -> None:
        """Take note of deletions of our own: if none but ours are new, there is nothing to look at."""
        if deletion.first_n == self._last_n + 1:
            self._last_n = deletion.last_n

    def close(self) -> None:
        """Close the connection."""
        self._identity = None
        with contextlib.suppress(sqlite3.Error):  # nothing was written through it
            self._connection.close()

    def abandon(self) -> None:
        """Never touch the connection again, in a forked child."""
        self._identity = None
        self._connection.abandon()

    def _start(self) -> None:
        self._version = self._ask("PRAGMA data_version").fetchone()[0]
        self._last_n = self._ask(f"SELECT coalesce(max(n), 0) FROM {DELETIONS}").fetchone()[0]
        for tier in self._tiers:
            tier.last_id = self._ask(tier.table.last_id).fetchone()[0] or 0

    def _catch_up(self) -> None:
        seen = {tier: tier.last_id for tier in self._tiers}
        for tier in self._tiers:
            rows = self._ask(tier.table.since, (tier.last_id, MAX_CHANGES)).fetchall()
            if len(rows) == MAX_CHANGES:
                tier.forget_all()
                tier.last_id = self._ask(tier.table.last_id).fetchone()[0] or rows[-1][0]
            elif rows:
                tier.last_id = rows[-1][0]
                for row_id, key in rows:
                    tier.supersede(unpack_key(key), row_id)
        self._catch_up_deletions(seen)

    def _catch_up_deletions(self, seen: Mapping[Tier, int]) -> None:
        deletions = self._ask(self._deletions, (self._last_n, MAX_CHANGES)).fetchall()
        if not deletions:
            return
        if deletions[0][0] != self._last_n + 1:  # older ones have been thrown away unread
            for tier in self._tiers:
                tier.forget_all()
        for _, cache, key, row_id in deletions:
            for tier in self._tiers:
                if tier.table.name != cache:
                    continue
                if key is None:
                    tier.bury_upto(row_id)
                elif key != EXPIRED:
                    tier.bury(unpack_key(key), row_id)
                elif row_id > seen[tier]:
                    tier.forget_all()
        self._last_n = deletions[-1][0]

    def _distrust(self) -> None:
        self._version = -1
        for tier in self._tiers:
            tier.forget_all()
