"""Replacements that several context managers share, however they overlap: nested, or in tests that run concurrently.

Were each to put back what it has found, one that ends before another would take it away from that, and the other would
leave the replacement of the first behind.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Generic, TypeVar

__all__ = ["Together"]

T = TypeVar("T")


class Together(Generic[T]):
    """The context managers of one kind that are active, in the order in which they were entered.

    Args:
        install: makes the replacement when the first is entered, and returns what undoes that when none is left.
    """

    def __init__(self, install: Callable[[], Callable[[], object]]) -> None:
        self.active: tuple[T, ...] = ()
        self._install = install
        self._undo: Callable[[], object] | None = None
        self._lock = threading.Lock()

    @contextmanager
    def entered(self, one: T) -> Generator[None]:
        """Inside the ``with`` statement, *one* is active."""
        with self._lock:
            self.active = (*self.active, one)
            if self._undo is None:
                self._undo = self._install()
        try:
            yield
        finally:
            with self._lock:
                self.active = tuple(other for other in self.active if other is not one)
                if not self.active and self._undo is not None:
                    self._undo()
                    self._undo = None
