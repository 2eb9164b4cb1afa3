"""Sort the descriptions of entries, of which there may be more than memory is good for."""

from __future__ import annotations

import asyncio
import heapq
import tempfile
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from itertools import islice
from types import TracebackType
from typing import IO, Any, Final, Self

import msgspec

from aiohttp_cache_di.backends.batches import in_batches
from aiohttp_cache_di.entries.info import EntryInfo
from aiohttp_cache_di.errors import CacheError

__all__ = ["Ordered"]

RUN: Final = 20_000  # entries in memory; more are sorted in runs, which are kept in a temporary file
BLOCK: Final = 50  # entries of a run that are read at a time
PAGE: Final = 500  # sorted entries that are returned at a time

_encode = msgspec.msgpack.Encoder().encode


class Ordered:
    """Collects entries, and returns them in an order; a context manager, which removes the temporary file.

    Args:
        order: returns what is compared.
        limit: only the first so many are wanted; 0 for all.
        run: how many may be in memory.
    """

    def __init__(self, order: Callable[[EntryInfo], Any], limit: int = 0, *, run: int = RUN) -> None:
        self.count: int = 0
        """How many entries were collected, beyond *limit* too."""
        self._order = order
        self._limit = limit
        self._are_few = 0 < 2 * limit <= run
        self._most = 2 * limit if self._are_few else run
        self._run: list[EntryInfo] = []
        self._runs: list[Sequence[tuple[int, int]]] = []  # the place and the size of each block of each run
        self._file: IO[bytes] | None = None
        self._decode = msgspec.msgpack.Decoder(list[EntryInfo]).decode

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    async def add(self, info: EntryInfo) -> None:
        """Collect *info*.

        Raises:
            CacheError: more are collected than are kept in memory, and there is no room for a temporary file.
        """
        self.count += 1
        self._run.append(info)
        if len(self._run) < self._most:
            return
        if self._are_few:
            self._run = heapq.nsmallest(self._limit, self._run, key=self._order)
        else:
            try:
                await asyncio.to_thread(self._put_aside)
            except OSError as exc:
                raise CacheError(
                    f"{self.count} entries cannot be sorted without a temporary file: {exc.strerror}; set TMPDIR to a "
                    f"directory with room for one, or give --limit {self._most // 2} or less"
                ) from exc

    async def pages(self) -> AsyncGenerator[Sequence[EntryInfo]]:
        """Iterate over what was collected, in order, some at a time."""
        runs: list[Iterator[EntryInfo]] = [self._read(blocks) for blocks in self._runs]
        merged = heapq.merge(*runs, sorted(self._run, key=self._order), key=self._order)
        wanted = islice(merged, self._limit or None)
        while page := await asyncio.to_thread(lambda: list(islice(wanted, PAGE))):
            yield page

    # ---- in a thread

    def _put_aside(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115  # `__exit__` closes it
        blocks: list[tuple[int, int]] = []
        for part in in_batches(sorted(self._run, key=self._order), BLOCK):
            data = _encode(part)
            blocks.append((self._file.tell(), len(data)))
            self._file.write(data)
        self._runs.append(blocks)
        self._run = []

    def _read(self, blocks: Sequence[tuple[int, int]]) -> Iterator[EntryInfo]:
        assert self._file is not None  # noqa: S101  # there are no blocks without it
        for place, size in blocks:
            self._file.seek(place)
            yield from self._decode(self._file.read(size))
