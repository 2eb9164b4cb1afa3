"""Open files: how a file is opened that another program may have put in its place, and that each is closed."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

__all__ = ["NOT_A_LINK", "NO_WAIT", "Descriptor"]

# Windows has none of the first two, and translates line ends without the third.
NOT_A_LINK: Final[int] = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
NO_WAIT: Final[int] = getattr(os, "O_NONBLOCK", 0)  # opening a pipe in a file's place would wait for a writer


class Descriptor:
    """An open file or directory; closed with the last reference to it."""

    __slots__ = ("_close", "fd")

    def __init__(self, fd: int) -> None:
        self.fd: int = fd
        self._close = os.close  # the module may be gone when a program ends

    def __del__(self) -> None:
        with suppress(OSError):
            self._close(self.fd)

    @property
    def is_deleted(self) -> bool:
        """Whether it has no name any more."""
        return os.fstat(self.fd).st_nlink == 0
