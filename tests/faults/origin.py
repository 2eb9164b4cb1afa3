"""An origin with a known body for each path, which counts requests and waits or fails as a test says."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from aiohttp import web

__all__ = ["Answer", "Origin", "RawOrigin", "body_of"]

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def body_of(path: str, size: int = 2000) -> bytes:
    """The one right body for *path*, different for each path."""
    return hashlib.shake_256(path.encode()).digest(size)


class Origin:
    """A server in the running loop, which answers every path.

    Args:
        delay_s: how long an answer takes.
        size: bytes of a body.
    """

    def __init__(self, *, delay_s: float = 0.0, size: int = 2000) -> None:
        self.delay_s = delay_s
        self.size = size
        self.status = 200
        self.headers = {"Cache-Control": "max-age=600"}
        self.hits: Counter[str] = Counter()
        self.answer: Answer = self.answer_plainly
        self.gate: asyncio.Event | None = None
        """When set, answers wait for it."""
        self.arrived = asyncio.Event()
        """Set by each request as it arrives."""
        self.url = ""

    @property
    def total(self) -> int:
        """How many requests have arrived."""
        return self.hits.total()

    def body_of(self, path: str) -> bytes:
        """The one right body for *path*."""
        return body_of(path, self.size)

    async def answer_plainly(self, request: web.Request) -> web.StreamResponse:
        """Answer with the body of the path."""
        if self.gate is not None:
            await self.gate.wait()
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        return web.Response(status=self.status, body=self.body_of(request.path_qs), headers=self.headers)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.hits[request.path_qs] += 1
        self.arrived.set()
        return await self.answer(request)

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, backlog=2048).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._runner.cleanup()


class RawOrigin:
    """A server that answers each request with given bytes, valid HTTP or not, and then closes the connection.

    Args:
        reply: the pieces to send, each in a write of its own.
        repeat: send the last piece repeatedly until the client disconnects.
    """

    def __init__(self, *reply: bytes, repeat: bool = False, keep_alive: bool = False) -> None:
        self.reply = reply
        self.repeat = repeat
        self.keep_alive = keep_alive
        self.hits = 0
        self.url = ""
        self._open: set[asyncio.StreamWriter] = set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                self.hits += 1
                for piece in self.reply:
                    writer.write(piece)
                    await writer.drain()
                while self.repeat:
                    writer.write(self.reply[-1])
                    await writer.drain()
                if not self.keep_alive:
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has disconnected, as many of these tests intend
        finally:
            self._open.discard(writer)
            writer.close()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()[:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()
        await self._server.wait_closed()
