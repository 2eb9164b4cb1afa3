"""What an error of SQLite's says of a file and of the connections to it."""

from __future__ import annotations

import sqlite3
from typing import Final, Literal

from aiohttp_cache_di.errors import StorageError

__all__ = [
    "ConnectionsLostError",
    "DamagedError",
    "asks_for_new_connections",
    "damage_of",
    "forbids_writing",
    "is_corruption",
    "is_damage",
    "is_full",
    "storage_error",
]

# Too big is what a statement of ours finds where nothing of ours is, but for the frames that a look-up asks for.
_CORRUPTION: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_TOOBIG})
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


class DamagedError(sqlite3.DatabaseError):
    """What is in the file is not what we have put there, although SQLite finds nothing wrong with it."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    sqlite_errorname = "SQLITE_CORRUPT"


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


def is_corruption(error: BaseException | None) -> bool:
    """Whether *error* says that the file is damaged, not ours, or no database at all."""
    if isinstance(error, UnicodeDecodeError):  # the message would name a table whose name is damaged
        return True
    return isinstance(error, sqlite3.DatabaseError) and _code(error) in _CORRUPTION


def is_full(error: BaseException) -> bool:
    """Whether *error* says that the disk is full, or that there are no row ids left."""
    return _code(error) == sqlite3.SQLITE_FULL


def storage_error(error: BaseException, where: str) -> StorageError:
    """Say what happened *where*."""
    said = StorageError(f"{where}: {getattr(error, 'sqlite_errorname', type(error).__name__)}: {error}")
    said.__cause__ = damage_of(error) or error
    return said


def _code(error: BaseException) -> int:
    code: int = getattr(error, "sqlite_errorcode", -1)
    return code & 0xFF if code >= 0 else -1
