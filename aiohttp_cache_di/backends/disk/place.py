"""Where a cache is: a path that a user gave."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cached_property

from aiohttp_cache_di.backends.disk.owned import whole_path
from aiohttp_cache_di.backends.loops import is_in_a_loop

__all__ = ["Place"]


class Place:
    """A path that a user gave, resolved once.

    Resolving a relative path may read the file system, so in a running loop that is left to the thread which opens what
    is there. Otherwise it is resolved now, so that it does not change with the working directory.

    Args:
        name: the path; ``~`` is allowed unless it is below *temporary*.
        temporary: returns the directory for temporary files, if the path is below that.
    """

    def __init__(self, name: str | os.PathLike[str], temporary: Callable[[], str] | None = None) -> None:
        self.name: str = os.fspath(name)
        self._temporary = temporary
        if not is_in_a_loop():
            self.path  # noqa: B018  # a cached property

    @cached_property
    def path(self) -> str:
        """The absolute path.

        Raises:
            StorageError: see `whole_path`.
        """
        return whole_path(self.name) if self._temporary is None else os.path.join(self._temporary(), self.name)

    @property
    def is_temporary(self) -> bool:
        """Whether it is below the directory for temporary files."""
        return self._temporary is not None

    @property
    def known_path(self) -> str:
        """The path if it has been resolved, else the name as given; does not read the file system."""
        return self.__dict__.get("path") or self.name
