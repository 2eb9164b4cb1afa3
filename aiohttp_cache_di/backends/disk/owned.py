"""Files that are ours alone: which ones are believed, and how they are made so that no other user can touch them.

A file is believed if it belongs to the user who runs the program, or to root. What belongs to any other user is
refused, links too: they can be put where a cache is expected, or be changed while it is in use. What is ours is made
private, whatever the umask was when it was made. On a system without user ids there is nothing to look at.

A network file system may give what we make to another user (NFS: ``root_squash``, ``all_squash``). There, that user's
files are ours: which user that is, a file tells that is made for it.

All of it asks the file system, so that it belongs into a thread.
"""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from typing import Final

from aiohttp_cache_di.errors import StorageError

__all__ = [
    "OTHERS",
    "OTHERS_WRITE",
    "is_believed",
    "is_ours_alone",
    "make_directories",
    "own",
    "own_directory",
    "real_path",
    "temporary_directory",
    "temporary_directory_path",
    "whole_path",
]

_DIRECTORY: Final = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
MAX_LINKS: Final = 40  # as Linux has it
OTHERS: Final = 0o077  # the permissions of the group and of all others
OTHERS_WRITE: Final = 0o022
_HAS_USERS: Final = hasattr(os, "geteuid")
_MAKE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
_users_there: Final[dict[tuple[int, int], int]] = {}
"""Whose the files are that we make: by file system, and by the user that we are."""


def is_believed(owner: int) -> bool:
    """Whether files of the user *owner* are believed: our own and root's."""
    return not hasattr(os, "geteuid") or owner in (0, os.geteuid())


def is_ours_alone(descriptor: int, status: os.stat_result, directory: int) -> bool:
    """Whether the open file or directory of that *status* is believed; what is ours is made private.

    Args:
        directory: the descriptor of the directory that it is in.
    """
    if not _HAS_USERS:
        return True
    owner, mode = status.st_uid, status.st_mode
    if owner != os.geteuid():
        if owner == 0:  # a directory of root's may be for all, as those are that a container is given
            return not (mode & OTHERS_WRITE and stat.S_ISREG(mode))
        if not _is_us_there(status, directory):
            return False
    if mode & OTHERS:
        with suppress(OSError):  # of a file system that is read-only, or knows no modes
            os.fchmod(descriptor, stat.S_IMODE(mode) & ~OTHERS)
    return True


def _is_us_there(status: os.stat_result, directory: int) -> bool:
    """Whether the file system gives what we make to the owner in *status*, who is none that is believed elsewhere."""
    here = status.st_dev, os.geteuid()
    if here not in _users_there:
        name = f"owner.{os.urandom(8).hex()}.tmp"
        try:
            descriptor = os.open(name, _MAKE, 0o600, dir_fd=directory)
        except OSError:  # we may not write there: then nothing there is ours
            return False
        try:
            made = os.fstat(descriptor)
        finally:
            os.close(descriptor)
            with suppress(OSError):
                os.unlink(name, dir_fd=directory)
        if made.st_dev != status.st_dev:
            return False
        _users_there[here] = made.st_uid
    return _users_there[here] == status.st_uid


def make_directories(path: str) -> None:
    """Make the directory *path* and those above it that are missing, each for its owner alone.

    ``os.makedirs`` asks the umask for all but the last.
    """
    if os.path.isdir(path):
        return
    above = os.path.dirname(path)
    if above != path:
        make_directories(above)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        if not os.path.isdir(path):
            raise


def own(path: str) -> None:
    """Make the file at *path* private, if there is one.

    Raises:
        StorageError: it is another user's, a link or no file at all, or others can write it and that cannot be changed.
    """
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISREG(status.st_mode):
        raise StorageError(f"{path} is {'a link' if stat.S_ISLNK(status.st_mode) else 'no file'}: it is not used")
    if not is_believed(status.st_uid):
        raise StorageError(_anothers(path, status.st_uid))
    if hasattr(os, "geteuid") and status.st_mode & OTHERS:
        _make_private(path, status)


def _make_private(path: str, status: os.stat_result) -> None:
    try:
        if status.st_uid == os.geteuid():
            os.chmod(path, stat.S_IMODE(status.st_mode) & ~OTHERS)
            return
    except OSError:  # a file system that is read-only, or knows no modes
        pass
    if status.st_mode & OTHERS_WRITE:
        raise StorageError(f"{path} can be written by other users, and that cannot be changed: it is not used")


def own_directory(descriptor: int, path: str, *, is_temporary: bool) -> None:
    """See that no other user can write to the open directory at *path*, as far as it is ours.

    Args:
        is_temporary: it is where every user may make directories: it has to be ours, and is made private.

    Raises:
        StorageError: it is another user's; root's, too, where it has to be ours.
    """
    if not hasattr(os, "geteuid"):
        return
    status = os.fstat(descriptor)
    is_ours = status.st_uid == os.geteuid()
    is_refused = is_temporary if is_believed(status.st_uid) else not _is_us_there(status, descriptor)
    if is_refused and not is_ours:
        raise StorageError(_anothers(path, status.st_uid))
    loose = status.st_mode & (OTHERS if is_temporary else OTHERS_WRITE)
    if loose and is_ours:
        with suppress(OSError):  # of a file system that is read-only, or knows no modes
            os.fchmod(descriptor, stat.S_IMODE(status.st_mode) & ~loose)


def real_path(path: str) -> str:
    """The absolute *path* without links; what does not exist need not.

    Raises:
        StorageError: a link on the way is another user's.
    """
    if not hasattr(os, "geteuid"):
        return os.path.realpath(path)
    links = 0
    done, todo = "/", path.split("/")[::-1]
    while todo:
        part = todo.pop()
        if part in ("", "."):
            continue
        if part == "..":
            done = os.path.dirname(done)
            continue
        here = os.path.join(done, part)
        try:
            status = os.lstat(here)
        except OSError:
            return os.path.normpath(os.path.join(here, *todo[::-1]))
        if not stat.S_ISLNK(status.st_mode):
            done = here
            continue
        links += 1
        if links > MAX_LINKS or not is_believed(status.st_uid):
            raise StorageError(_anothers(here, status.st_uid) if links <= MAX_LINKS else f"{path}: links in a circle")
        target = os.readlink(here)
        done = "/" if target.startswith("/") else done
        todo += target.split("/")[::-1]
    return done


def temporary_directory_path() -> str:
    """Where this user's directory for temporary files is; its name can be foreseen, so that processes share it."""
    user = f"-{os.geteuid()}" if hasattr(os, "geteuid") else ""
    return os.path.join(tempfile.gettempdir(), f"aiohttp-cache-di{user}")


def temporary_directory() -> str:
    """This user's directory for temporary files, made if there is none.

    Raises:
        StorageError: another user has made something of that name, or it cannot be made.
    """
    path = temporary_directory_path()
    try:
        with suppress(FileExistsError):
            os.mkdir(path, 0o700)
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            raise StorageError(f"{path} is no directory: it is not used")
        descriptor = os.open(path, _DIRECTORY)
        try:
            own_directory(descriptor, path, is_temporary=True)
        finally:
            os.close(descriptor)
    except OSError as exc:
        raise StorageError(f"{path} cannot be made: {exc.strerror}") from exc
    return path


def _anothers(path: str, owner: int) -> str:
    return (
        f"{path} belongs to the user {owner}, and this program runs as {os.geteuid()}: it is not used; "
        "delete it, or give the cache another place"
    )


def whole_path(name: str) -> str:
    """*name* as an absolute path, ``~`` being a home; a name that is absolute needs no working directory.

    Raises:
        StorageError: there is no such home, as of a user whom the system does not know where HOME is not set.
    """
    if name[:1] == "~":
        name, given = os.path.expanduser(name), name
        if name[:1] == "~":
            raise StorageError(f"{given}: there is no such home directory; give a whole path, or set HOME")
    return os.path.normpath(name) if os.path.isabs(name) else os.path.abspath(name)
