"""What an error of SQLite means for the file and the connections to it."""

from __future__ import annotations

import sqlite3
from typing import Final, Literal

from aiohttp_cache_di.errors import StorageError

__all__ = [
    "ConnectionsLostError",
    "DamagedError",
    "FullError",
    "LocksRefusedError",
    "asks_for_new_connections",
    "damage_of",
    "forbids_writing",
    "is_corruption",
    "is_damage",
    "is_full",
    "storage_error",
]

# No value of ours is too big for the limit that is set, except frames in look-ups, which handle the error themselves.
_CORRUPTION: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_TOOBIG})
_CANNOT_WRITE: Final = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM})
# Errors that our statements do not cause in our tables, and interrupted jobs: a new connection checks the file anew.
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


class DamagedError(sqlite3.DatabaseError):
    """The file has other contents than this package writes, although SQLite finds nothing wrong with it."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    sqlite_errorname = "SQLITE_CORRUPT"


class FullError(sqlite3.OperationalError):
    """The disk is so full that nothing may be added (`writing.room`)."""

    sqlite_errorcode = sqlite3.SQLITE_FULL
    sqlite_errorname = "SQLITE_FULL"


class LocksRefusedError(sqlite3.OperationalError):
    """The file system has no locks, which to SQLite looks like a file that others hold, or like a broken disk."""

    sqlite_errorcode = sqlite3.SQLITE_BUSY
    sqlite_errorname = "SQLITE_BUSY"

    def __init__(self, error: OSError) -> None:
        super().__init__(
            f"its file system refuses the locks that SQLite needs ({error.strerror}): "
            "keep the file on a local disk, or use the backend filesystem"
        )


class ConnectionsLostError(StorageError):
    """The connections can no longer be used; the operation may be repeated on new ones, once.

    Args:
        reason: what has happened to the file, if that is the cause.
    """

    def __init__(self, message: str, reason: Literal["damaged", "replaced"] | None = None) -> None:
        super().__init__(message)
        self.reason: Literal["damaged", "replaced"] | None = reason


def forbids_writing(error: BaseException) -> bool:
    """Whether *error*, from opening a connection to write, means that the file may still be read."""
    if isinstance(error, OSError) and not isinstance(error, sqlite3.Error):
        return True
    return _code(error) in _CANNOT_WRITE


def asks_for_new_connections(error: BaseException, *, writing: bool) -> bool:
    """Whether *error* calls for new connections, which may work, or find out what is wrong."""
    return _code(error) in _STRANGE or (not writing and _code(error) in _GONE)


def is_damage(error: BaseException) -> bool:
    """Whether *error*, or its cause, says that the file is damaged."""
    return is_corruption(error) or is_corruption(error.__cause__)


def damage_of(error: BaseException) -> DamagedError | None:
    """A `DamagedError` for *error* if that says that the file is damaged; for reports on a file that is not renamed."""
    if not is_corruption(error):
        return None
    damage = DamagedError(f"the file is damaged: {error}")
    damage.__cause__ = error
    return damage


def is_corruption(error: BaseException | None) -> bool:
    """Whether *error* says that the file is damaged, not ours, or no database at all."""
    if isinstance(error, UnicodeDecodeError):  # SQLite's message names a table whose name is damaged
        return True
    return isinstance(error, sqlite3.DatabaseError) and _code(error) in _CORRUPTION


def is_full(error: BaseException) -> bool:
    """Whether *error* says that the disk is full, or that there are no row ids left."""
    return _code(error) == sqlite3.SQLITE_FULL


def storage_error(error: BaseException, where: str) -> StorageError:
    """A `StorageError` that says what happened and *where*, chained to *error*."""
    said = StorageError(f"{where}: {getattr(error, 'sqlite_errorname', type(error).__name__)}: {error}")
    said.__cause__ = damage_of(error) or error
    return said


def _code(error: BaseException) -> int:
    code: int = getattr(error, "sqlite_errorcode", -1)
    return code & 0xFF if code >= 0 else -1
