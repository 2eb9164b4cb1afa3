"""One connection to Redis that any number of tasks share: commands are pipelined, and replies come back in order.

A connection pool lends a connection to one task at a time, so a thousand tasks need a thousand connections or wait in a
queue, and a task that is cancelled while it has one must close it. Here all commands go over one connection: those of
one turn of the loop are sent together, and each reply goes to the task that waits for it. When a task is cancelled, its
reply is ignored.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, ClassVar, TypeVar, cast

from msgspec import Struct

from aiohttp_cache_di._redis import error_named
from aiohttp_cache_di.backends.redis.connections.limits import Silence, Window
from aiohttp_cache_di.backends.redis.connections.wire import ProtocolError, Reply, ReplyParser, ServerError
from aiohttp_cache_di.backends.tasks import consume_error
from aiohttp_cache_di.errors import StorageError, StorageTimeoutError

__all__ = ["MAX_REPLY_BYTES", "REFUSALS", "Connection", "ReplyTooLargeError", "Sent", "expect_no_error", "refusal"]

T = TypeVar("T")

BATCH_BYTES = 256 * 1024  # passed to the transport at a time
MAX_REPLY_BYTES = 16 * 1024 * 1024  # largest reply that is not a value of ours, and largest push
MIN_CHECKED_BYTES = 64 * 1024  # the size of an incomplete reply from which its limit is checked
CLOSE_TIMEOUT_S = 1.0
HIGH_WATER_BYTES = 1024 * 1024  # unsent bytes at which sending waits for the server to take some

REFUSALS = {
    "LOADING": "BusyLoadingError",
    "NOAUTH": "AuthenticationError",
    "NOPERM": "NoPermissionError",
    "OOM": "OutOfMemoryError",
    "READONLY": "ReadOnlyError",
}
"""The driver's exceptions for error codes; for all other codes it is ResponseError."""
_COMMAND_NAMED = re.compile(r"(?:unknown command|to run the) [`']([a-z|]{2,24})[`']", re.ASCII | re.IGNORECASE)
"""What the text of an error says of a command that the server does not have, or that the user may not run."""
_STALE = frozenset({"NOAUTH", "READONLY"})
"""Errors that a new connection may resolve: the password was changed, or the address has a new primary."""


class ReplyTooLargeError(StorageError):
    """A reply was larger than its command allows; the connection was ended before it was complete."""


class Sent(Struct, frozen=True):
    """A command and the future for its reply."""

    payload: bytes
    convert: Callable[[Reply], Any]
    max_bytes: Callable[[], int]
    waiter: asyncio.Future[Any]
    hops: int = 0
    """How often it was redirected to another server."""


class _Together:
    """The context manager of `Connection.together`; one made from a generator takes twice as long for each write."""

    __slots__ = ("_connection", "_was_planned")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._was_planned = False

    def __enter__(self) -> None:
        self._was_planned = self._connection.hold()

    def __exit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._connection.let_go(self._was_planned)


def refusal(error: ServerError) -> StorageError:
    """A `StorageError` for a refused command; of the error's text, which may repeat the command, it quotes two words.

    These are the error's code, and the name of a command that the server does not have or that the user may not run.
    """
    found = _COMMAND_NAMED.search(error.message)
    name = "" if found is None else found[1].upper()
    refused = StorageError(f"redis refused the command{name and f' {name}'}: {error.code}")
    kind = error_named(REFUSALS.get(error.code, "ResponseError"))
    refused.__cause__ = kind(f"{error.code} for {name}" if name else error.code)
    return refused


def expect_no_error(reply: Reply) -> Reply:
    """Return *reply*, or raise if it is an error."""
    if type(reply) is ServerError:
        raise refusal(reply)
    return reply


class Connection(asyncio.Protocol):
    """An open, authenticated connection; belongs to the running loop.

    Args:
        where: the name of the server in messages.
        timeout_s: seconds after which the connection is given up, if a command is under way and nothing arrives, or
            only parts of a reply that no task waits for.
    """

    can_push: ClassVar[bool] = True
    """Whether pushes of the server are received."""
    is_bounded: ClassVar[bool] = True
    """Whether a reply that is too large ends the connection before it is complete."""

    def __init__(self, where: str, timeout_s: float | None) -> None:
        self.on_push: Callable[[list[Reply]], None] | None = None
        """Called with each push of the server (RESP3), as it is parsed."""
        self.on_lost: Callable[[], None] | None = None
        """Called when the connection is given up, for any reason."""
        self.on_refused: Callable[[Sent, ServerError], bool] | None = None
        """Called with a command that ended in an error; returns whether it is sent to another server instead."""
        self.no_scripts: ServerError | None = None
        """Why its user may run no scripts on this server; None while that is not known."""
        self.where = where
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self.closed: bool = False
        self.retired: bool = False
        """Whether only commands under way are finished here, and later ones need a new connection."""
        self._silence = Silence(timeout_s, self._waits, self._fell_silent)
        self._transport: asyncio.Transport | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._parser = ReplyParser()
        self._outbox: deque[Sent] = deque()
        self._awaiting: deque[Sent] = deque()
        self._window = Window()
        self._paused = False
        self._flush_planned = False
        self._is_held = False
        self._lost: asyncio.Future[None] = self.loop.create_future()

    def adopt(self, writer: asyncio.StreamWriter) -> None:
        """Take over the transport of *writer*, on which nothing is under way."""
        self._writer = writer  # kept, since it closes its transport when it is garbage collected
        transport: asyncio.Transport = cast(asyncio.Transport, writer.transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        transport.set_protocol(self)
        transport.resume_reading()

    # ---- commands

    def submit(
        self,
        payload: bytes,
        convert: Callable[[Reply], T] = expect_no_error,
        *,
        max_bytes: Callable[[], int] = lambda: MAX_REPLY_BYTES,
    ) -> asyncio.Future[T]:
        """Send one encoded command; the future gets what *convert* makes of its reply.

        Args:
            max_bytes: returns the approximate size limit of the reply; a larger one ends the connection.
        """
        future: asyncio.Future[T] = self.loop.create_future()
        if self.closed:
            future.set_exception(StorageError(f"the connection to {self.where} is closed"))
            return future
        item = Sent(payload, convert, max_bytes, future)
        if not self._awaiting and not self._outbox and not self._paused and not self._is_held:
            self.send(payload)  # nothing else is under way: send it at once
            self._awaiting.append(item)
            return future
        self._outbox.append(item)
        self._flush_soon()
        return future

    def tell(self, payload: bytes, heard: Callable[[Reply], object] = lambda reply: None) -> None:
        """Send one encoded command without waiting for it; *heard* is called with its reply, if there is one."""
        self.submit(payload, heard).add_done_callback(consume_error)

    def take(self, sent: Sent) -> None:
        """Send a command that already has a future, such as one that another server has redirected."""
        if self.closed:
            _refuse(sent.waiter, StorageError(f"the connection to {self.where} is closed"))
            return
        self._outbox.append(sent)
        self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._flush_planned:
            self._flush_planned = True
            self.loop.call_soon(self._flush)

    def together(self) -> _Together:
        """Send all commands that are submitted in the ``with`` block together; the block must not await."""
        return _Together(self)

    def hold(self) -> bool:
        """Send nothing until `let_go`, which takes the returned value."""
        was_planned, self._flush_planned, self._is_held = self._flush_planned, True, True
        return was_planned

    def let_go(self, was_planned: bool) -> None:
        """Send what was submitted since `hold`."""
        self._flush_planned, self._is_held = was_planned, False
        if not self._awaiting and not was_planned:
            self._flush()
        elif self._outbox:
            self._flush_soon()

    def _flush(self) -> None:
        self._flush_planned = False
        outbox, awaiting = self._outbox, self._awaiting
        most = self._window.size
        while outbox and not self._paused and not self.closed and len(awaiting) < most:
            batch: list[bytes] = []
            size = 0
            while outbox and size < BATCH_BYTES and len(awaiting) < most:
                item = outbox.popleft()
                if item.waiter.done():
                    continue  # cancelled before it was sent
                batch.append(item.payload)
                size += len(item.payload)
                awaiting.append(item)
            if batch:
                self.send(b"".join(batch))

    def send(self, data: bytes) -> None:
        """Write *data* to the transport."""
        if self._transport is None:
            raise StorageError(f"{self.where} is not open yet")
        self._silence.asked(is_first=not self._awaiting)
        self._transport.write(data)

    def give_up(self) -> None:
        """Abort the transport."""
        if self._transport is not None:
            self._transport.abort()

    def _waits(self) -> bool:
        return bool(self._awaiting or self._outbox)

    def _fell_silent(self, timeout_s: float) -> None:
        self._fail(StorageTimeoutError(f"{self.where} sent nothing of use for {timeout_s:g} s"))

    @property
    def is_busy(self) -> bool:
        """Whether commands wait for replies."""
        return bool(self._awaiting)

    # ---- asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        """Parse *data*, and deliver replies and pushes."""
        try:
            replies = self._parser.feed(data)
        except ProtocolError as exc:
            self._fail(StorageError(f"{self.where} does not speak the Redis protocol: {exc}"), exc)
            return
        # Parts of a reply that no task waits for do not count: a reply that trickles in would block all others.
        if replies or not self._awaiting or not self._awaiting[0].waiter.done():
            self._silence.heard_at = self.loop.time()
        self.replied(replies)
        self._window.received(len(data), len(replies))
        if not replies and self._window.partial_bytes > MIN_CHECKED_BYTES:
            self._refuse_endless()

    def replied(self, replies: list[Reply]) -> None:
        """Deliver *replies* to their futures, and go on sending."""
        awaiting, push_type = self._awaiting, self._parser.push_type
        for reply in replies:
            if type(reply) is push_type:
                if self.on_push is not None:
                    self.on_push(reply)
            elif awaiting:
                sent = awaiting.popleft()
                if type(reply) is not ServerError or not self._is_asked_elsewhere(sent, reply):
                    _deliver(sent, reply)
            else:
                self._fail(StorageError(f"{self.where} sent a reply that was not asked for"))
                return
        if self.retired and not awaiting and not self._outbox:
            self.abort()
        if self._outbox and not self._flush_planned and len(awaiting) <= self._window.size // 2:
            self._flush()

    def _is_asked_elsewhere(self, sent: Sent, error: ServerError) -> bool:
        if error.code in _STALE:
            self.retired = True
        return self.on_refused is not None and self.on_refused(sent, error)

    def _refuse_endless(self) -> None:
        """End the connection if the incomplete reply is already larger than its command allows."""
        if self._window.partial_bytes > (self._awaiting[0].max_bytes() if self._awaiting else MAX_REPLY_BYTES):
            self._fail(ReplyTooLargeError(f"{self.where} sends a reply that is larger than any that is kept there"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail all waiting commands."""
        self._fail(StorageError(f"the connection to {self.where} was lost"), exc)
        if not self._lost.done():
            self._lost.set_result(None)

    def pause_writing(self) -> None:
        """Stop sending for now: the server does not keep up."""
        self._paused = True

    def resume_writing(self) -> None:
        """Go on sending."""
        self._paused = False
        self._flush()

    # ---- the end

    def _fail(self, error: StorageError, cause: BaseException | None = None) -> None:
        """Give up the connection; each waiting command gets its own copy of *error*, with *cause* as its cause."""
        if not self.closed:
            self.closed = True
            self.give_up()
            if self.on_lost is not None:
                self.on_lost()
        self._silence.stop()
        waiting = [*self._awaiting, *self._outbox]
        self._awaiting.clear()
        self._outbox.clear()
        for item in waiting:
            copy = type(error)(*error.args)
            copy.__cause__ = cause
            _refuse(item.waiter, copy)

    def abort(self) -> None:
        """Close at once."""
        self._fail(StorageError(f"the connection to {self.where} is closed"))

    async def wait_closed(self) -> None:
        """Wait until the transport has closed its socket, `CLOSE_TIMEOUT_S` at most."""
        await asyncio.wait([self._lost], timeout=CLOSE_TIMEOUT_S)

    def abandon(self) -> None:
        """Close the socket after the loop was closed, when no future can be answered any more."""
        self.closed = True
        if self._transport is not None:
            release_transport(self._transport)


def _refuse(waiter: asyncio.Future[Any], error: StorageError) -> None:
    if not waiter.done():
        waiter.set_exception(error)


def _deliver(item: Sent, reply: Reply) -> None:
    waiter = item.waiter
    if waiter.done():
        return
    try:
        waiter.set_result(item.convert(reply))
    except Exception as exc:
        waiter.set_exception(exc)


def release_transport(transport: Any) -> None:
    """Close the socket of a transport whose loop is closed.

    ``abort`` needs the loop, in which it would schedule a method without a public name; that is called here. uvloop has
    no such method and needs none: it closes its sockets with the loop.
    """
    inner = getattr(getattr(transport, "_ssl_protocol", None), "_transport", None)
    with contextlib.suppress(RuntimeError):  # expected, since the loop is closed; marks the transport as closed
        transport.abort()
    for each in (inner, transport):
        finish = getattr(each, "_call_connection_lost", None)
        if finish is not None and getattr(each, "_sock", None) is not None:
            with contextlib.suppress(RuntimeError):  # TLS tries to use the loop, after the socket is closed
                finish(None)
