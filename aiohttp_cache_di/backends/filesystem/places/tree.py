"""The directories of a cache: each is opened once, below its parent, and never through a symbolic link.

An open directory is closed when no thread uses it and it is no longer cached. If other programs delete a directory,
that is noticed at once; if they move it or give it away, within a second.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import Final, TypeVar

from aiohttp_cache_di.backends.disk.owned import is_trusted_user, make_directories, secure_directory
from aiohttp_cache_di.backends.disk.place import Place
from aiohttp_cache_di.backends.filesystem.places.directory import Directory
from aiohttp_cache_di.backends.filesystem.places.names import temporary_name
from aiohttp_cache_di.errors import StorageError

__all__ = ["Tree"]

T = TypeVar("T")

LEAVES_OPEN: Final = (64, 256)  # least and most leaf directories kept open (256 are all); each takes a descriptor
LEAVES_SHARE: Final = 8  # one in so many of the file descriptors that a process may have is for leaves
CHECKED_FOR_S: Final = 1.0
TRIES: Final = 3
_NO_DIRECTORY: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EMLINK})
"""Errors of opening a name that is missing or not a directory; EMLINK is FreeBSD's for a symbolic link."""


class Tree:
    """The directories of one cache, for threads; not to be used in an event loop.

    Args:
        place: the cache's location.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self.losses: int = 0
        """How often the directory was found to be gone or replaced."""
        self._root: Directory | None = None
        self._checked_at = 0.0
        self._leaves = _cached_leaves()
        self._in_place: set[str] = set()
        """The leaves that were seen in their place since the last check of the root."""

    def close(self) -> None:
        """Close all directories; they are opened again when they are used again."""
        self._root, self._leaves = None, _cached_leaves()

    def made_root(self) -> Directory:
        """The cache's directory, made if necessary.

        Raises:
            StorageError: it cannot be opened or made.
        """
        for _ in range(TRIES):
            root = self._checked(create=True)
            if root is not None:
                return root
        raise StorageError(f"{self.place.path} is repeatedly removed")

    def root(self) -> Directory | None:
        """The cache's directory; None if there is none.

        Raises:
            StorageError: it cannot be opened.
        """
        return self._checked(create=False)

    def leaf(self, name: str) -> Directory | None:
        """The directory of the file *name*; None if there is none, or something else in its place.

        Raises:
            StorageError: see `made_root`.
            OSError: the file system does not work.
        """
        for _ in range(TRIES):
            root = self._checked(create=False)
            if root is None:
                return None
            try:
                return self._leaf(root, name[:2])
            except OSError as exc:
                if exc.errno not in _NO_DIRECTORY:
                    raise
            if not root.is_deleted:
                return None
            self.forget()
        return None

    def made_leaf(self, name: str) -> Directory:
        """The directory of the file *name*, made if necessary; something else in its place is renamed.

        Raises:
            StorageError, OSError: see `leaf`.
        """
        for _ in range(TRIES):
            root = self.made_root()
            try:
                return self._leaf(root, name[:2])
            except OSError as exc:
                if exc.errno not in _NO_DIRECTORY:
                    raise
            with suppress(FileNotFoundError):  # a parent was removed a moment ago
                return _made(name[1], _made(name[0], root))
            self.forget()
        raise StorageError(f"{self.place.path} is repeatedly removed")

    def in_leaf(self, name: str, work: Callable[[Directory], T]) -> T:
        """Run *work* with the directory of the file *name*, and once more if that was removed meanwhile.

        Raises:
            StorageError, OSError: see `leaf`; and errors of *work*.
        """
        try:
            return work(self.made_leaf(name))
        except FileNotFoundError:
            self.forget()
            return work(self.made_leaf(name))

    def forget(self) -> None:
        """Check all directories with their next use, since one of them was removed."""
        self._checked_at = 0.0

    def _checked(self, *, create: bool) -> Directory | None:
        """The cache's directory, after checking every `CHECKED_FOR_S` that it is still in its place."""
        now, root = time.monotonic(), self._root
        if root is not None and now - self._checked_at < CHECKED_FOR_S:
            return root
        try:
            if root is not None and not self._is_at_its_place(root):
                self.losses += 1
                self._root = root = None
            root = root or self._opened(create=create)
        except OSError as exc:
            raise StorageError(f"{self.place.path} cannot be used: {exc.strerror}") from exc
        if root is not self._root:
            self._root, self._leaves = root, _cached_leaves()
        self._checked_at, self._in_place = now, set()
        return root

    def _leaf(self, root: Directory, name: str) -> Directory:
        """A leaf: open already if it is unchanged in its place, which costs less than opening it. Raises OSError."""
        leaf, in_place = self._leaves(root, name), self._in_place
        if name not in in_place:
            if not _is_unchanged(leaf, root, f"{name[0]}/{name[1]}"):
                self._leaves = _cached_leaves()
                leaf = self._leaves(root, name)
            in_place.add(name)
        return leaf

    def _is_at_its_place(self, root: Directory) -> bool:
        try:
            return root.is_at(self.place.path)
        except FileNotFoundError:
            return False

    def _opened(self, *, create: bool) -> Directory | None:
        path = self.place.path
        if create:
            with suppress(FileExistsError):
                make_directories(path)
        try:
            root = Directory(path)
        except FileNotFoundError:
            return None
        except OSError as exc:
            if os.path.islink(path):
                raise StorageError(f"{path} is a symbolic link: give the path that it leads to") from exc
            raise
        if root.fd is not None:
            secure_directory(root.fd, path, is_temporary=self.place.is_temporary)
        return root


def _cached_leaves() -> Callable[[Directory, str], Directory]:
    """`_open_leaf`, which keeps the leaves open that were used last."""
    return lru_cache(maxsize=_open_leaves())(_open_leaf)


def _open_leaves() -> int:
    """The number of leaf directories to keep open."""
    least, most = LEAVES_OPEN
    try:
        import resource
    except ImportError:  # on Windows, where an open directory is a path
        return most
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most if allowed == resource.RLIM_INFINITY else min(max(least, allowed // LEAVES_SHARE), most)


def _is_unchanged(directory: Directory, above: Directory, name: str) -> bool:
    """Whether *directory* is in its place in *above*, with the owner and the mode that it had when it was opened."""
    try:
        now, then = above.status_of(name), directory.status
    except OSError:
        return False
    return os.path.samestat(now, then) and (now.st_uid, now.st_mode) == (then.st_uid, then.st_mode)


def _open_leaf(root: Directory, name: str) -> Directory:
    return _opened(name[1], _opened(name[0], root))


def _opened(name: str, above: Directory) -> Directory:
    """Open a directory; another user's counts as missing."""
    try:
        directory = Directory(name, above)
    except PermissionError:
        if is_trusted_user(above.status_of(name).st_uid):
            raise
        raise NotADirectoryError(errno.ENOTDIR, f"{name} is another user's: it is not used") from None
    if directory.fd is not None and not above.trusts(directory.fd, directory.status):
        raise NotADirectoryError(errno.ENOTDIR, f"{name} is another user's: it is not used")
    return directory


def _made(name: str, above: Directory) -> Directory:
    """Open a directory, after making it if necessary; something else in its place is renamed."""
    for _ in range(TRIES):
        with suppress(FileExistsError):
            above.make(name)
        try:
            return _opened(name, above)
        except OSError as exc:
            if exc.errno not in _NO_DIRECTORY:
                raise
        with suppress(FileNotFoundError):
            above.move(name, temporary_name(name, "aside"))
    raise FileNotFoundError(errno.ENOENT, f"{name} is repeatedly replaced")
