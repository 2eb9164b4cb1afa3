"""`in_batches`: a sequence, some items at a time; `marks_last`: keys in the order in which a store is cleared."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Hashable, Iterable, Iterator, Sequence
from typing import TypeVar

__all__ = ["in_batches", "marks_last"]

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


def in_batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """*items* in batches of *size*; the last one may be smaller."""
    for first in range(0, len(items), size):
        yield items[first : first + size]


async def marks_last(
    pages: AsyncIterable[Iterable[K]], is_mark: Callable[[K], bool], *, batch: int
) -> AsyncIterator[Sequence[K]]:
    """The keys in *pages*, a page at a time, and then those of records of purges: see `Store.clear`.

    Args:
        is_mark: whether a key is that of a record of a purge.
        batch: most of these keys at a time.
    """
    marks = dict[K, None]()
    async for page in pages:
        keys = dict.fromkeys(page)
        found = dict.fromkeys(filter(is_mark, keys))
        marks |= found
        yield [key for key in keys if key not in found]
    for part in in_batches(list(marks), batch):
        yield part
