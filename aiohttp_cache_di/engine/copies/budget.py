"""Memory that many share, of which there is only so much."""

from __future__ import annotations

from collections import deque
from threading import Lock

from aiohttp_cache_di.backends.options.values import MAX_IN_MEMORY_BYTES

__all__ = ["COPIES", "Budget"]


class Budget:
    """Bytes that many may take, of which there are only so many.

    Several loops in several threads share it, and none of them waits: a change is put down, and the one
    who finds the lock free adds up what has been put down.

    Args:
        limit_bytes: how many bytes there are.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._changes: deque[int] = deque()
        self._lock = Lock()
        self._taken_bytes = 0

    def take(self, size: int, *, held: int = 0) -> bool:
        """Take *size* bytes; False, and nothing is taken, if there are not as many left.

        What is alone may take what it needs, or else a limit that a user has set higher than this one would mean
        nothing.

        Args:
            held: what is held already for the same purpose.
        """
        taken = self.taken_bytes
        if taken + size > self.limit_bytes and taken > held:
            return False
        self._changes.append(size)
        return True

    def give_back(self, size: int) -> None:
        """Give *size* bytes back."""
        if size:
            self._changes.append(-size)

    @property
    def taken_bytes(self) -> int:
        """How many bytes are taken."""
        changes = self._changes
        if changes and self._lock.acquire(blocking=False):
            try:
                while changes:
                    self._taken_bytes += changes.popleft()
            finally:
                self._lock.release()
        return self._taken_bytes


COPIES = Budget(MAX_IN_MEMORY_BYTES)
