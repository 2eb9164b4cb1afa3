"""A limit for the memory of all copies together."""

from __future__ import annotations

from collections import deque
from threading import Lock

from aiohttp_cache_di.backends.forks import note_forks
from aiohttp_cache_di.backends.options.values import MAX_IN_MEMORY_BYTES

__all__ = ["COPIES", "Budget"]


class Budget:
    """A number of bytes that several users share.

    It is shared by event loops in several threads and never blocks them: each change is appended to a queue, and the
    next reader that gets the lock without waiting adds the queue up. A forked child begins with none taken, since its
    parent's users give theirs back in the parent.

    Args:
        limit_bytes: the number of bytes.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.after_fork()
        note_forks(self)

    def after_fork(self) -> None:
        """Begin with none taken: at first, and in a forked child."""
        self._changes: deque[int] = deque()
        self._lock = Lock()  # a thread of the parent may have held the old one
        self._taken_bytes = 0

    def take(self, size: int, *, held: int = 0) -> bool:
        """Take *size* bytes; return False, and take none, if there are not as many left.

        If no other user holds bytes, more than the limit may be taken: otherwise a `max_body_bytes` above it would have
        no effect.

        Args:
            held: the bytes that this user holds already.
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
        """The number of bytes that are taken; changes that another thread is adding up may be missing."""
        changes = self._changes
        if changes and self._lock.acquire(blocking=False):
            try:
                taken = self._taken_bytes
                while changes:
                    taken += changes.popleft()
                self._taken_bytes = max(taken, 0)  # less, if a forked child frees a user of its parent
            finally:
                self._lock.release()
        return self._taken_bytes


COPIES = Budget(MAX_IN_MEMORY_BYTES)
