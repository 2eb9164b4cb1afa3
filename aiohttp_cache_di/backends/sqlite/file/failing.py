"""What an error of SQLite's says of a file and of the connections to it."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import Final, Literal

from aiohttp_cache_di.backends.sqlite.file.files import CacheFile, DamagedError, Identity, is_corruption
from aiohttp_cache_di.backends.sqlite.file.inspection import is_used_up
from aiohttp_cache_di.backends.sqlite.file.opening import open_for_writing
from aiohttp_cache_di.backends.sqlite.file.schema import Table
from aiohttp_cache_di.backends.sqlite.file.thread import JobConnection
from aiohttp_cache_di.errors import StorageError

__all__ = [
    "ConnectionsLostError",
    "asks_for_new_connections",
    "damage_in",
    "damage_of",
    "forbids_writing",
    "is_damage",
    "open_writer",
    "set_aside",
]

_CANNOT_WRITE: Final = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM})
# What statements of ours do not come to in tables of ours, and what takes too long: a new connection looks at all anew.
_STRANGE: Final = frozenset(
    {
        sqlite3.SQLITE_ERROR,
        sqlite3.SQLITE_SCHEMA,
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_AUTH,
    }
)
_GONE: Final = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOTFOUND})


class ConnectionsLostError(StorageError):
    """The connections are of no more use; what was asked of them may be asked of new ones, once.

    Args:
        reason: what has become of the file, if that is why.
    """

    def __init__(self, message: str, reason: Literal["damaged", "replaced"] | None = None) -> None:
        super().__init__(message)
        self.reason: Literal["damaged", "replaced"] | None = reason


def forbids_writing(error: BaseException) -> bool:
    """Whether *error*, of a connection that was to write, leaves a file that may still be read."""
    if isinstance(error, OSError) and not isinstance(error, sqlite3.Error):
        return True
    return _code(error) in _CANNOT_WRITE


def asks_for_new_connections(error: BaseException, *, writing: bool) -> bool:
    """Whether a new connection may find things in order, or will say what is wrong."""
    return _code(error) in _STRANGE or (not writing and _code(error) in _GONE)


def is_damage(error: BaseException) -> bool:
    """Whether *error* comes of a damaged file, one that cannot be set aside included."""
    return is_corruption(error) or is_corruption(error.__cause__)


def damage_of(error: BaseException) -> DamagedError | None:
    """The damage that *error* tells of, in words for people who look at a file that stays where it is."""
    if not is_corruption(error):
        return None
    damage = DamagedError(f"the file is damaged: {error}")
    damage.__cause__ = error
    return damage


def damage_in(error: Exception, connection: sqlite3.Connection, table: Table) -> Exception | None:
    """The damage that *error* tells of, in a connection's thread; None where it tells of something else."""
    if is_corruption(error):
        return error
    if _code(error) == sqlite3.SQLITE_FULL:  # as SQLite says, too, when there are no row ids left
        with contextlib.suppress(sqlite3.Error):
            if is_used_up(connection, table):
                return DamagedError("there are no row ids left")
    return None


def set_aside(file: CacheFile, identity: Identity | None) -> StorageError:
    """Rename a damaged file, in a connection's thread; return what is to be said of it."""
    try:
        file.set_aside(identity)
    except StorageError as exc:
        return exc
    return ConnectionsLostError(f"{file.path} was damaged", "damaged")


def open_writer(file: CacheFile, table: Table, *, fast_save: bool, max_bytes: int | None) -> JobConnection:
    """As `open_for_writing`; a file that turns out to be damaged is set aside.

    Raises:
        ConnectionsLostError: it was.
    """
    try:
        return open_for_writing(file, table, fast_save=fast_save, max_bytes=max_bytes)
    except (sqlite3.DatabaseError, UnicodeDecodeError) as exc:
        if is_corruption(exc):
            raise set_aside(file, file.identity()) from exc
        raise


def _code(error: BaseException) -> int:
    code: int = getattr(error, "sqlite_errorcode", -1)
    return code & 0xFF if code >= 0 else -1
