"""The tables of a SQLite cache and the statements on them.

A cache is a rowid table of frames with a unique index over their keys: WITHOUT ROWID is slower with blobs. Besides, the
file has one row, the *generation*: the number of the last commit that changed an entry, and the *tie* to the table in
shared memory that tells other processes of it (`shared.generation`). Each commit of ours that changes entries raises
the number. Triggers change the tie when anything else changes an entry, whichever program does: they run in its SQLite.
"""

# ruff: noqa: S608  # table names cannot be parameters; ours are constants, or quoted in `Table`
from __future__ import annotations

import math
import re
import sqlite3
import time
from typing import Final

from aiohttp_cache_di.backends.sqlite.file.files import DamagedError
from aiohttp_cache_di.backends.store import MARK_PREFIX, SECRET_BYTES
from aiohttp_cache_di.backends.store.inspecting import MAX_INFO_BYTES
from aiohttp_cache_di.errors import StorageError

__all__ = [
    "GENERATION",
    "HEX_DIGITS",
    "KEPT",
    "LEASES",
    "MAX_BATCH",
    "MAX_KEY_BYTES",
    "MAX_NUMBER",
    "META",
    "SCHEMA_VERSION",
    "UPGRADED_VERSION",
    "Key",
    "Table",
    "checked_state",
    "column_key",
    "column_time",
    "fill_schema",
    "keep_secret",
    "kept_secret",
    "now_used",
    "pack_key",
    "unpack_key",
]

SCHEMA_VERSION: Final = 6  # Raise it whenever a table changes.
UPGRADED_VERSION: Final = 5  # whose tables are kept, and get a column for bodies; those of others are dropped

MAX_BATCH: Final = 128  # keys per statement

MAX_NUMBER: Final = 2**47  # commits of one file
MAX_TIE: Final = 2**63 - 2**32  # an id of 31 bits, and changes by programs that know nothing of us

MAX_KEY_BYTES: Final = 1024 * 1024  # keys of ours have 20; users may have others
HEX_DIGITS: Final = 40  # of the keys that `create_key` makes; half as long as bytes

META: Final = '"aiohttp_cache_di"'
KEPT: Final = "\0secret"  # no table's name has a NUL
LEASES: Final = '"aiohttp_cache_di:leases"'
GENERATION: Final = '"aiohttp_cache_di:generation"'


Key = bytes | str
"""A key as a column holds it: the bytes of a digest, or text."""


def pack_key(key: str) -> Key:
    """Make of a key what the column holds."""
    if len(key) == HEX_DIGITS:
        try:
            digest = bytes.fromhex(key)
        except ValueError:
            return key
        if digest.hex() == key:
            return digest
    return key


def column_key(key: str) -> Key:
    """As `pack_key`, for a key that must be found again.

    Raises:
        StorageError: it is not text that UTF-8 can express.
    """
    packed = pack_key(key)
    if isinstance(packed, str):
        try:
            size = len(packed.encode())
        except UnicodeEncodeError as exc:
            raise StorageError(f"the key {key!r} is no text that can be stored") from exc
        if size > MAX_KEY_BYTES:
            raise StorageError(f"a key of {size} bytes is longer than any that is stored")
    return packed


def column_time(until: float) -> int | None:
    """A POSIX time as milliseconds that fit the column; rounded up, so that nothing goes too early; None for never."""
    if until == math.inf:
        return None
    return math.ceil(min(max(until * 1000, -(2.0**47)), 2.0**47))


def now_used() -> int:
    """The time of a use as its column has it: POSIX microseconds, since a fast machine writes ten entries in one ms."""
    return time.time_ns() // 1000


def unpack_key(key: Key) -> str:
    """Make the key again of what the column holds.

    Raises:
        DamagedError: no key of ours.
    """
    if isinstance(key, bytes):
        return key.hex()
    if isinstance(key, str):
        return key
    raise DamagedError(f"a key is of type {type(key).__name__}")


MAX_HEAD_BYTES: Final = 16 * 1024  # of a frame that is read to tell of its row
_FEW_BYTES: Final = f"CASE WHEN length(frame) <= {MAX_HEAD_BYTES} THEN frame END"

_CAPITAL: Final = re.compile("[A-Z^]", re.ASCII)
"""What is written as ``^`` and its small letter, since SQLite takes names for the same that differ in case alone."""


class Table:
    """The statements on the table of one cache.

    Args:
        name: as the user calls it; any text without NUL.
        version: in which it is made.
    """

    def __init__(self, name: str, *, version: int = SCHEMA_VERSION) -> None:
        if not name or "\0" in name:
            raise ValueError(f"table_name={name!r}: give a name of at least one character, without NUL")
        self.name = name
        own = _CAPITAL.sub(lambda letter: f"^{letter[0].lower()}", name)
        quoted = own.replace('"', '""')
        # A prefix keeps clear of tables that others (or other libraries) have in the file.
        self.stored_name: str = f"cache:{own}"
        self.sql: str = f'"cache:{quoted}"'
        self.marks: str = f'"cache-softened:{quoted}"'
        t, marks = self.sql, self.marks
        any_mark = f"(SELECT at FROM {marks} WHERE row = id)"
        mark = f"CASE WHEN id <= softened THEN {any_mark} END"
        has_bodies = version > UPGRADED_VERSION
        body, more = (", body BLOB", ", body") if has_bodies else ("", "")
        changes = _watch(quoted, f"UPDATE OF id, key, store_until, leads_on, info, frame{more}")
        self.create: tuple[str, ...] = (
            # The body comes last, so that a look at the other columns reads few overflow pages. AUTOINCREMENT: what is
            # written while the table is cleared must get a higher id than what is being cleared.
            f"CREATE TABLE {t} (id INTEGER PRIMARY KEY AUTOINCREMENT, key NOT NULL UNIQUE, "
            f"store_until INTEGER, used INTEGER NOT NULL, leads_on INTEGER, info BLOB, frame BLOB NOT NULL{body})",
            f'CREATE INDEX "cache-index:until:{quoted}" ON {t} (store_until) WHERE store_until IS NOT NULL',
            f'CREATE INDEX "cache-index:used:{quoted}" ON {t} (used)',
            f'CREATE INDEX "cache-index:leads_on:{quoted}" ON {t} (leads_on) WHERE leads_on',
            f"CREATE TABLE {marks} (row INTEGER PRIMARY KEY, at REAL NOT NULL)",
            _watch(quoted, "INSERT"),
            changes,
        )
        self.upgrade: tuple[str, ...] = (
            f"ALTER TABLE {t} ADD COLUMN body BLOB",
            f'DROP TRIGGER "cache-trigger:UPDATE:{quoted}"',
            changes,
        )
        self.watch_deletions: str = _watch(quoted, "DELETE")
        self.watch_no_deletions: str = f'DROP TRIGGER IF EXISTS "cache-trigger:DELETE:{quoted}"'
        # and seven marks for each row
        self.put: str = f"INSERT OR REPLACE INTO {t} (key, store_until, used, leads_on, info, frame, body) VALUES "
        # One snapshot has the generation and the row; without a row, the columns after the generation are None.
        found = f"SELECT number, tie, key, frame, body, {mark} FROM {GENERATION} LEFT JOIN {t} ON key"
        self.get: str = f"{found} = ?"
        self.which: str = f"SELECT key FROM {t} WHERE key IN "  # and a list of marks
        self.count: str = f"SELECT count(*) FROM {t}"
        # by the index over keys
        self.count_marks: str = f"SELECT count(*) FROM {t} WHERE key >= '{MARK_PREFIX}' AND key < '{MARK_PREFIX[:-1]};'"
        self.kinds_of: str = f"SELECT key, leads_on FROM {t} WHERE key IN "
        self.count_kinds: str = f"SELECT (SELECT count(*) FROM {t}), (SELECT count(*) FROM {t} WHERE leads_on)"
        self.last_id: str = f"SELECT max(id) FROM {t}"
        self.touch: str = f"UPDATE {t} SET used = ? WHERE key = ?"
        self.keys_first: str = f"SELECT key, leads_on FROM {t} ORDER BY key LIMIT ?"
        self.keys_page: str = f"SELECT key, leads_on FROM {t} WHERE key > ? ORDER BY key LIMIT ?"
        frame, body = (f"CASE WHEN length({each}) <= ? THEN {each} END" for each in ("frame", "body"))
        rows = f"SELECT key, leads_on, {frame}, {body}, {any_mark} FROM {t}"
        self.rows_first: str = f"{rows} ORDER BY key"
        self.rows_page: str = f"{rows} WHERE key > ? ORDER BY key"
        # What is told of a row, and the length of its body if that is its frame, which has no body then.
        info = f"CASE WHEN length(info) <= {MAX_INFO_BYTES} THEN info END"
        told = f"CASE WHEN info IS NULL AND typeof(body) = 'blob' THEN {_FEW_BYTES} ELSE {info} END"
        infos = f"SELECT id, key, {told} AS told, CASE WHEN info IS NULL THEN length(body) END AS bytes FROM {t}"
        self.infos: str = f"{infos} WHERE id > ? ORDER BY id LIMIT ?"
        # and what clues say, a bracket, an order and a limit; a row that says nothing is found, whatever they say
        self.infos_like: str = f"SELECT * FROM ({infos} WHERE id > ? AND id <= ?) WHERE (typeof(told) <> 'blob' OR "
        self.span: str = f"SELECT max(id), count(*) FROM (SELECT id FROM {t} WHERE id > ? ORDER BY id LIMIT ?)"
        head = "CASE WHEN length(frame) <= ? THEN substr(frame, 1, ?) END"
        self.heads_of: str = f"SELECT id, key, {head} FROM {t} WHERE key IN "  # and a list of marks
        self.soften: str = (
            f"INSERT INTO {marks} VALUES (?, ?) ON CONFLICT (row) DO UPDATE SET at = min(at, excluded.at)"
        )
        self.marks_between: str = f"SELECT row, at FROM {marks} WHERE row > ? AND row <= ?"
        self.drop_idle_marks: str = f"DELETE FROM {marks} WHERE row NOT IN (SELECT id FROM {t})"
        self.expired: str = f"SELECT id, key FROM {t} WHERE store_until <= ? ORDER BY store_until, id LIMIT ?"
        self.oldest: str = f"SELECT id, key, length(frame) + ifnull(length(body), 0) FROM {t} ORDER BY used, id LIMIT ?"
        self.upto: str = f"SELECT id FROM {t} WHERE id <= ? ORDER BY id LIMIT ?"
        self.remove_ids: str = f"DELETE FROM {t} WHERE id IN "  # and a list of marks
        self.remove_keys: str = f"DELETE FROM {t} WHERE key IN "  # and a list of marks
        self.remove_upto: str = f"DELETE FROM {t} WHERE id <= ?"
        self.remove_expired: str = (
            f"DELETE FROM {t} WHERE id IN (SELECT id FROM {t} WHERE store_until <= ? ORDER BY store_until, id LIMIT ?)"
        )
        self.empty: str = f"DELETE FROM {t}"
        self.get_many: dict[int, str] = {
            n: f"{found} IN ({', '.join('?' * n)})" for n in (2**power for power in range(MAX_BATCH.bit_length()))
        }


def _watch(quoted: str, event: str) -> str:
    """A trigger that cuts the tie when rows are changed outside of a commit of ours."""
    name = f'"cache-trigger:{event.split()[0]}:{quoted}"'
    return (
        f'CREATE TRIGGER {name} AFTER {event} ON "cache:{quoted}" '
        f"WHEN (SELECT is_ours FROM {GENERATION}) = 0 BEGIN UPDATE {GENERATION} SET tie = tie + 1; END"
    )


def fill_schema(connection: sqlite3.Connection, table: Table, *, is_new: bool) -> None:
    """Make the table of a cache, and if the file *is_new* those of all caches."""
    run = connection.execute
    if is_new:
        run(f"CREATE TABLE {META} (name TEXT PRIMARY KEY, version INTEGER NOT NULL)")
        run(f"CREATE TABLE {LEASES} (key PRIMARY KEY, owner BLOB NOT NULL, until REAL NOT NULL) WITHOUT ROWID")
        run(
            f"CREATE TABLE {GENERATION} (one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER NOT NULL, "
            "tie INTEGER NOT NULL, is_ours INTEGER NOT NULL, softened INTEGER NOT NULL)"
        )
        run(f"INSERT INTO {GENERATION} VALUES (1, 0, 0, 0, 0)")
        run(f"INSERT INTO {META} VALUES ('', ?)", (SCHEMA_VERSION,))
    for statement in (*table.create, table.watch_deletions):
        run(statement)
    run(f"UPDATE {GENERATION} SET tie = tie + 1")  # of rows that were dropped, others may have copies
    run(f"INSERT OR REPLACE INTO {META} VALUES (?, ?)", (table.name, SCHEMA_VERSION))


def checked_state(connection: sqlite3.Connection) -> tuple[int, int]:
    """The number and the tie of the generation.

    Raises:
        DamagedError: there is none, or something else.
    """
    row = connection.execute(f"SELECT number, tie FROM {GENERATION}").fetchone()
    if row is None:
        raise DamagedError("the generation is gone")
    number, tie = row
    if type(number) is not int or type(tie) is not int or not (0 <= number < MAX_NUMBER and 0 <= tie < MAX_TIE):
        raise DamagedError("the generation is none")
    return number, tie


def kept_secret(connection: sqlite3.Connection) -> bytes | None:
    """The secret that the file keeps; None where there is none, or what is none."""
    row = connection.execute(f"SELECT version FROM {META} WHERE name = ?", (KEPT,)).fetchone()
    return row[0] if row and isinstance(row[0], bytes) and len(row[0]) == SECRET_BYTES else None


def keep_secret(connection: sqlite3.Connection, proposed: bytes) -> bytes:
    """The secret that the file keeps; *proposed* if there is none yet."""
    found = kept_secret(connection)
    if found is None:
        connection.execute(f"INSERT OR REPLACE INTO {META} VALUES (?, ?)", (KEPT, proposed))
    return found or proposed
