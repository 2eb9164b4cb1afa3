"""One connection to Redis that any number of tasks share: commands go out in batches, replies come back in order.

A pool lends a connection to one task at a time, so a thousand tasks need a thousand connections or wait in a queue,
and a task that is cancelled while it holds one has to break it. Here every command is written to the one connection
as it comes, what a tick of the loop brings together is sent together, and each reply goes to the task that waits for
it. A task that is cancelled merely is not there any more when its reply arrives.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, ClassVar, TypeVar, cast

from msgspec import Struct

from aiohttp_cache_di._redis import error_named
from aiohttp_cache_di.backends.redis.connections.wire import ProtocolError, Reply, ReplyParser, ServerError
from aiohttp_cache_di.backends.wrap.tasks import consume_error
from aiohttp_cache_di.errors import StorageError, StorageTimeoutError

__all__ = ["MAX_REPLY_BYTES", "REFUSALS", "Connection", "ReplyTooLargeError", "Sent", "expect_no_error", "refusal"]

T = TypeVar("T")

MAX_WINDOW = 1024  # commands under way at a time
MIN_WINDOW = 16
WIDE_WINDOW = MAX_WINDOW - 3  # at which the mean of this and the largest is this
WINDOW_BYTES = 32 * 1024 * 1024  # of replies under way, as far as can be told: the server has to keep them in memory
BATCH_BYTES = 256 * 1024  # handed to the transport at a time
MAX_REPLY_BYTES = 16 * 1024 * 1024  # of a reply that is no value of ours, and of a message that came unasked
MIN_CHECKED_BYTES = 64 * 1024  # of a reply, from which its size is looked at
CLOSE_TIMEOUT_S = 1.0
HIGH_WATER_BYTES = 1024 * 1024  # unsent bytes at which sending waits for the server to take some

REFUSALS = {
    "LOADING": "BusyLoadingError",
    "NOAUTH": "AuthenticationError",
    "NOPERM": "NoPermissionError",
    "OOM": "OutOfMemoryError",
    "READONLY": "ReadOnlyError",
}
"""The driver's names for what a server refuses; everything else is its ResponseError."""

_STALE = frozenset({"NOAUTH", "READONLY"})
"""What a new connection may mend: a password that was renewed, a name that leads to another server by now."""


class ReplyTooLargeError(StorageError):
    """A reply was larger than its command may have, and the connection was ended before it was whole."""


class Sent(Struct, frozen=True):
    """A command and what waits for its reply."""

    payload: bytes
    convert: Callable[[Reply], Any]
    max_bytes: Callable[[], int]
    waiter: asyncio.Future[Any]
    hops: int = 0
    """How often a server has said that another one is to be asked."""


class _Together:
    """What `Connection.together` returns; one made of a generator takes twice as long, on the way of each write."""

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
    """Say that the server refused a command; only the kind of error is quoted, for the text may hold the command."""
    refused = StorageError(f"redis refused the command: {error.code}")
    refused.__cause__ = error_named(REFUSALS.get(error.code, "ResponseError"))(error.code)
    return refused


def expect_no_error(reply: Reply) -> Reply:
    """Hand a reply on, and raise when it is an error."""
    if type(reply) is ServerError:
        raise refusal(reply)
    return reply


class Connection(asyncio.Protocol):
    """A connection that has been opened and authenticated; belongs to the loop that is running.

    Args:
        where: what to call the server in messages.
        timeout_s: with a command under way and nothing arriving for so long, or nothing but parts of a reply for
            which no task waits, the connection is given up.
    """

    can_push: ClassVar[bool] = True
    """Whether what the server sends unasked is heard."""

    is_bounded: ClassVar[bool] = True
    """Whether a reply that is too large ends the connection before it is whole."""

    def __init__(self, where: str, timeout_s: float | None) -> None:
        self.on_push: Callable[[list[Reply]], None] | None = None
        """Called with what the server sends unasked (RESP3), as it is parsed."""
        self.on_lost: Callable[[], None] | None = None
        """Called when the connection is given up, for whatever reason."""
        self.on_refused: Callable[[Sent, ServerError], bool] | None = None
        """Called with a command that ended in an error; tells whether it is asked of another server."""
        self.where = where
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self.closed: bool = False
        self.retired: bool = False
        """Whether what is under way ends here, and what comes next goes over a new connection."""
        self._timeout_s = timeout_s
        self._transport: asyncio.Transport | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._parser = ReplyParser()
        self._push_type = self._parser.push_type
        self._outbox: deque[Sent] = deque()
        self._awaiting: deque[Sent] = deque()
        self._window = MAX_WINDOW // 4
        self._unaccounted_bytes = 0
        self._paused = False
        self._flush_planned = False
        self._is_held = False
        self._heard_at = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self._lost: asyncio.Future[None] = self.loop.create_future()

    def adopt(self, writer: asyncio.StreamWriter) -> None:
        """Take over the transport of *writer*, on which nothing is under way."""
        self._writer = writer  # which closes its transport when it is collected
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
            max_bytes: tells those of the reply, about: one that grows beyond them ends the connection.
        """
        future: asyncio.Future[T] = self.loop.create_future()
        if self.closed:
            future.set_exception(StorageError(f"the connection to {self.where} is closed"))
            return future
        item = Sent(payload, convert, max_bytes, future)
        if not self._awaiting and not self._outbox and not self._paused and not self._is_held:
            self.send(payload)  # a lone command goes at once
            self._awaiting.append(item)
            return future
        self._outbox.append(item)
        self._flush_soon()
        return future

    def tell(self, payload: bytes, heard: Callable[[Reply], object] = lambda reply: None) -> None:
        """Send one encoded command whose outcome is not waited for; *heard* is called with its reply, if one comes."""
        self.submit(payload, heard).add_done_callback(consume_error)

    def take(self, sent: Sent) -> None:
        """Send a command whose reply is waited for already."""
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
        """Send what is submitted within in one piece; nothing in it may wait."""
        return _Together(self)

    def hold(self) -> bool:
        """Send nothing until `let_go`, which is told what this returns."""
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
        while outbox and not self._paused and not self.closed and len(awaiting) < self._window:
            batch: list[bytes] = []
            size = 0
            while outbox and size < BATCH_BYTES and len(awaiting) < self._window:
                item = outbox.popleft()
                if item.waiter.done():
                    continue  # it was cancelled before it was sent
                batch.append(item.payload)
                size += len(item.payload)
                awaiting.append(item)
            if batch:
                self.send(b"".join(batch))

    def send(self, data: bytes) -> None:
        """Write *data* to the transport, and mind the time until something comes back."""
        if self._transport is None:
            raise StorageError(f"{self.where} is not open yet")
        if self._watch is None and self._timeout_s is not None:
            self._heard_at = self.loop.time()
            self._watch = self.loop.call_later(self._timeout_s, self._check_alive)
        elif not self._awaiting:
            self._heard_at = self.loop.time()
        self._transport.write(data)

    def give_up(self) -> None:
        """Let go of the transport at once."""
        if self._transport is not None:
            self._transport.abort()

    def _check_alive(self) -> None:
        self._watch = None
        if self.closed or self._timeout_s is None or not (self._awaiting or self._outbox):
            return
        left = self._heard_at + self._timeout_s - self.loop.time()
        if left <= 0:
            self._fail(StorageTimeoutError(f"{self.where} sent nothing of use for {self._timeout_s:g} s"))
        else:
            self._watch = self.loop.call_later(left, self._check_alive)

    @property
    def is_busy(self) -> bool:
        """Whether replies are to come."""
        return bool(self._awaiting)

    # ---- what the transport tells

    def data_received(self, data: bytes) -> None:
        """Hand replies to those who wait for them, and follow the server's invalidations."""
        try:
            replies = self._parser.feed(data)
        except ProtocolError as exc:
            self._fail(StorageError(f"{self.where} does not speak the Redis protocol: {exc}"), exc)
            return
        # A reply that trickles in, and for which no task waits any more, keeps all others from being answered.
        if replies or not self._awaiting or not self._awaiting[0].waiter.done():
            self._heard_at = self.loop.time()
        self.replied(replies)
        self._adapt_window(len(data), len(replies))
        if not replies and self._unaccounted_bytes > MIN_CHECKED_BYTES:
            self._refuse_endless()

    def replied(self, replies: list[Reply]) -> None:
        """Hand *replies* to those who wait for them, and go on sending."""
        awaiting = self._awaiting
        for reply in replies:
            if type(reply) is self._push_type:
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
        if self._outbox and not self._flush_planned and len(awaiting) <= self._window // 2:
            self._flush()

    def _is_asked_elsewhere(self, sent: Sent, error: ServerError) -> bool:
        if error.code in _STALE:
            self.retired = True
        return self.on_refused is not None and self.on_refused(sent, error)

    def _adapt_window(self, size: int, count: int) -> None:
        """Let fewer commands be under way the longer the replies are."""
        self._unaccounted_bytes += size
        if count:
            fitting = WINDOW_BYTES * count // self._unaccounted_bytes
            if fitting < MAX_WINDOW or self._window < WIDE_WINDOW:  # which replies of usual size do not change
                self._window = (3 * self._window + min(max(fitting, MIN_WINDOW), MAX_WINDOW)) // 4
            self._unaccounted_bytes = 0

    def _refuse_endless(self) -> None:
        """End the connection if the reply that arrives is larger than its command can have asked for."""
        if self._unaccounted_bytes > (self._awaiting[0].max_bytes() if self._awaiting else MAX_REPLY_BYTES):
            self._fail(ReplyTooLargeError(f"{self.where} sends a reply that is larger than any that is kept there"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell all who wait that no reply will come."""
        self._fail(StorageError(f"the connection to {self.where} was lost"), exc)
        if not self._lost.done():
            self._lost.set_result(None)

    def pause_writing(self) -> None:
        """Send nothing more for now: the server is slower than we are."""
        self._paused = True

    def resume_writing(self) -> None:
        """Go on sending."""
        self._paused = False
        self._flush()

    # ---- the end

    def _fail(self, error: StorageError, cause: BaseException | None = None) -> None:
        """Give up the connection; each who waits gets an error of his own, caused by *cause*."""
        if not self.closed:
            self.closed = True
            self.give_up()
            if self.on_lost is not None:
                self.on_lost()
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
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
        """Wait until the transport has let go of its socket."""
        await asyncio.wait([self._lost], timeout=CLOSE_TIMEOUT_S)

    def abandon(self) -> None:
        """Let go of the socket when the loop is closed already, so that no waiter can be told any more."""
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

    ``abort`` needs the loop. What it would have the loop do next is a method without a public name; uvloop has none
    and needs none, because it closes its sockets when the loop is closed.
    """
    inner = getattr(getattr(transport, "_ssl_protocol", None), "_transport", None)
    with contextlib.suppress(RuntimeError):  # the loop is closed, which is expected; the transport counts as closed
        transport.abort()
    for each in (inner, transport):
        finish = getattr(each, "_call_connection_lost", None)
        if finish is not None and getattr(each, "_sock", None) is not None:
            with contextlib.suppress(RuntimeError):  # TLS would tell the loop; the socket is closed all the same
                finish(None)
