"""The SQLite file of an aiohttp-client-cache, opened read-only."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from aiohttp_cache_di.backends.disk.owned import is_trusted_user
from aiohttp_cache_di.errors import ConfigurationError, StorageError

__all__ = ["OlderFile", "OlderRow", "is_older"]

READ_AT_A_TIME: Final = 32  # rows, whose bodies are in memory together
BUSY_TIMEOUT_S: Final = 5.0  # the service that owned it may still be writing
# A pickle ends with a full stop. A signed value is a pickle, a full stop and 27 characters without one.
_SIGNED: Final = """
    SELECT EXISTS (
        SELECT 1 FROM responses
        WHERE typeof(value) = 'blob' AND substr(value, -1) <> x'2e' AND substr(value, -28, 1) = x'2e'
            AND instr(substr(value, -27), x'00') = 0 AND CAST(substr(value, -27) AS TEXT) NOT GLOB '*[^A-Za-z0-9_-]*'
    )
"""
_ROWS: Final = """
    SELECT rowid, length(value), CASE WHEN typeof(value) = 'blob' AND length(value) <= ? THEN value END
    FROM responses WHERE rowid > ? ORDER BY rowid LIMIT ?
"""


class OlderRow(NamedTuple):
    """One stored response.

    Attributes:
        value: the stored bytes; None if they are too many, or the value is not bytes.
    """

    number: int
    size_bytes: int
    value: bytes | None


class OlderFile:
    """A file of an aiohttp-client-cache; to be used by one thread at a time.

    Args:
        name: the path of the file.
        max_bytes: the largest value that is read.

    Raises:
        ConfigurationError: there is no such file, or it is not of that library.
        StorageError: the file belongs to another user, or cannot be read.
    """

    def __init__(self, name: str, max_bytes: int) -> None:
        self.path: Path = Path(name)
        self._max_bytes = max_bytes
        scheme, is_address, _ = name.partition("://")
        if is_address:  # it may contain a password
            raise ConfigurationError(f"{scheme}://…: only a SQLite file can be imported, not what is on a server")
        self._check_owner()
        with self._connection() as connection:
            if not _has_responses(connection):
                raise ConfigurationError(f"{name} is not a cache of aiohttp-client-cache: it has no table of responses")
            self.count: int = int(connection.execute("SELECT count(*) FROM responses").fetchone()[0])
            self.is_signed: bool = bool(connection.execute(_SIGNED).fetchone()[0])

    def rows_after(self, number: int) -> list[OlderRow]:
        """The next rows after row *number*; none at the end."""
        with self._connection() as connection:
            return [OlderRow(*row) for row in connection.execute(_ROWS, (self._max_bytes, number, READ_AT_A_TIME))]

    def _check_owner(self) -> None:
        try:
            status = os.stat(self.path)
        except OSError as exc:
            raise ConfigurationError(f"{self.path}: it cannot be read ({exc.strerror})") from exc
        if not stat.S_ISREG(status.st_mode):
            raise ConfigurationError(f"{self.path}: it is not a file")
        if not is_trusted_user(status.st_uid):
            raise StorageError(f"{self.path} belongs to another user (uid {status.st_uid}), so it is not read")

    @contextmanager
    def _connection(self) -> Generator[sqlite3.Connection]:
        try:
            with _opened(self.path, BUSY_TIMEOUT_S) as connection:
                yield connection
        except sqlite3.NotSupportedError as exc:
            raise StorageError(f"{self.path}: {exc}") from exc
        except sqlite3.Error as exc:
            is_other = getattr(exc, "sqlite_errorcode", 0) == sqlite3.SQLITE_NOTADB
            kind = ConfigurationError if is_other else StorageError
            raise kind(f"{self.path}: it cannot be read ({exc})") from exc


def is_older(path: Path) -> bool:
    """Whether *path* is a file of an aiohttp-client-cache in which this package has stored nothing yet."""
    try:
        if not is_trusted_user(os.stat(path).st_uid):
            return False
        with _opened(path, 0) as connection:
            return _has_responses(connection) and not any(map(_is_ours, _kinds(connection)))
    except (sqlite3.Error, OSError, UnicodeDecodeError):  # what is wrong with the file is told by the command itself
        return False


@contextmanager
def _opened(path: Path, timeout_s: float) -> Generator[sqlite3.Connection]:
    """A connection to read an untrusted file."""
    uri = f"{path.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=timeout_s)) as connection:
        connection.execute("PRAGMA trusted_schema = OFF")  # definitions in the file must not call functions
        connection.execute("PRAGMA cell_size_check = ON")
        yield connection


def _kinds(connection: sqlite3.Connection) -> dict[str, str]:
    return dict(connection.execute("SELECT name, type FROM sqlite_schema").fetchall())


def _has_responses(connection: sqlite3.Connection) -> bool:
    """Whether the file has that library's table of responses."""
    columns = [row[1] for row in connection.execute("PRAGMA table_info(responses)")]
    return _kinds(connection).get("responses") == "table" and columns == ["key", "value"]


def _is_ours(name: str) -> bool:
    return name.startswith("aiohttp_cache_di")
