"""Whether a copy in memory is still what the file has: one comparison, without a statement.

Each commit that changes entries has a number, which the database stores. While a writer holds the database's write
lock, just before it commits, it sets the counters of the keys that it changes to that number, in memory that all
processes share (`counters`). A reader gets rows and the number of the last commit from one snapshot. A copy that was
read at number g is valid while the counter of its key is g or less. If a writer dies between setting counters and
committing, other processes read these keys once more, and nothing else happens.

Counters become void in these cases, and these are the means by which processes notice::

    the database refers to another file of counters (its *tie*)    each read and each commit compares the tie
    a program that does not know of counters changes rows          triggers change the tie
    the file of counters, or the database, is gone, replaced
    or truncated; a table was dropped                              a check finds out, within `CHECK_S`

Copies are used only within `CHECK_S` of a successful check. Checks run in the reader's thread, and only while versions
are asked for. The versions of `SQLiteStore` are commit numbers plus a *base* that grows each time the counters become
void, so that all earlier versions are lower than later ones.
"""

from __future__ import annotations

import itertools
import sqlite3
import threading
import time
from collections.abc import Iterable
from time import monotonic
from typing import Final
from zlib import crc32

from aiohttp_cache_di.backends.forks import note_forks
from aiohttp_cache_di.backends.sqlite.file.files import CacheFile
from aiohttp_cache_di.backends.sqlite.file.schema import GENERATION, checked_state
from aiohttp_cache_di.backends.sqlite.shared.beside import identity_at
from aiohttp_cache_di.backends.sqlite.shared.counters import ALL, STRIPES, CounterFile, stripe_of

__all__ = ["CHECK_EVERY_S", "CHECK_S", "Commit", "CounterView", "Generations", "UntiedError"]

CHECK_S: Final = 0.5  # how long counters are trusted after a check
CHECK_EVERY_S: Final = 0.2
MANY: Final = STRIPES // 4  # a commit that changes more stripes counts as one that changes all
BASE_BITS: Final = 48  # the low bits of a version, for the number of a commit; the base is above them
ID_BITS: Final = 32  # the low bits of a tie, for the count of changes by other programs; the file's id is above them
MASK: Final = STRIPES - 1

_BEGIN: Final = f"UPDATE {GENERATION} SET number = ?, is_ours = 1"  # noqa: S608  # a constant
_END: Final = f"UPDATE {GENERATION} SET is_ours = 0"  # noqa: S608
_TIE: Final = f"UPDATE {GENERATION} SET tie = ?"  # noqa: S608

_bases = itertools.count(1)


class UntiedError(Exception):
    """Raised in a transaction: no file of counters can be made, while other processes still trust the one they have."""


class CounterView:
    """The counters and their base, from one voiding of the counters to the next.

    Args:
        file: the file of counters.
        tie: the tie of the database to that file.
        schema: SQLite's schema version of the database, which changes when a table is dropped.
    """

    __slots__ = ("base", "counters", "file", "good_until", "schema", "tie")

    def __init__(self, file: CounterFile, tie: int, schema: int) -> None:
        self.file: CounterFile = file
        self.tie: int = tie
        self.schema: int = schema
        self.counters: memoryview[int] = file.counters
        self.base: int = next(_bases) << BASE_BITS
        self.good_until: float = 0.0  # by `time.monotonic`

    def version_at(self, number: int, tie: int) -> int:
        """The version of rows from a snapshot with this *number* and *tie*; 0 if it is not known."""
        return self.base + number if tie == self.tie else 0


class Generations:
    """The generations of one database, for all loops and threads of this process.

    Args:
        file: the database file; one in memory has none.
    """

    def __init__(self, file: CacheFile) -> None:
        self._file = file
        self.after_fork()
        self.is_wanted: bool = False
        """Whether a version has been asked for since the last check."""
        self.is_untied: bool = False
        """Whether no file of counters can be made, and other processes have had the time to notice that."""
        note_forks(self)

    def after_fork(self) -> None:
        """Begin without a view: at first, and in a forked child."""
        self._lock = threading.Lock()  # a thread of the parent may have held the old one
        self._counters: CounterFile | None = None
        self.view: CounterView | None = None

    def version(self, key: str) -> int | None:
        """The highest version that *key* can have now, from shared memory; None if that is not known."""
        view = self.view
        self.is_wanted = True
        if view is None or monotonic() > view.good_until:
            return None
        counters = view.counters
        try:
            number, of_all = counters[crc32(key.encode()) & MASK], counters[ALL]
        except UnicodeEncodeError:  # such a key cannot be stored
            return None
        return view.base + (number if number > of_all else of_all)

    def distrust(self, view: CounterView | None = None) -> None:
        """Let no copy be used until the next check.

        Args:
            view: distrust only this view, which was found to be void; None for any.
        """
        with self._lock:
            if view is None or self.view is view:
                self.view = None
            if view is None:
                self._counters = None

    # ---- in a connection's thread

    def check(self, connection: sqlite3.Connection) -> bool:
        """Check that the counters are still valid, or find the present ones; return whether there are any."""
        begun = monotonic()
        self.is_wanted = False
        _, tie = checked_state(connection)
        schema = _schema(connection)
        counters = self._found(tie)
        if counters is None:
            self.distrust(self.view)
            return False
        self._view_of(counters, tie, schema).good_until = begun + CHECK_S
        return True

    def begin(self, connection: sqlite3.Connection) -> Commit:
        """Begin to change entries, in a transaction that holds the write lock.

        Raises:
            UntiedError: roll back, call `untie`, and begin the transaction again.
        """
        number, tie = checked_state(connection)
        counters = None if self.is_untied and not tie >> ID_BITS else self._for_writing(connection, tie)
        if counters is not None and counters.id != tie >> ID_BITS:
            tie = counters.id << ID_BITS
            connection.execute(_TIE, (tie,))
        connection.execute(_BEGIN, (number + 1,))
        if counters is None:
            return Commit(connection, number + 1, None)
        view = self.view
        if view is None or view.file is not counters or view.tie != tie:
            view = self._view_of(counters, tie, _schema(connection))
        return Commit(connection, number + 1, view)

    def untie(self, connection: sqlite3.Connection) -> None:
        """Cut the tie, since this process cannot set counters, and wait until no other process trusts its own."""
        connection.execute(_TIE, (0,))  # commits by itself
        self.distrust()
        time.sleep(CHECK_S)
        self.is_untied = True

    def _for_writing(self, connection: sqlite3.Connection, tie: int) -> CounterFile | None:
        if self._file.is_memory:
            return None
        counters = self._held(tie)
        if counters is None or not counters.may_write:
            counters = self._opened(tie)
            if counters is None or not counters.may_write:
                try:
                    counters = CounterFile.create(self._path, self._file.path)
                except OSError as exc:
                    raise UntiedError from exc
            self._counters = counters
        self.is_untied = False
        return counters

    def _found(self, tie: int) -> CounterFile | None:
        """The file of counters that *tie* refers to, if it is in its place."""
        counters = self._held(tie)
        if counters is None or identity_at(self._path) != counters.identity:
            self._counters = counters = self._opened(tie)
        return counters

    def _held(self, tie: int) -> CounterFile | None:
        counters = self._counters
        return counters if counters is not None and counters.id == tie >> ID_BITS and counters.is_whole() else None

    def _opened(self, tie: int) -> CounterFile | None:
        counters = None if self._file.is_memory else CounterFile.open(self._path)
        return counters if counters is not None and counters.id == tie >> ID_BITS else None

    def _view_of(self, counters: CounterFile, tie: int, schema: int) -> CounterView:
        """The view of *counters*: the present one, or a new one if that is void."""
        with self._lock:
            view = self.view
            if view is None or (view.file, view.tie, view.schema) != (counters, tie, schema):
                view = self.view = CounterView(counters, tie, schema)
            return view

    @property
    def _path(self) -> str:
        return self._file.beside("-generations")


def _schema(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA schema_version").fetchone()[0]
    return version


class Commit:
    """A transaction that changes entries.

    Args:
        number: the number of the commit.
        view: the counters to set; None if there are none.
    """

    __slots__ = ("_connection", "_stripes", "number", "view")

    def __init__(self, connection: sqlite3.Connection, number: int, view: CounterView | None) -> None:
        self.number: int = number
        self.view: CounterView | None = view
        self._connection = connection
        self._stripes: set[int] = set()

    @property
    def version(self) -> int:
        """The version of what the transaction writes; 0 if that is not known."""
        return 0 if self.view is None else self.view.base + self.number

    def invalidate(self, keys: Iterable[str]) -> None:
        """Invalidate copies of *keys* with this commit."""
        self._stripes.update(map(stripe_of, keys))

    def invalidate_all(self) -> None:
        """Invalidate all copies with this commit."""
        self._stripes.add(ALL)

    def publish(self) -> None:
        """Set the counters that other processes read, just before the commit itself."""
        self._connection.execute(_END)
        if self.view is not None:
            self.view.file.set([ALL] if len(self._stripes) > MANY else self._stripes, self.number)
