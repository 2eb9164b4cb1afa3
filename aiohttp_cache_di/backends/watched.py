"""Those who hold entries on their way into a storage, and are heard before anyone looks into it or deletes."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol
from weakref import WeakSet

__all__ = ["Watched", "Watcher"]


class Watcher(Protocol):
    """Whoever holds entries that are on their way into the storages of a backend."""

    def forget(self, keys: Collection[str] | None) -> None:
        """Entries under *keys* (None: all) are being deleted."""

    async def settle(self, keys: Collection[str] | None) -> None:
        """Wait until the writes under *keys* (None: all) are over."""

    async def arrive(self, keys: Collection[str] | None) -> None:
        """Wait a moment for bodies on their way that will be written under *keys* (None: all)."""


class Watched:
    """A backend that others write to off their callers' path: whoever asks it sees what they have stored."""

    def __init__(self) -> None:
        self._watchers: WeakSet[Watcher] = WeakSet()

    def watch(self, watcher: Watcher) -> None:
        """Let *watcher* know of deletions, and wait for it before anything is looked up or deleted."""
        self._watchers.add(watcher)

    async def settle(self, keys: Collection[str] | None = None) -> None:
        """Wait until what is being written in the running loop, under *keys* or at all, has been written.

        Responses whose bodies nobody has read yet are waited for too, if only for a moment.
        """
        for watcher in list(self._watchers):
            await watcher.arrive(keys)
            await watcher.settle(keys)

    async def _before_deleting(self, keys: Collection[str] | None) -> None:
        for watcher in list(self._watchers):
            watcher.forget(keys)
            await watcher.settle(keys)
