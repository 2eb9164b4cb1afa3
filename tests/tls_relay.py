"""A relay that terminates TLS for a server without TLS, and passes plain connections through unchanged."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import ssl
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["TlsRelay", "make_certificate"]

HELLO = b"\x16"
"""The first byte of TLS (RFC 8446 §5.1: a record of the handshake); no command of Redis begins with it."""


def make_certificate(folder: Path) -> tuple[Path, Path] | None:
    """Make a self-signed certificate for this machine, and its key; None where openssl is missing."""
    openssl = shutil.which("openssl")
    if openssl is None:
        return None
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-days", "2"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    return certificate, key


class TlsRelay:
    """Listens on a port of its own, in the running loop.

    Args:
        port: the port of the server.
        certificate: the files of the certificate and of its key.
    """

    def __init__(self, port: int, certificate: tuple[Path, Path]) -> None:
        self.port = 0
        self.secure = 0
        """How many connections used TLS."""
        self.plain = 0
        self._server_port = port
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*certificate)
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener = socket.socket()

    async def __aenter__(self) -> Self:
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        self._begin(self._accept())
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._listener.close()

    def _begin(self, work: object) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)  # type: ignore[arg-type]  # a coroutine
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self) -> None:
        while True:
            accepted, _ = await asyncio.get_running_loop().sock_accept(self._listener)
            self._begin(self._serve(accepted))

    async def _serve(self, accepted: socket.socket) -> None:
        with contextlib.suppress(OSError), accepted:
            is_tls = await _first_byte(accepted) == HELLO
            self.secure, self.plain = self.secure + is_tls, self.plain + (not is_tls)
            reader = asyncio.StreamReader()
            protocol = asyncio.StreamReaderProtocol(reader)
            loop = asyncio.get_running_loop()
            context = self._context if is_tls else None
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, accepted, ssl=context)
            writer = asyncio.StreamWriter(transport, protocol, reader, loop)
            try:
                inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
                try:
                    await asyncio.gather(_pass_on(reader, inner_writer), _pass_on(inner_reader, writer))
                finally:
                    await _end(inner_writer)
            finally:
                await _end(writer)


async def _first_byte(accepted: socket.socket) -> bytes:
    loop, is_there = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(accepted, is_there.set)
    try:
        await is_there.wait()
    finally:
        loop.remove_reader(accepted)
    return accepted.recv(1, socket.MSG_PEEK)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def _end(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with contextlib.suppress(OSError, asyncio.CancelledError):
        await writer.wait_closed()
