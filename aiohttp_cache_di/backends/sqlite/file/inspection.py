"""Checks that a file has our tables, and nothing else under their names, before any other statement of ours runs.

A SQLite file contains SQL: a view in place of a table, a trigger or a computed column runs whenever we read or write.
So the schema of everything that has one of our names or belongs to one of our tables must be, word for word, what
SQLite records in a fresh database in which we have made these tables. Tables of other programs in the file are ignored.
"""

# ruff: noqa: S608  # table names cannot be parameters; ours are constants, or quoted in `Table`
from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from functools import lru_cache
from typing import Final, NamedTuple

from aiohttp_cache_di.backends.sqlite.file.failing import DamagedError, is_corruption, is_full
from aiohttp_cache_di.backends.sqlite.file.schema import (
    GENERATION,
    KEPT,
    LEASES,
    META,
    SCHEMA_VERSION,
    Table,
    checked_state,
    fill_schema,
)
from aiohttp_cache_di.errors import StorageError

__all__ = ["damage_in", "is_prepared", "prepare_tables"]

MAX_TABLES: Final = 10_000  # caches in one file
MAX_ROW_ID: Final = 2**62  # SQLite has no id left after 2**63 - 1
_SEQUENCES: Final = "CREATE TABLE sqlite_sequence(name,seq)"


class _SchemaItem(NamedTuple):
    """A table, index, view or trigger: a row of ``sqlite_master``."""

    type: str
    name: str
    table: str
    sql: str | None


def is_prepared(connection: sqlite3.Connection, table: Table) -> bool:
    """Whether the file has our tables, of this schema version.

    Raises:
        DamagedError: the file has something else under their names.
    """
    if connection.in_transaction:
        return _is_prepared(connection, table)
    connection.execute("BEGIN")  # one snapshot for all that is read
    try:
        found = _is_prepared(connection, table)
    except BaseException:
        with suppress(sqlite3.Error):  # after a disk error SQLite has rolled back by itself
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
    return found


def prepare_tables(connection: sqlite3.Connection, table: Table, *, newer_are_in_use: bool = False) -> None:
    """Make the missing tables, and drop those of another schema version; call it in a transaction.

    Tables of a newer version that are in use stay. Otherwise two releases that use one file during an upgrade would
    drop each other's tables again and again, and neither would have a hit.

    Raises:
        StorageError: the tables are of a newer version, and *newer_are_in_use*.
    """
    if _is_prepared(connection, table):
        return
    shared, own = _expected_schema(table.name)
    found = _read_schema(connection)
    versions = _versions(connection) if _folded(META) in found else {}
    if newer_are_in_use and (newer := versions.get("", 0)) > SCHEMA_VERSION:
        raise StorageError(
            f"the file is in use by a newer release, whose tables are kept (version {newer}, here {SCHEMA_VERSION}): "
            "end the processes of one of the two releases, or give each a file of its own"
        )
    if versions.get("") != SCHEMA_VERSION:
        tables = [Table(name) for name in versions if name and "\0" not in name]
        old = [name for each in tables for name in (each.sql, each.cutoffs)] + [LEASES, GENERATION, META]
        versions = {}
    else:
        old = [table.sql, table.cutoffs] if table.name in versions else []
    for name in old:
        _drop(connection, found, name)
    left = _read_schema(connection)
    if versions:
        _require_exactly(left, shared)
    _require_absent(left, {**own, **({} if versions else shared)})
    fill_schema(connection, table, is_new=not versions)


def damage_in(error: Exception, connection: sqlite3.Connection, table: Table) -> Exception | None:
    """The damage of the file that *error* reports; None if it reports something else."""
    if is_corruption(error):
        return error
    if is_full(error):
        with suppress(sqlite3.Error):  # if it cannot be told, *error* means a full disk
            if _is_used_up(connection, table):
                return DamagedError("there are no row ids left")
    return None


def _is_used_up(connection: sqlite3.Connection, table: Table) -> bool:
    """Whether there are no row ids left: another program's doing, since ours would need longer than a machine lasts."""
    (last,) = connection.execute(f"SELECT max(id) FROM {table.sql}").fetchone()
    own = connection.execute("SELECT sql FROM main.sqlite_master WHERE name = 'sqlite_sequence'").fetchone()
    if own != (_SEQUENCES,):
        raise DamagedError("sqlite_sequence is not SQLite's own table")
    sequence = connection.execute(
        "SELECT max(seq) FROM sqlite_sequence WHERE name = ?", (table.stored_name,)
    ).fetchone()
    return any(_exceeds(each) for each in (last, *sequence))


def _exceeds(number: object) -> bool:
    return number is not None and (type(number) is not int or number > MAX_ROW_ID)


def _is_prepared(connection: sqlite3.Connection, table: Table) -> bool:
    shared, own = _expected_schema(table.name)
    found = _read_schema(connection)
    if _folded(META) not in found:
        _require_absent(found, {**shared, **own})
        return False
    _require_exactly(found, {name: item for name, item in shared.items() if _folded(item.table) == _folded(META)})
    versions = _versions(connection)
    if versions.get("") != SCHEMA_VERSION:
        return False
    _require_exactly(found, shared)
    checked_state(connection)
    if table.name not in versions:
        _require_absent(found, own)
        return False
    if versions[table.name] != SCHEMA_VERSION:
        return False
    _require_exactly(found, own)
    if _is_used_up(connection, table):
        raise DamagedError("there are no row ids left")
    return True


def _versions(connection: sqlite3.Connection) -> dict[str, int]:
    rows = connection.execute(
        f"SELECT name, version FROM {META} WHERE name IS NOT ? LIMIT {MAX_TABLES}", (KEPT,)
    ).fetchall()
    if len(rows) == MAX_TABLES or not all(type(name) is str and type(version) is int for name, version in rows):
        raise DamagedError("the list of tables has invalid rows")
    return dict(rows)


def _read_schema(connection: sqlite3.Connection) -> dict[str, list[_SchemaItem]]:
    """The file's schema, by the table that each row belongs to."""
    found: dict[str, list[_SchemaItem]] = {}
    for row in connection.execute("SELECT type, name, tbl_name, sql FROM main.sqlite_master"):
        if not all(type(each) is str for each in row[:3]):
            raise DamagedError("the schema has invalid rows")
        item = _SchemaItem(*row)
        found.setdefault(_folded(item.table), []).append(item)
    return found


def _require_exactly(found: dict[str, list[_SchemaItem]], ours: dict[str, _SchemaItem]) -> None:
    """Check that the tables of *ours* are as we make them, and that nothing else belongs to them."""
    tables = {_folded(item.table) for item in ours.values()}
    there = [item for name in tables for item in found.get(name, ())]
    if len(there) != len(ours) or set(there) != set(ours.values()):
        raise DamagedError("the cache's tables, indexes or triggers have been altered")


def _require_absent(found: dict[str, list[_SchemaItem]], ours: dict[str, _SchemaItem]) -> None:
    """Check that nothing has one of the names of *ours*."""
    names = set(ours)
    if any(_folded(item.name) in names for items in found.values() for item in items):
        raise DamagedError("other tables, views or triggers have the names of the cache's")


def _drop(connection: sqlite3.Connection, found: dict[str, list[_SchemaItem]], name: str) -> None:
    """Drop the table *name* (quoted), with its indexes and triggers."""
    for item in found.get(_folded(name), ()):
        if _folded(item.name) == _folded(name):
            if item.type != "table" or "VIRTUAL" in str(item.sql).split("(")[0].upper():
                raise DamagedError("something that is not a table has the name of a cache's table")
            connection.execute(f"DROP TABLE {name}")


def _folded(name: str) -> str:
    """A name, quoted or not, as SQLite compares it: ASCII letters in lower case."""
    if name.startswith('"'):
        name = name[1:-1].replace('""', '"')
    return name.encode("utf-8", "surrogateescape").lower().decode("utf-8", "surrogateescape")


@lru_cache(maxsize=64)
def _expected_schema(name: str) -> tuple[dict[str, _SchemaItem], dict[str, _SchemaItem]]:
    """The schema that SQLite records for the tables of all caches, and for those of the cache *name*."""
    table = Table(name)
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        fill_schema(connection, table, is_new=True)
        found = _read_schema(connection)
    own = {_folded(item.name): item for name in (table.sql, table.cutoffs) for item in found[_folded(name)]}
    shared = [_folded(each) for each in (META, LEASES, GENERATION)]
    return {_folded(item.name): item for each in shared for item in found[each]}, own
