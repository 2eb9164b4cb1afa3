"""`in_batches`: a sequence, some items at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

__all__ = ["in_batches"]

T = TypeVar("T")


def in_batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """*items* in batches of *size*; the last one may be smaller."""
    for first in range(0, len(items), size):
        yield items[first : first + size]
