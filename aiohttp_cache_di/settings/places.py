"""The path of the file of ``backend=sqlite`` or of the directory of ``backend=filesystem``.

A configured path is never replaced: if it cannot be written, there is a warning, and the cache works without its store.
The default path is replaced if it cannot be written, by a private directory for temporary files, or else by memory. All
functions read the file system, so an event loop calls them in a thread. A file system may not answer at all, such as
one on a server that is gone; so each path is first looked at in a thread that may be left behind.
"""

from __future__ import annotations

import os
import stat
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from platformdirs import user_cache_path

from aiohttp_cache_di.backends.disk.owned import temporary_directory
from aiohttp_cache_di.errors import ConfigurationError, StorageError

__all__ = ["IN_MEMORY", "Place", "find_directory", "find_place"]

IN_MEMORY: Final = Path(":memory:")
SUFFIX: Final = ".sqlite"
ANSWER_S: Final = 5.0  # for a file system to answer; disks that wake up and busy servers take less


class Place(NamedTuple):
    """The path of the file or directory, or `IN_MEMORY`; and a warning if it is not usable or not the usual one."""

    path: Path
    warning: str | None = None
    is_silent: bool = False
    """Whether its file system did not answer, so that nothing else may be asked about the path."""

    @property
    def is_stand_in(self) -> bool:
        """Whether memory replaces a file."""
        return self.path == IN_MEMORY and self.warning is not None

    @property
    def is_out_of_reach(self) -> bool:
        """Whether what other processes keep at the place that is meant cannot be seen."""
        return self.is_stand_in or self.is_silent


def find_place(given: Path | None, name: str, variable: str, *, is_directory: bool = False) -> Place:
    """Find the place of the database file.

    Args:
        given: the configured path of the file, or of a directory for it; None for the user's cache directory.
        name: the cache's name, after which the file is named.
        variable: the variable that sets the path, for messages.
        is_directory: *given* is a directory even if it does not exist yet.

    Raises:
        ConfigurationError: *given* can never be the path of a file.
    """
    if given is not None:
        return _given_place(given, name, variable, is_directory=is_directory)
    return _default_place(f"{name}{SUFFIX}", variable)


def find_directory(given: Path | None, name: str, variable: str) -> Place:
    """Find the place of a directory of files.

    Args:
        given: the configured path; None for one in the user's cache directory.
        name: the cache's name, after which the directory is named.
        variable: the variable that sets the path, for messages.

    Raises:
        ConfigurationError: *given* can never be the path of a directory.
    """
    if given is None:
        return _default_place(name, variable)
    path = _whole(given, variable)
    if (silence := _silence(path)) is not None:
        return Place(path, _not_kept(silence, variable), is_silent=True)
    if path.exists() and not path.is_dir():
        raise ConfigurationError(f"{variable}={str(given)!r}: {path} is not a directory")
    why = _obstacle(path)
    return Place(path, None if why is None else _not_kept(why, variable))


def _default_place(file_name: str, variable: str) -> Place:
    home = _user_cache_path(file_name)
    why = "there is no home directory" if home is None else _silence(home) or _obstacle(home)
    if home is not None and why is None:
        return Place(home)
    temporary = _temporary_directory()
    if temporary is not None:
        path = temporary / file_name
        where = f"responses are kept in {path}, where they may be deleted"
    else:
        path, where = IN_MEMORY, "responses are kept in the memory of this process"
    return Place(path, f"{why}: {where}; {variable} names another place")


def _given_place(given: Path, name: str, variable: str, *, is_directory: bool) -> Place:
    if given == IN_MEMORY:
        return Place(given)
    path = _whole(given, variable)
    if (silence := _silence(path)) is not None:
        if is_directory or not path.suffix:  # more often a directory than the name of a file without its suffix
            path /= f"{name}{SUFFIX}"
        return Place(path, _not_kept(silence, variable), is_silent=True)
    if is_directory and path.exists() and not path.is_dir():
        raise ConfigurationError(f"{variable}={str(given)!r}: {path} is not a directory")
    if is_directory or path.is_dir():
        path /= f"{name}{SUFFIX}"
    elif not path.suffix:
        path = path.with_name(path.name + SUFFIX)  # as SQLiteBackend does
    if path.is_dir():
        raise ConfigurationError(f"{variable}={str(given)!r}: {path} is a directory")
    why = _obstacle(path)
    return Place(path, None if why is None else _not_kept(why, variable))


def _not_kept(why: str, variable: str) -> str:
    return f"{why}: responses are not kept; {variable} names another place"


def _whole(given: Path, variable: str) -> Path:
    try:
        path = given.expanduser()
    except RuntimeError as exc:
        raise ConfigurationError(
            f"{variable}={str(given)!r}: there is no such home directory; give a whole path"
        ) from exc
    return Path(os.path.abspath(path))


def _user_cache_path(file_name: str) -> Path | None:
    try:
        directory = user_cache_path("aiohttp-cache-di", appauthor=False)
    except (RuntimeError, KeyError):  # the user is not in the password database, and HOME is not set
        return None
    return directory / file_name if directory.is_absolute() else None


def _silence(path: Path) -> str | None:
    """Why nothing may be asked about *path*: its file system does not answer; None if it does, even with an error."""
    answered = threading.Event()

    def look() -> None:
        with suppress(OSError, ValueError):
            os.stat(path)
        answered.set()

    threading.Thread(target=look, name="aiohttp-cache-place", daemon=True).start()
    return None if answered.wait(ANSWER_S) else f"{path} does not answer within {ANSWER_S:g} s"


def _obstacle(path: Path) -> str | None:
    """Why no file can be written at *path*, or in the directory *path*; None if one can."""
    if os.path.isdir(path):
        return None if os.access(path, os.R_OK | os.W_OK | os.X_OK) else _cause(path)
    if os.path.exists(path):
        return None if os.access(path, os.R_OK | os.W_OK) and _is_writable(path.parent) else _cause(path)
    for parent in path.parents:
        try:
            mode = os.stat(parent).st_mode
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as exc:
            return f"{parent} cannot be looked at ({exc.strerror})"
        if not stat.S_ISDIR(mode):
            return f"{parent} is not a directory"
        return None if _is_writable(parent) else _cause(parent)
    return f"{path} has no directory above it"


def _is_writable(directory: Path) -> bool:
    return os.access(directory, os.W_OK | os.X_OK)


def _cause(path: Path) -> str:
    read_only = bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    return f"{path} cannot be written ({'read-only file system' if read_only else 'permission denied'})"


def _temporary_directory() -> Path | None:
    """Our private directory for temporary files; None if there can be none."""
    try:
        directory = Path(temporary_directory())
    except (StorageError, OSError):  # it belongs to another user, or the system has no directory for temporary files
        return None
    return directory if _is_writable(directory) else None
