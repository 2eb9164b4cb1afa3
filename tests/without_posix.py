"""Remove what only POSIX systems have, to test as on Windows; import it in a separate process, before the package."""

from __future__ import annotations

import asyncio
import mmap
import os
import pathlib
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import aiohttp
import platformdirs

__all__ = ["refused_while_open", "take_away"]

MODULES: Final = ("fcntl", "grp", "pwd", "resource", "termios")
NAMES: Final = (
    *("O_NOFOLLOW", "O_DIRECTORY", "O_CLOEXEC", "O_NONBLOCK"),
    *("chown", "fchmod", "fchown", "fork", "getegid", "geteuid", "getgid", "getuid", "lchown", "pread", "preadv"),
    *("pwrite", "readv", "register_at_fork", "writev"),
)
OF_MMAP: Final = ("MAP_ANONYMOUS", "MAP_PRIVATE", "MAP_SHARED", "PROT_EXEC", "PROT_READ", "PROT_WRITE")

_imported = (
    asyncio,
    aiohttp,
    pathlib,
    platformdirs,
)  # imported first, because they may use these names when they are imported


def take_away() -> None:
    """Remove the modules and names, and make functions of `os` behave as on Windows."""
    for module in MODULES:
        sys.modules[module] = None  # type: ignore[assignment]  # makes an import of it fail
    for name in NAMES:
        if hasattr(os, name):
            delattr(os, name)
    for name in OF_MMAP:
        if hasattr(mmap, name):
            delattr(mmap, name)
    for supported in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks):
        supported.clear()
    os.open = _without_directories(os.open)
    for name in ("replace", "rename", "unlink", "remove"):
        setattr(os, name, refused_while_open(getattr(os, name)))
    for name in ("utime", "listdir", "scandir", "stat", "link", "mkdir"):
        setattr(os, name, _by_path_only(getattr(os, name)))


def _by_path_only(call: Callable[..., Any]) -> Callable[..., Any]:
    def by_path(path: Any = ".", *args: Any, **options: Any) -> Any:
        if isinstance(path, int):
            raise NotImplementedError("there are no descriptors of directories")
        return call(path, *args, **_without_descriptors(options))

    return by_path


def _without_descriptors(options: dict[str, Any]) -> dict[str, Any]:
    """The options of a call without ``dir_fd`` and its like; NotImplementedError if one of these is set."""
    if any(name.endswith("dir_fd") and value is not None for name, value in options.items()):
        raise NotImplementedError("there are no descriptors of directories")
    return {name: value for name, value in options.items() if not name.endswith("dir_fd")}


def _without_directories(call: Callable[..., int]) -> Callable[..., int]:
    def opened(path: Any, flags: int, mode: int = 0o777, *, dir_fd: None = None) -> int:
        if os.path.isdir(path):
            raise PermissionError(13, "Permission denied", path)
        return call(path, flags, mode)

    return opened


def refused_while_open(call: Callable[..., None]) -> Callable[..., None]:
    """Wrap *call* so that it raises PermissionError for a file that this process has open, as Windows does."""

    def refused(*paths: Any, **options: Any) -> None:
        real = {os.path.realpath(path) for path in paths}
        for descriptor in pathlib.Path("/proc/self/fd").iterdir():
            path = ""
            with suppress(FileNotFoundError):  # another thread has closed it
                path = os.path.realpath(descriptor)
            if path in real:
                raise PermissionError(13, "it is used by a process", *paths[:1])
        call(*paths, **_without_descriptors(options))

    return refused
