"""The directories of a cache: opened once, each below the one above it, and never through a symbolic link.

A directory that is open stays open while a thread uses it, and is closed when none does. Programs that delete or move
the cache are noticed: at once where a directory was deleted, within a second where it was moved.
"""

from __future__ import annotations

import errno
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property, lru_cache
from typing import Final, TypeVar

from aiohttp_cache_di.backends.disk.owned import is_believed, make_directories, own_directory, whole_path
from aiohttp_cache_di.backends.filesystem.places.directory import Directory
from aiohttp_cache_di.backends.filesystem.places.names import temporary_name
from aiohttp_cache_di.backends.loops import is_in_a_loop
from aiohttp_cache_di.errors import StorageError

__all__ = ["Place", "Tree"]

T = TypeVar("T")

LEAVES_OPEN: Final = (64, 256)  # at least, and at most, which is all; each takes a file descriptor
LEAVES_SHARE: Final = 8  # of the file descriptors that a process may have, the part that goes to leaves
CHECKED_FOR_S: Final = 1.0
TRIES: Final = 3
_NO_DIRECTORY: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EMLINK})
"""What opening nothing, or something else, says; EMLINK is FreeBSD's word for a symbolic link."""


class Place:
    """Where a cache is to be.

    Args:
        name: path of its directory, ``~`` allowed.
        use_temp: put it in the directory for temporary files, unless *name* is absolute.
    """

    def __init__(self, name: str | os.PathLike[str], use_temp: bool = False) -> None:
        self.name: str = os.fspath(name)
        self.is_temporary: bool = use_temp and not os.path.isabs(self.name)
        # Where it is may take a look at the file system: in a running loop that is left to a thread.
        if not is_in_a_loop():
            self.path  # noqa: B018  # remembered, so that it does not change with the working directory

    @cached_property
    def path(self) -> str:
        """The directory's path, absolute."""
        if self.is_temporary:
            return os.path.join(tempfile.gettempdir(), self.name)
        return whole_path(self.name)

    @property
    def known_path(self) -> str:
        """The path as far as it is known without a look at the file system."""
        return self.__dict__.get("path") or self.name


class Tree:
    """The directories of one cache, for threads; nothing here is called in an event loop.

    Args:
        place: where the cache is.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self.losses: int = 0
        """How often the directory has been found to be gone, or to be another one."""
        self._root: Directory | None = None
        self._checked_at = 0.0
        self._leaf: Callable[[Directory, str], Directory] = _open_leaf

    def close(self) -> None:
        """Close what is open; it is opened again when it is used again."""
        self._root, self._leaf = None, _open_leaf

    def made_root(self) -> Directory:
        """The cache's directory, made if need be.

        Raises:
            StorageError: it cannot be opened or made.
        """
        for _ in range(TRIES):
            root = self._checked(create=True)
            if root is not None:
                return root
        raise StorageError(f"{self.place.path} is removed again and again")

    def root(self) -> Directory | None:
        """The cache's directory; None where there is none.

        Raises:
            StorageError: it cannot be opened.
        """
        return self._checked(create=False)

    def leaf(self, name: str) -> Directory | None:
        """The directory of the file of that *name*; None where there is none, or something else.

        Raises:
            StorageError: see `made_root`.
            OSError: the file system does not work.
        """
        for _ in range(TRIES):
            root = self.root()
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
        """The directory of the file of that *name*, made if need be; what else stands in its place gets another name.

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
            with suppress(FileNotFoundError):  # what is above it was removed a moment ago
                return _made(name[1], _made(name[0], root))
            self.forget()
        raise StorageError(f"{self.place.path} is removed again and again")

    def in_leaf(self, name: str, work: Callable[[Directory], T]) -> T:
        """Do *work* in the directory of the file of that *name*: once more where it was removed meanwhile.

        Raises:
            StorageError, OSError: see `leaf`; and what *work* raises.
        """
        try:
            return work(self.made_leaf(name))
        except FileNotFoundError:
            self.forget()
            return work(self.made_leaf(name))

    def forget(self) -> None:
        """Look for all directories anew: one of them was removed."""
        self._checked_at = 0.0

    def _checked(self, *, create: bool) -> Directory | None:
        """The cache's directory; once in a while, whether it is still at its place."""
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
        self._root, self._checked_at = root, now
        self._leaf = lru_cache(maxsize=_open_leaves())(_open_leaf)
        return root

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
            own_directory(root.fd, path, is_temporary=self.place.is_temporary)
        return root


def _open_leaves() -> int:
    """How many leaves may be open at a time."""
    least, most = LEAVES_OPEN
    try:
        import resource
    except ImportError:  # on Windows, where an open directory is a path
        return most
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most if allowed == resource.RLIM_INFINITY else min(max(least, allowed // LEAVES_SHARE), most)


def _open_leaf(root: Directory, name: str) -> Directory:
    return _opened(name[1], _opened(name[0], root))


def _opened(name: str, above: Directory) -> Directory:
    """Open a directory; another user's counts as none."""
    try:
        directory = Directory(name, above)
    except PermissionError:
        if is_believed(above.status_of(name).st_uid):
            raise
        raise NotADirectoryError(errno.ENOTDIR, f"{name} is another user's: it is not used") from None
    if directory.fd is not None and not above.owns(directory.fd, directory.status):
        raise NotADirectoryError(errno.ENOTDIR, f"{name} is another user's: it is not used")
    return directory


def _made(name: str, above: Directory) -> Directory:
    """Open a directory, made if need be; what else has its name gets another one."""
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
    raise FileNotFoundError(errno.ENOENT, f"{name} is replaced again and again")
