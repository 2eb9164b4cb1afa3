"""A relay in front of a server, which counts the round trips of its clients."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Self

from tests.valkey import ValkeyServer

__all__ = ["Relay"]


class Relay:
    """Forwards what clients send to *server*, and its answers.

    Attributes:
        turns: round trips: how often a client has sent something first, or after an answer.
        pieces: in how many pieces the clients' data has arrived.
    """

    def __init__(self, server: ValkeyServer) -> None:
        self.turns = self.pieces = 0
        self.url = ""
        self._port = server.port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection("127.0.0.1", self._port)
        tasks = asyncio.create_task(self._send(reader, forth)), asyncio.create_task(self._answer(back, writer))
        self._tasks |= set(tasks)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            writer.close()
            forth.close()

    async def _send(self, reader: asyncio.StreamReader, forth: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(2**20):
                self.pieces += 1
                self.turns += self._is_answered
                self._is_answered = False
                forth.write(data)

    _is_answered = True

    async def _answer(self, back: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await back.read(2**20):
                self._is_answered = True
                writer.write(data)
