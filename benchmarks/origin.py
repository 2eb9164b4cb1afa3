"""The origin of the benchmarks, a separate process, which does as little work per response as asyncio allows.

``/…`` is answered with 10 kB, ``/b/<bytes>/…`` with that many bytes, and ``/slow/<ms>/…`` with 10 kB, of which all but
the first kilobyte is sent after that many milliseconds. ``/asked/…`` is answered with the time at which the request
came, as `time.perf_counter` tells it in every process. Each response has eight header fields, with an ETag of its own,
and is fresh for a day.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from email.utils import formatdate

__all__ = ["main"]

BODY_BYTES = 10_000
FIRST_BYTES = 1_000
_HEAD = (
    b"HTTP/1.1 200 OK\r\n"
    b"Date: %s\r\n"
    b"Server: bench\r\n"
    b"Content-Type: application/json; charset=utf-8\r\n"
    b"Cache-Control: public, max-age=86400\r\n"
    b"Last-Modified: Fri, 20 Nov 2026 08:00:00 GMT\r\n"
    b"X-Request-Id: %016x\r\n"
    b'ETag: "%016x"\r\n'
    b"Content-Length: %d\r\n\r\n"
)


class Origin(asyncio.Protocol):
    """One connection; requests have no bodies."""

    _numbers = itertools.count(random.getrandbits(40))  # so that all responses differ
    _bodies: dict[int, bytes] = {}  # noqa: RUF012  # shared by all connections
    _date = (0, b"")  # POSIX time in seconds, and the Date field for it

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        """Answer every request whose head is complete."""
        data = self._rest + data
        while (end := data.find(b"\r\n\r\n")) >= 0:
            self._answer(data[: data.index(b"\r\n")].split(b" ")[1])
            data = data[end + 4 :]
        self._rest = data

    def _answer(self, path: bytes) -> None:
        came_at = time.perf_counter()
        parts = path.split(b"/")
        number = next(self._numbers)
        second = int(time.time())
        if second != self._date[0]:
            Origin._date = second, formatdate(second, usegmt=True).encode()
        if parts[1] == b"asked":
            body = b"%.9f" % came_at
        else:
            size = int(parts[2]) if parts[1] == b"b" else BODY_BYTES
            body = self._bodies.setdefault(size, b"x" * size)
        head = _HEAD % (self._date[1], number, number, len(body))
        if parts[1] != b"slow":
            self._transport.write(head + body)
            return
        self._transport.write(head + body[:FIRST_BYTES])
        asyncio.get_running_loop().call_later(int(parts[2]) / 1000, self._transport.write, body[FIRST_BYTES:])


async def main() -> None:
    """Serve until killed; the port is the first line on standard output."""
    server = await asyncio.get_running_loop().create_server(Origin, "127.0.0.1", 0, backlog=20_000)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
