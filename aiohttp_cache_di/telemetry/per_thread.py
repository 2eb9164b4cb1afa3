"""`PerThread`: what each thread counts by itself, so that threads that count at the same time lose nothing."""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from typing import Generic, TypeVar

__all__ = ["PerThread"]

T = TypeVar("T")


class PerThread(Generic[T]):
    """A value for each thread, which only that thread changes; others may read it at any time.

    Without a GIL, ``x += 1`` of two threads may count one. A lock would cost each hit more than the addition does. The
    number of values is bounded by that of threads at one time: a system gives the identifier of a thread that has ended
    to a later one, which goes on with its value.

    Args:
        make: makes a value.
    """

    __slots__ = ("_made", "_make")

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: dict[int, T] = {}

    def here(self) -> T:
        """The value of the running thread; made if there is none."""
        thread = get_ident()
        made = self._made.get(thread)
        if made is None:
            made = self._made[thread] = self._make()
        return made

    def all(self) -> list[T]:
        """The values of all threads."""
        return list(self._made.values())  # a copy in one step: another thread may add its own
