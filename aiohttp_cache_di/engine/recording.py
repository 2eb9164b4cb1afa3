"""A copy of a body, taken as it arrives: the reader reads from aiohttp's own stream and waits for nothing of ours.

What happens here happens inside aiohttp's own feeding of the stream, where an exception would break the body for its
reader. So each step is fenced: what goes wrong costs the copy, is counted and logged, and is forgotten.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, TypeAlias
from weakref import WeakValueDictionary

from aiohttp import ClientError, ClientResponse, StreamReader

from aiohttp_cache_di._aiohttp import DecodingWatch, Needs, arrived_chunks, can, is_decoded
from aiohttp_cache_di.engine.budget import COPIES, Budget
from aiohttp_cache_di.engine.framing import Unkept, is_framed, known_size, why_not_kept, why_not_whole
from aiohttp_cache_di.engine.notes import Failed, note_failure
from aiohttp_cache_di.engine.spooled import SpooledCopy, Spools
from aiohttp_cache_di.entries.filed import FiledBody

__all__ = [
    "COPIES",
    "Budget",
    "Failed",
    "Finished",
    "Unkept",
    "is_framed",
    "note_failure",
    "record",
    "wait_for_end",
    "why_not_kept",
]


Finished: TypeAlias = Callable[[bytes | FiledBody | Unkept], None]
"""Called once: with the whole body, in memory or in the store, or with why there is none to keep."""

Arrived: TypeAlias = Callable[[], None]
"""Called for each piece of a body as it comes."""

WAIT_FOR_END_S = 0.05


def record(
    response: ClientResponse,
    *,
    max_bytes: float,
    finished: Finished,
    watch: DecodingWatch | None = None,
    failed: Failed | None = None,
    budget: Budget = COPIES,
    arrived: Arrived | None = None,
    spools: Spools | None = None,
) -> None:
    """Keep a copy of the body of *response* and hand it to *finished* once its last byte has arrived.

    Nothing is read for this purpose: what the caller does not let in (back-pressure, an early ``close()``) is not
    copied, and then *finished* is called with `Unkept.CUT`. Raises nothing.

    Args:
        max_bytes: a longer body is let go as soon as it shows.
        watch: tells whether the content coding ended properly; of a body that is decoded, nothing is kept without.
        failed: told of errors of ours, to count them.
        budget: the memory that copies share: a body of known size reserves its own at once, another takes it bit by
            bit.
        arrived: called for each piece that comes later than this.
        spools: takes large bodies as they arrive; they are not copied into memory then.
    """
    recorder: Recorder | None = None
    if not _CAN_RECORD:
        _call(finished, Unkept.UNSEEN, failed)
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
            body = _whole(chunks, stream, size, max_bytes, watch)
        elif type(stream) is StreamReader:
            recorder = Recorder(size, max_bytes, finished, watch, failed, budget, arrived, spools)
            _begin(stream, chunks, recorder)
            return
    except Exception as error:
        note_failure(error, failed)
        if recorder is not None:
            recorder.end(Unkept.FAILED)
            return
        body = Unkept.FAILED
    _call(finished, body, failed)


def _begin(stream: Any, chunks: list[bytes], recorder: Recorder) -> None:
    if recorder.take_first(chunks, stream):
        stream.on_eof(recorder)  # which keeps it for as long as there is a stream
        _recorders[id(stream)] = recorder
        stream.__class__ = SpoolingStreamReader if recorder.is_spooling else RecordingStreamReader


def _whole(
    chunks: list[bytes], stream: StreamReader, size: int | None, max_bytes: float, watch: DecodingWatch | None
) -> bytes | Unkept:
    """The body that *chunks* are, or why it is not to be kept."""
    body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
    why_not = why_not_whole(len(body), stream, size, max_bytes, watch)
    return body if why_not is None else why_not


async def wait_for_end(response: ClientResponse) -> None:
    """Wait a moment for the rest of a small body, which commonly comes with its head."""
    with contextlib.suppress(TimeoutError, ClientError):  # the one who reads the body is told of what is wrong with it
        async with asyncio.timeout(WAIT_FOR_END_S):
            await response.content.wait_eof()


class Recorder:
    """Collects the chunks of one body. Raises nothing.

    Args:
        size: of the whole body, if that is known; it is reserved at once.
    """

    __slots__ = (
        "__weakref__",
        "_arrived",
        "_budget",
        "_chunks",
        "_copy",
        "_failed",
        "_finished",
        "_held",
        "_loop",
        "_max_bytes",
        "_size",
        "_so_far",
        "_spools",
        "_watch",
    )

    def __init__(
        self,
        size: int | None,
        max_bytes: float,
        finished: Finished,
        watch: DecodingWatch | None,
        failed: Failed | None,
        budget: Budget,
        arrived: Arrived | None,
        spools: Spools | None = None,
    ) -> None:
        self._finished: Finished | None = None
        self._copy: SpooledCopy | None = None
        self._spools = spools
        self._budget = budget
        self._held = 0
        self._chunks: list[bytes] = []
        self._so_far = 0
        self._size = size
        self._max_bytes = max_bytes
        self._watch = watch
        self._failed = failed
        self._arrived = arrived
        self._loop = asyncio.get_running_loop()
        self._finished = finished

    def __call__(self) -> None:
        """Wait among the callbacks for the end of the stream, which `RecordingStreamReader` has told of before."""
        self.end(Unkept.UNSEEN)  # a stream that has come to its end on another way

    def take_first(self, chunks: list[bytes], stream: StreamReader) -> bool:
        """Take what has arrived, and reserve what is known to come; whether there is a body to go on with."""
        self._so_far = sum(map(len, chunks))
        if self._so_far != stream.total_bytes:  # a part of it has been read, so that it is gone
            self.end(Unkept.UNSEEN)
        elif self._so_far > self._max_bytes:
            self.end(Unkept.TOO_LARGE)
        elif self._is_large(self._so_far if self._size is None else self._size):
            self._begin_to_spool(chunks)
            return self._finished is not None
        elif not self._take(self._so_far if self._size is None else self._size):
            self.end(Unkept.NO_ROOM)
        else:
            self._chunks = chunks
            return True
        return False

    def feed(self, data: bytes) -> None:
        """Take note of a chunk."""
        if self._finished is None:
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
                if self._arrived is not None:
                    self._arrived()
        except Exception as error:
            self._lose(error)

    # ---- into the store, as it arrives

    @property
    def is_spooling(self) -> bool:
        """Whether the body is written while it arrives."""
        return self._copy is not None

    @property
    def is_full(self) -> bool:
        """Whether so much of it waits to be written that its reader is to wait."""
        return self._copy is not None and self._copy.is_full

    async def wait_for_room(self) -> None:
        """Hold the reader up, for a while at most."""
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
        elif self._arrived is not None:
            self._arrived()

    def _finish_copy(self, copy: SpooledCopy, stream: StreamReader) -> None:
        why_not = why_not_whole(self._so_far, stream, self._size, self._max_bytes, self._watch)
        finished, failed = self._finished, self._failed
        if why_not is not None or finished is None:
            self.end(why_not or Unkept.UNSEEN)
            return
        self._finished = self._copy = None
        copy.finish(lambda body: _call(finished, body, failed))

    # ---- its end

    def _take(self, size: int) -> bool:
        if not self._budget.take(size, held=self._held):
            return False
        self._held += size
        return True

    def complete(self, stream: StreamReader) -> None:
        """The last byte has arrived."""
        if self._finished is None:
            return
        try:
            if self._copy is None:
                self.end(_whole(self._chunks, stream, self._size, self._max_bytes, self._watch))
            else:
                self._finish_copy(self._copy, stream)
        except Exception as error:
            self._lose(error)

    def _lose(self, error: Exception) -> None:
        self._chunks = []
        note_failure(error, self._failed)
        self.end(Unkept.FAILED)

    def end(self, body: bytes | FiledBody | Unkept) -> None:
        """Let go of the bytes and say what became of them."""
        finished, self._finished = self._finished, None
        self._release()
        if finished is not None:
            _call(finished, body, self._failed)

    def _release(self) -> None:
        self._chunks = []
        held, self._held = self._held, 0
        self._budget.give_back(held)
        copy, self._copy = self._copy, None
        if copy is not None:
            copy.abandon()

    def __del__(self) -> None:
        finished = self._finished
        if finished is not None:  # the response was dropped, maybe in another thread
            self._release()
            with contextlib.suppress(RuntimeError):  # a loop that is closed
                self._loop.call_soon_threadsafe(_call, finished, Unkept.CUT, self._failed)


def _call(finished: Finished, body: bytes | FiledBody | Unkept, failed: Failed | None) -> None:
    try:
        finished(body)
    except Exception as error:
        note_failure(error, failed)


_recorders: WeakValueDictionary[int, Recorder] = WeakValueDictionary()
"""By the id of the stream, which has no place for an attribute and holds its recorder as a callback for its end."""


class RecordingStreamReader(StreamReader):
    """aiohttp's stream, telling a recorder what it is fed.

    An object of aiohttp's class becomes one of this class, so that all who hold it already (the parser, the
    response) feed and read the same object as before.
    """

    __slots__ = ()

    def feed_data(self, data: bytes, *args: Any, **kwargs: Any) -> bool:
        """Take what has arrived, and let the recorder have it too."""
        recorder = _recorders.get(id(self))
        if recorder is not None:
            recorder.feed(data)
            if recorder.is_spooling:
                self._spool()
        return super().feed_data(data, *args, **kwargs)

    def _spool(self: Any) -> None:
        self.__class__ = SpoolingStreamReader

    def feed_eof(self) -> None:
        """Take the end of the body, which makes the copy whole."""
        recorder = _recorders.get(id(self))
        if recorder is not None:
            recorder.complete(self)
        super().feed_eof()

    def set_exception(self, exc: BaseException, *args: Any, **kwargs: Any) -> None:
        """Take what cuts the body off, which ends the copy."""
        recorder = _recorders.get(id(self))
        super().set_exception(exc, *args, **kwargs)
        if recorder is not None:
            recorder.end(Unkept.CUT)


class SpoolingStreamReader(RecordingStreamReader):
    """As that, of a body that is written while it arrives: reads from it wait where writing has fallen far behind."""

    __slots__ = ()

    async def read(self, *args: Any, **kwargs: Any) -> bytes:
        """Read, once there is room for what arrives meanwhile."""
        await self._wait_for_room()
        return await super().read(*args, **kwargs)

    async def readany(self) -> bytes:
        """Read, once there is room for what arrives meanwhile."""
        await self._wait_for_room()
        return await super().readany()

    async def readchunk(self) -> tuple[bytes, bool]:
        """Read, once there is room for what arrives meanwhile."""
        await self._wait_for_room()
        return await super().readchunk()

    async def readuntil(self, *args: Any, **kwargs: Any) -> bytes:
        """Read, once there is room for what arrives meanwhile."""
        await self._wait_for_room()
        return await super().readuntil(*args, **kwargs)

    async def _wait_for_room(self) -> None:
        recorder = _recorders.get(id(self))
        if recorder is not None and recorder.is_full:
            await recorder.wait_for_room()


SpoolingStreamReader.__name__ = RecordingStreamReader.__name__ = StreamReader.__name__  # which is what a repr shows

# Objects can only change over to a class of the same layout.
_CAN_RECORD = can(Needs.COPIES) and RecordingStreamReader.__basicsize__ == StreamReader.__basicsize__
