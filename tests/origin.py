"""An origin that follows a test's script: it counts requests, and misbehaves when the script says so."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from ssl import SSLContext
from types import TracebackType
from typing import Self, TypeAlias

from multidict import CIMultiDict

__all__ = ["CLOSE", "CUT", "Origin", "Received", "answer", "chunked"]

CLOSE = b"\0close"
"""Yielded by a script: end the connection in good order."""
CUT = b"\0cut"
"""Yielded by a script: reset the connection."""

DEFAULT_HEADERS = {"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "max-age=60"}


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it reached the origin.

    Args:
        number: how many requests for the same path have arrived, this one included.
    """

    method: str
    target: str
    headers: CIMultiDict[str]
    body: bytes
    number: int
    reader: asyncio.StreamReader = field(repr=False)

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]


Script: TypeAlias = bytes | Callable[[Received], bytes | Awaitable[bytes] | AsyncIterator[bytes]]
"""What is sent: bytes as they are, or what makes them of the request, all at once or piece by piece."""


def answer(
    body: bytes | str = b"",
    *,
    status: int = 200,
    reason: str = "OK",
    headers: Mapping[str, str | None] | None = None,
    lines: tuple[tuple[str, str], ...] = (),
) -> bytes:
    """A whole response, cacheable for a minute.

    Args:
        headers: fields in place of the usual ones; None leaves one out.
        lines: further fields, which may repeat names.
    """
    content = body.encode() if isinstance(body, str) else body
    fields: dict[str, str | None] = {**DEFAULT_HEADERS, "Content-Length": str(len(content)), **(headers or {})}
    head = [f"HTTP/1.1 {status} {reason}"]
    head += [f"{name}: {value}" for name, value in (*fields.items(), *lines) if value is not None]
    return "\r\n".join(head).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + content


def chunked(*pieces: bytes, end: bool = True) -> bytes:
    """*pieces* in the chunked coding; without *end* the last chunk is missing, as after a lost connection."""
    coded = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return coded + (b"0\r\n\r\n" if end else b"")


class Origin:
    """A server on a free port of the loopback interface.

    Args:
        tls: serve HTTPS.
    """

    def __init__(self, *, tls: SSLContext | None = None) -> None:
        self.received: list[Received] = []
        self.connections = 0
        self._scripts: dict[str, Script] = {}
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._arrived = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def port(self) -> int:
        """The port that the system has chosen."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """The URL of the root, without a trailing slash."""
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}"

    @property
    def hits(self) -> int:
        """How many requests have arrived."""
        return len(self.received)

    def hits_of(self, path: str) -> int:
        """How many requests for *path* have arrived."""
        return sum(1 for request in self.received if request.path == path)

    def on(self, path: str, script: Script) -> str:
        """Let *script* answer requests for *path*, and return its URL."""
        self._scripts[path] = script
        return self.url + path

    async def arrival(self) -> None:
        """Wait until a request arrives."""
        await self._arrived.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                while await self._answer_one(reader, writer):
                    pass
        except asyncio.CancelledError:  # the test is over; asyncio would report a handler that ends like this
            pass
        finally:
            self._tasks.discard(task)
            writer.close()
            with suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        request = await self._read(reader, writer)
        script = self._scripts.get(request.path, answer("no such page", status=404, reason="Not Found"))
        async for piece in _pieces(script, request):
            if piece == CLOSE:
                return False
            if piece == CUT:
                linger_not = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_not)
                writer.transport.abort()
                return False
            writer.write(piece)
            await writer.drain()
        return request.headers.get("Connection", "").lower() != "close"

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Received:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("utf-8", "surrogateescape")
        start, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
        method, target, _ = start.split(" ", 2)
        headers = CIMultiDict((name, value.strip()) for name, _, value in (line.partition(":") for line in lines))
        if headers.get("Expect") == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await _read_body(reader, headers)
        path = target.partition("?")[0]
        received = Received(method, target, headers, body, self.hits_of(path) + 1, reader)
        self.received.append(received)
        self._arrived.set()
        return received


async def _read_body(reader: asyncio.StreamReader, headers: CIMultiDict[str]) -> bytes:
    if headers.get("Transfer-Encoding") != "chunked":
        return await reader.readexactly(int(headers.get("Content-Length", "0")))
    pieces: list[bytes] = []
    while size := int(await reader.readuntil(b"\r\n"), 16):
        pieces.append((await reader.readexactly(size + 2))[:-2])
    await reader.readuntil(b"\r\n")
    return b"".join(pieces)


async def _pieces(script: Script, request: Received) -> AsyncIterator[bytes]:
    made = script if isinstance(script, bytes) else script(request)
    if isinstance(made, Awaitable):
        made = await made
    if isinstance(made, bytes):
        yield made if request.method != "HEAD" else made.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        return
    async for piece in made:
        yield piece
