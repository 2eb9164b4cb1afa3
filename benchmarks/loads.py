"""Requests per second of a FastAPI app under uvicorn, with connections that each always have a request under way."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from dataclasses import asdict
from typing import Any

from benchmarks.clients import Place
from benchmarks.rounds import Round

__all__ = ["Python", "load", "python"]

CONNECTIONS = 32
ROUND_S = 1.0
STARTUP_S = 20.0


class Python:
    """A Python process that this one has started."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def line(self) -> str:
        """Read the next line of its output."""
        assert self._process.stdout is not None
        return (await self._process.stdout.readline()).decode()

    def close(self) -> None:
        """Terminate it, if it still runs."""
        if self._process.returncode is None:
            self._process.terminate()


async def python(*arguments: str, **environment: str) -> Python:
    """Start Python with *arguments*, and with additional variables of the *environment*."""
    return Python(
        await asyncio.create_subprocess_exec(
            sys.executable, *arguments, stdout=asyncio.subprocess.PIPE, env={**os.environ, **environment}
        )
    )


class _Connection(asyncio.Protocol):
    """Repeats a request as soon as the response is complete; all responses have the same length."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._transport: asyncio.Transport | None = None
        self._have = b""
        self._missing = 0
        self._length = 0
        self.answers = 0
        self.running = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def run(self) -> None:
        """Send the first request."""
        assert self._transport is not None
        self.running = True
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self._length:
            self._measure(data)
            return
        self._missing -= len(data)
        if self._missing <= 0:
            self._answered()

    def _measure(self, data: bytes) -> None:
        """Determine the length of a response from the first one."""
        self._have += data
        head, end, body = self._have.partition(b"\r\n\r\n")
        if not end:
            return
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"the app answered {head[:40]!r}")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        self._length = len(head) + 4 + int(fields[b"content-length"])
        if len(body) + len(head) + 4 == self._length:
            self._answered()
        else:
            self._missing = self._length - len(self._have)

    def _answered(self) -> None:
        assert self._transport is not None
        self.answers += 1
        self._missing = self._length
        if self.running:
            self._transport.write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.running:
            self.running = False
            print(f"a connection was lost: {exc}", file=sys.stderr)


async def _drive(port: int, path: str, seconds: float) -> float:
    """Send requests for about *seconds*, after a warm-up, and return the requests per second."""
    loop = asyncio.get_running_loop()
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    connections = [
        (await loop.create_connection(lambda: _Connection(request), "127.0.0.1", port)) for _ in range(CONNECTIONS)
    ]
    for _, connection in connections:
        connection.run()
    await asyncio.sleep(seconds / 4)
    counted = sum(connection.answers for _, connection in connections)
    started = time.perf_counter()
    await asyncio.sleep(seconds)
    counted = sum(connection.answers for _, connection in connections) - counted
    took_s = time.perf_counter() - started
    for transport, connection in connections:
        if not connection.running:
            raise RuntimeError("a connection was lost")
        connection.running = False
        transport.close()
    return counted / took_s


@asynccontextmanager
async def load(name: str, place: Place, options: dict[str, Any], parameters: dict[str, Any]) -> AsyncGenerator[Round]:
    """Compare a route that does one cached GET with a route of the same app that returns the same bytes."""
    spec = json.dumps({"client": name, "place": asdict(place), "options": options})
    with closing(await python("-m", "benchmarks.web_app", BENCHMARK_APP=spec)) as app:
        port = int(await asyncio.wait_for(app.line(), STARTUP_S))

        async def run_round() -> dict[str, float]:
            seconds = parameters.get("seconds", ROUND_S)
            constant = await _drive(port, "/constant", seconds)
            cached = await _drive(port, "/cached", seconds)
            return {"us": 1e6 / cached, "constant_us": 1e6 / constant, "lost": 1 - cached / constant}

        for path in ("/constant", "/cached"):
            await _drive(port, path, parameters.get("seconds", ROUND_S))
        yield run_round
