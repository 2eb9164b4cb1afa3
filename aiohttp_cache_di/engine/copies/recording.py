"""Copying a body as it arrives, by listening to aiohttp's stream; its reader reads from the same stream as ever.

This code runs while aiohttp feeds the stream, where an exception would break the body for its reader. So every error is
caught, counted and logged, and costs the copy only.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any
from weakref import WeakValueDictionary

from aiohttp import ClientError, ClientResponse, StreamReader

from aiohttp_cache_di._aiohttp import DecodingWatch, Needs, arrived_chunks, can, is_decoded
from aiohttp_cache_di.engine.copies.budget import COPIES, Budget
from aiohttp_cache_di.engine.copies.framing import Unkept, known_size
from aiohttp_cache_di.engine.copies.recorder import Recipient, Recorder, tell, whole
from aiohttp_cache_di.engine.copies.spooled import Spools
from aiohttp_cache_di.engine.notes import note_failure

__all__ = ["record", "wait_for_end"]

WAIT_FOR_END_S = 0.05


def record(
    response: ClientResponse,
    recipient: Recipient,
    *,
    max_bytes: float,
    watch: DecodingWatch | None,
    spools: Spools | None = None,
    budget: Budget = COPIES,
) -> None:
    """Copy the body of *response*, and give the copy to *recipient* once the last byte has arrived.

    Nothing is read for this purpose: if the caller does not let the whole body arrive (by an early ``close()``),
    *recipient* gets `Unkept.CUT`. Raises nothing.

    Args:
        max_bytes: the copy of a longer body is given up as soon as its size is known.
        watch: tells whether the content coding was complete; a decoded body is not stored without it.
        spools: writes large bodies to the store as they arrive, instead of copying them in memory.
        budget: the memory that copies share; a body of known size reserves its own at once, others bit by bit.
    """
    recorder: Recorder | None = None
    if not _CAN_RECORD:
        tell(recipient, Unkept.UNSEEN)
        return
    try:
        decoded = is_decoded(response)
        size, stream = known_size(response, decoded=decoded), response.content
        chunks = arrived_chunks(stream)
        watch = watch if decoded else None
        body: bytes | Unkept = Unkept.UNSEEN
        if chunks is None or (decoded and watch is None):
            pass
        elif stream.exception() is not None:
            body = Unkept.CUT
        elif stream.is_eof():  # its bytes are shared with the stream, so they take no more memory
            body = whole(chunks, stream, size, max_bytes, watch)
        elif type(stream) is StreamReader:
            recorder = Recorder(size, max_bytes, recipient, watch, budget, spools)
            _begin(stream, chunks, recorder)
            return
    except Exception as error:
        note_failure(error, recipient.failed)
        if recorder is not None:
            recorder.end(Unkept.FAILED)
            return
        body = Unkept.FAILED
    tell(recipient, body)


def _begin(stream: Any, chunks: list[bytes], recorder: Recorder) -> None:
    if recorder.take_first(chunks, stream):
        stream.on_eof(recorder)  # keeps the recorder alive as long as the stream
        _recorders[id(stream)] = recorder
        stream.__class__ = SpoolingStreamReader if recorder.is_spooling else RecordingStreamReader


async def wait_for_end(response: ClientResponse) -> None:
    """Wait up to `WAIT_FOR_END_S` for the rest of a small body, which commonly comes with its head."""
    with contextlib.suppress(TimeoutError, ClientError):  # the reader of the body gets the error
        async with asyncio.timeout(WAIT_FOR_END_S):
            await response.content.wait_eof()


_recorders: WeakValueDictionary[int, Recorder] = WeakValueDictionary()
"""Recorders by the id of their stream, which has slots and so no room for an attribute."""


class RecordingStreamReader(StreamReader):
    """aiohttp's stream, which also passes to a recorder what it is fed.

    The class of an existing stream is changed to this one, so that the parser and the response, which refer to the
    stream already, go on with the same object.
    """

    __slots__ = ()

    def feed_data(self, data: bytes, *args: Any, **kwargs: Any) -> bool:
        """Take a chunk, and record it."""
        recorder = _recorders.get(id(self))
        if recorder is not None:
            recorder.feed(data)
            if recorder.is_spooling:
                self._spool()
        return super().feed_data(data, *args, **kwargs)

    def _spool(self: Any) -> None:
        self.__class__ = SpoolingStreamReader

    def feed_eof(self) -> None:
        """Take the end of the body, which completes the copy."""
        recorder = _recorders.get(id(self))
        if recorder is not None:
            recorder.complete(self)
        super().feed_eof()

    def set_exception(self, exc: BaseException, *args: Any, **kwargs: Any) -> None:
        """Take the error that cuts the body off, which ends the copy."""
        recorder = _recorders.get(id(self))
        super().set_exception(exc, *args, **kwargs)
        if recorder is not None:
            recorder.end(Unkept.CUT)


class SpoolingStreamReader(RecordingStreamReader):
    """A stream whose body is written to the store while it arrives: reads wait if writing has fallen far behind."""

    __slots__ = ()

    async def read(self, *args: Any, **kwargs: Any) -> bytes:
        """Read as the base class does, after waiting for room."""
        await self._wait_for_room()
        return await super().read(*args, **kwargs)

    async def readany(self) -> bytes:
        """Read as the base class does, after waiting for room."""
        await self._wait_for_room()
        return await super().readany()

    async def readchunk(self) -> tuple[bytes, bool]:
        """Read as the base class does, after waiting for room."""
        await self._wait_for_room()
        return await super().readchunk()

    async def readuntil(self, *args: Any, **kwargs: Any) -> bytes:
        """Read as the base class does, after waiting for room."""
        await self._wait_for_room()
        return await super().readuntil(*args, **kwargs)

    async def _wait_for_room(self) -> None:
        recorder = _recorders.get(id(self))
        if recorder is not None and recorder.is_full:
            await recorder.wait_for_room()


SpoolingStreamReader.__name__ = RecordingStreamReader.__name__ = StreamReader.__name__  # for the same repr

# The class of an object can only be changed to one of the same layout.
_CAN_RECORD = can(Needs.COPIES) and RecordingStreamReader.__basicsize__ == StreamReader.__basicsize__
