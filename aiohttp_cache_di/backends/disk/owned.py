"""Private files: which files are trusted, and how files are created so that no other user can touch them.

A file is trusted if it belongs to the user who runs the program, or to root. Files and symbolic links of any other user
are refused: that user may have put them where a cache is expected, and may change them while it is in use. Our own
files are made private, whatever the umask was when they were created. A system without user ids needs no checks.

A network file system may give files that we create to another user (NFS: ``root_squash``, ``all_squash``). There, that
user's files count as ours; a temporary file shows which user that is.

All of this accesses the file system, so call it in a thread.
"""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from typing import Final

from aiohttp_cache_di.backends.disk.descriptors import NOT_A_LINK
from aiohttp_cache_di.errors import StorageError

__all__ = [
    "OTHERS",
    "OTHERS_WRITE",
    "is_trusted_file",
    "is_trusted_user",
    "make_directories",
    "make_private",
    "real_path",
    "secure_directory",
    "temporary_directory",
    "temporary_directory_path",
    "whole_path",
]

_DIRECTORY: Final = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | NOT_A_LINK
MAX_LINKS: Final = 40  # as in Linux
OTHERS: Final = 0o077  # the permissions of the group and of all others
OTHERS_WRITE: Final = 0o022
_HAS_USERS: Final = hasattr(os, "geteuid")
_MAKE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | NOT_A_LINK
_users_there: Final[dict[tuple[int, int], int]] = {}
"""The owner of files that we create, by file system and by our user id."""


def is_trusted_user(owner: int) -> bool:
    """Whether files of the user *owner* are trusted: our own and root's."""
    return not hasattr(os, "geteuid") or owner in (0, os.geteuid())


def is_trusted_file(descriptor: int, status: os.stat_result, directory: int) -> bool:
    """Whether the open file or directory is trusted; it is made private if it is ours.

    Args:
        descriptor: its descriptor.
        status: its status.
        directory: the descriptor of the directory that contains it.
    """
    if not _HAS_USERS:
        return True
    owner, mode = status.st_uid, status.st_mode
    if owner != os.geteuid():
        if owner == 0:  # root's directory may be open to all, as volumes of containers are
            return not (mode & OTHERS_WRITE and stat.S_ISREG(mode))
        if not _is_our_user_there(status, directory):
            return False
    if mode & OTHERS:
        with suppress(OSError):  # the file system may be read-only, or have no modes
            os.fchmod(descriptor, stat.S_IMODE(mode) & ~OTHERS)
    return True


def _is_our_user_there(status: os.stat_result, directory: int) -> bool:
    """Whether the file system gives files that we create to the owner in *status*, who is neither us nor root."""
    here = status.st_dev, os.geteuid()
    if here not in _users_there:
        name = f"owner.{os.urandom(8).hex()}.tmp"
        try:
            descriptor = os.open(name, _MAKE, 0o600, dir_fd=directory)
        except OSError:  # we may not write there, so nothing there is ours
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
    """Create the directory *path* and missing parents, all private.

    ``os.makedirs`` would apply its mode only to the last one.
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


def make_private(path: str) -> None:
    """Make the file at *path* private, if there is one.

    Raises:
        StorageError: it belongs to another user, is a link or not a regular file, or is writable by others and that
            cannot be changed.
    """
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISREG(status.st_mode):
        raise StorageError(f"{path} is {'a link' if stat.S_ISLNK(status.st_mode) else 'not a file'}: it is not used")
    if not is_trusted_user(status.st_uid):
        raise StorageError(_refusal(path, status.st_uid))
    if hasattr(os, "geteuid") and status.st_mode & OTHERS:
        _remove_permissions(path, status)


def _remove_permissions(path: str, status: os.stat_result) -> None:
    try:
        if status.st_uid == os.geteuid():
            os.chmod(path, stat.S_IMODE(status.st_mode) & ~OTHERS)
            return
    except OSError:  # the file system may be read-only, or have no modes
        pass
    if status.st_mode & OTHERS_WRITE:
        raise StorageError(f"{path} can be written by other users, and that cannot be changed: it is not used")


def secure_directory(descriptor: int, path: str, *, is_temporary: bool) -> None:
    """Make sure that no other user can write to the open directory at *path*, if it is ours.

    Args:
        descriptor: its descriptor.
        is_temporary: its parent is writable by every user: so it has to be ours, and is made private.

    Raises:
        StorageError: it belongs to another user; with *is_temporary*, also if to root.
    """
    if not hasattr(os, "geteuid"):
        return
    status = os.fstat(descriptor)
    is_ours = status.st_uid == os.geteuid()
    is_refused = is_temporary if is_trusted_user(status.st_uid) else not _is_our_user_there(status, descriptor)
    if is_refused and not is_ours:
        raise StorageError(_refusal(path, status.st_uid))
    loose = status.st_mode & (OTHERS if is_temporary else OTHERS_WRITE)
    if loose and is_ours:
        with suppress(OSError):  # the file system may be read-only, or have no modes
            os.fchmod(descriptor, stat.S_IMODE(status.st_mode) & ~loose)


def real_path(path: str) -> str:
    """The absolute *path* with all links resolved; parts of it may be missing.

    Raises:
        StorageError: a link in it belongs to another user.
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
        if links > MAX_LINKS or not is_trusted_user(status.st_uid):
            raise StorageError(
                _refusal(here, status.st_uid) if links <= MAX_LINKS else f"{path}: the links form a loop"
            )
        target = os.readlink(here)
        done = "/" if target.startswith("/") else done
        todo += target.split("/")[::-1]
    return done


def temporary_directory_path() -> str:
    """The path of this user's directory for temporary files; it is always the same, so that processes share it."""
    user = f"-{os.geteuid()}" if hasattr(os, "geteuid") else ""
    return os.path.join(tempfile.gettempdir(), f"aiohttp-cache-di{user}")


def temporary_directory() -> str:
    """This user's directory for temporary files, created if it is missing.

    Raises:
        StorageError: another user has created something with that name, or it cannot be created.
    """
    path = temporary_directory_path()
    try:
        with suppress(FileExistsError):
            os.mkdir(path, 0o700)
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            raise StorageError(f"{path} is not a directory: it is not used")
        descriptor = os.open(path, _DIRECTORY)
        try:
            secure_directory(descriptor, path, is_temporary=True)
        finally:
            os.close(descriptor)
    except OSError as exc:
        raise StorageError(f"{path} cannot be made: {exc.strerror}") from exc
    return path


def _refusal(path: str, owner: int) -> str:
    return (
        f"{path} belongs to the user {owner}, and this program runs as {os.geteuid()}: it is not used; "
        "delete it, or give the cache another place"
    )


def whole_path(name: str) -> str:
    """*name* as an absolute path, with ``~`` expanded; if it is absolute, the working directory need not exist.

    Raises:
        StorageError: the home directory is unknown, for example because HOME is not set and the system has no entry for
            the user.
    """
    if name[:1] == "~":
        name, given = os.path.expanduser(name), name
        if name[:1] == "~":
            raise StorageError(f"{given}: there is no such home directory; give a whole path, or set HOME")
    return os.path.normpath(name) if os.path.isabs(name) else os.path.abspath(name)
