"""Files that are read no more, and stay open for a moment: who reads one again then need not open it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Final, NamedTuple

from aiohttp_cache_di.backends.filesystem.pool import Pool

__all__ = ["Lingering", "Retired"]

LINGERS_S: Final = 0.1
MAX_LINGERING: Final = 16


class Retired(NamedTuple):
    """A file that is read no more: that of a body, by the name of its entry.

    Args:
        temporary: its name, where it belongs to no entry.
        entry: the identity of the file of the entry that told of it last.
    """

    fd: int
    name: str
    token: bytes
    temporary: str | None
    entry: tuple[int, ...]


class Lingering:
    """The files of one store that are read no more.

    Args:
        closing: threads that close them.
        close: closes one, in a thread.
    """

    def __init__(self, closing: Pool, close: Callable[[Retired], object]) -> None:
        self._closing = closing
        self._close = close
        self._files: dict[bytes, Retired] = {}
        self._ends_in: asyncio.AbstractEventLoop | None = None

    def after_fork(self) -> None:
        """Be without files: while they are open here, those of the parent process count as being read."""
        for retired in self._files.values():
            with suppress(OSError):
                os.close(retired.fd)
        self._files, self._ends_in = {}, None

    def add(self, retired: Retired, mark: bytes | None) -> None:
        """Close a file in a moment, unless another one has the same *mark* (None: at once); from anywhere."""
        try:
            if mark is None or not self._keep(retired, mark):
                self._closing.post(partial(self._close, retired))
        except BaseException:  # in a destructor, and maybe at the end of the program
            with suppress(Exception):
                os.close(retired.fd)

    def take(self, mark: bytes) -> Retired | None:
        """The file of that *mark*, if it is open still; it is the caller's then."""
        return self._files.pop(mark, None)

    def end(self) -> None:
        """Have all of them closed."""
        for retired in self._all():
            self._closing.post(partial(self._close, retired))

    def end_here(self) -> None:
        """Close all of them, in this thread."""
        for retired in self._all():
            with suppress(OSError):
                self._close(retired)

    def _all(self) -> Iterator[Retired]:
        while True:
            try:
                _, retired = self._files.popitem()
            except KeyError:
                return
            yield retired

    def _keep(self, retired: Retired, mark: bytes) -> bool:
        """Whether a file is kept; not where there is no loop to end that, nor where there are many."""
        if mark in self._files or len(self._files) >= MAX_LINGERING:
            return False
        if self._ends_in is None or self._ends_in.is_closed():
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                return False
            loop.call_later(LINGERS_S, self._end)
            self._ends_in = loop
        self._files[mark] = retired
        return True

    def _end(self) -> None:
        self._ends_in = None
        self.end()
