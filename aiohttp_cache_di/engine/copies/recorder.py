"""`Recorder`: collects the chunks of one body as they arrive, until it is complete or cannot be stored."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import Protocol

from aiohttp import StreamReader

from aiohttp_cache_di._aiohttp import DecodingWatch
from aiohttp_cache_di.engine.copies.budget import Budget
from aiohttp_cache_di.engine.copies.framing import Unkept, why_not_whole
from aiohttp_cache_di.engine.copies.spooled import SpooledCopy, Spools
from aiohttp_cache_di.engine.notes import note_failure
from aiohttp_cache_di.entries.filed import FiledBody

__all__ = ["Recipient", "Recorder", "tell", "whole"]


class Recipient(Protocol):
    """What a body is copied for."""

    def arrived(self) -> None:
        """A piece of the body has arrived, after the copy was begun."""

    def finished(self, body: bytes | FiledBody | Unkept, /) -> None:
        """Take the whole body, in memory or in a file of the store, or why there is no copy; called once."""

    def failed(self, kind: str, /) -> None:
        """Count an error of the cache by which the copy was lost, of the type *kind*."""


def whole(
    chunks: list[bytes], stream: StreamReader, size: int | None, max_bytes: float, watch: DecodingWatch | None
) -> bytes | Unkept:
    """The body made of *chunks*, or why it cannot be stored."""
    body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
    why_not = why_not_whole(len(body), stream, size, max_bytes, watch)
    return body if why_not is None else why_not


class Recorder:
    """Collects the chunks of one body. Raises nothing.

    Args:
        size: the size of the whole body, if it is known; that much is reserved at once.
        spools: writes large bodies to the store; None to keep all in memory.
    """

    __slots__ = (
        "__weakref__",
        "_budget",
        "_chunks",
        "_copy",
        "_held",
        "_is_over",
        "_loop",
        "_max_bytes",
        "_recipient",
        "_size",
        "_so_far",
        "_spools",
        "_watch",
    )

    def __init__(
        self,
        size: int | None,
        max_bytes: float,
        recipient: Recipient,
        watch: DecodingWatch | None,
        budget: Budget,
        spools: Spools | None = None,
    ) -> None:
        self._is_over = True  # until all attributes are set
        self._copy: SpooledCopy | None = None
        self._spools = spools
        self._budget = budget
        self._held = 0
        self._chunks: list[bytes] = []
        self._so_far = 0
        self._size = size
        self._max_bytes = max_bytes
        self._watch = watch
        self._recipient = recipient
        self._loop = asyncio.get_running_loop()
        self._is_over = False

    def __call__(self) -> None:
        """Called by the stream at its end (``on_eof``), which keeps this object alive; no effect after `complete`."""
        self.end(Unkept.UNSEEN)  # the stream has ended without `complete`

    def take_first(self, chunks: list[bytes], stream: StreamReader) -> bool:
        """Take the *chunks* that have arrived, reserve memory, and return whether to go on recording."""
        self._so_far = sum(map(len, chunks))
        if self._so_far != stream.total_bytes:  # a part has been read and is gone
            self.end(Unkept.UNSEEN)
        elif self._so_far > self._max_bytes:
            self.end(Unkept.TOO_LARGE)
        elif self._is_large(self._so_far if self._size is None else self._size):
            self._begin_to_spool(chunks)
            return not self._is_over
        elif not self._take(self._so_far if self._size is None else self._size):
            self.end(Unkept.NO_ROOM)
        else:
            self._chunks = chunks
            return True
        return False

    def feed(self, data: bytes) -> None:
        """Record a chunk."""
        if self._is_over:
            return
        try:
            self._so_far += len(data)
            if self._so_far > self._max_bytes:
                self.end(Unkept.TOO_LARGE)
            elif self._copy is not None:
                self._append(data)
            elif self._is_large(self._so_far):
                self._begin_to_spool([*self._chunks, data])
            elif self._so_far > self._held and not self._take(self._so_far - self._held):
                self.end(Unkept.NO_ROOM)
            else:
                self._chunks.append(data)
                self._recipient.arrived()
        except Exception as error:
            self._lose(error)

    # ---- writing to the store while the body arrives

    @property
    def is_spooling(self) -> bool:
        """Whether the body is written to the store while it arrives."""
        return self._copy is not None

    @property
    def is_full(self) -> bool:
        """Whether so much waits to be written that the reader has to wait."""
        return self._copy is not None and self._copy.is_full

    async def wait_for_room(self) -> None:
        """Make the reader wait until there is room, or give the copy up after a while."""
        copy = self._copy
        if copy is None:
            return
        try:
            why_not = await copy.drain()
            if why_not is not None:
                self.end(why_not)
        except Exception as error:
            self._lose(error)

    def _is_large(self, size: int) -> bool:
        return self._spools is not None and size > self._spools.from_bytes

    def _begin_to_spool(self, chunks: list[bytes]) -> None:
        spools = self._spools
        spool = None if spools is None else spools.begin()
        self._release()
        if spools is None or spool is None:
            self.end(Unkept.REFUSED)
            return
        self._copy = SpooledCopy(spool, spools, self._budget)
        for chunk in chunks:
            self._append(chunk)

    def _append(self, data: bytes) -> None:
        copy = self._copy
        why_not = None if copy is None else copy.append(data)
        if why_not is not None:
            self.end(why_not)
        else:
            self._recipient.arrived()

    def _finish_copy(self, copy: SpooledCopy, stream: StreamReader) -> None:
        why_not = why_not_whole(self._so_far, stream, self._size, self._max_bytes, self._watch)
        if why_not is not None:
            self.end(why_not)
            return
        self._is_over, self._copy = True, None
        copy.finish(partial(tell, self._recipient))

    # ---- the end of the body

    def _take(self, size: int) -> bool:
        if not self._budget.take(size, held=self._held):
            return False
        self._held += size
        return True

    def complete(self, stream: StreamReader) -> None:
        """Finish the copy: the last byte has arrived."""
        if self._is_over:
            return
        try:
            if self._copy is None:
                self.end(whole(self._chunks, stream, self._size, self._max_bytes, self._watch))
            else:
                self._finish_copy(self._copy, stream)
        except Exception as error:
            self._lose(error)

    def _lose(self, error: Exception) -> None:
        self._chunks = []
        note_failure(error, self._recipient.failed)
        self.end(Unkept.FAILED)  # raises nothing

    def end(self, body: bytes | FiledBody | Unkept) -> None:
        """Release the memory, and give *body* to the recipient; later calls have no effect."""
        was_over, self._is_over = self._is_over, True
        try:
            self._release()
        except Exception as error:
            note_failure(error, self._recipient.failed)
        if not was_over:
            tell(self._recipient, body)

    def _release(self) -> None:
        self._chunks = []
        held, self._held = self._held, 0
        copy, self._copy = self._copy, None
        try:
            self._budget.give_back(held)
        except Exception as error:
            note_failure(error, self._recipient.failed)
        try:
            if copy is not None:
                copy.abandon()
        except Exception as error:
            note_failure(error, self._recipient.failed)

    def __del__(self) -> None:
        if not self._is_over:  # the response was garbage-collected, maybe in another thread
            self._release()
            with contextlib.suppress(RuntimeError):  # the event loop is closed
                self._loop.call_soon_threadsafe(tell, self._recipient, Unkept.CUT)


def tell(recipient: Recipient, body: bytes | FiledBody | Unkept) -> None:
    """Give *body* to *recipient*. Raises nothing."""
    try:
        recipient.finished(body)
    except Exception as error:
        note_failure(error, recipient.failed)
