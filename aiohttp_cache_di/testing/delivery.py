"""A server on this machine that answers requests with canned responses.

Only the connection of a request is redirected there: its URL, its Host field and everything that the app sees stay the
same. So aiohttp reads, decodes and streams the response and follows redirects as always.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from email.utils import formatdate
from typing import Any, Final, Literal, TypeAlias

from aiohttp import ClientHandlerType, ClientRequest, ClientResponse, TCPConnector, hdrs, web
from yarl import URL

from aiohttp_cache_di.backends.loops import is_in_a_loop
from aiohttp_cache_di.testing.codings import coded

__all__ = ["Breaks", "Canned", "Delivery", "is_answered"]

Breaks: TypeAlias = Literal["", "before-head", "in-body"]

_TICKET: Final = "X-Aiohttp-Cache-Di-Ticket"
_HOSTS: Final = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
_WITHIN_S: Final = 5.0  # a server that has nothing to do starts and ends in milliseconds
_FRAMING: Final = frozenset({"content-length", "transfer-encoding", "connection", "keep-alive"})
_EXACT: Final = web.ResponseKey("exact", list[tuple[str, str]])
_BODILESS: Final = frozenset({204, 304})


_answered: ContextVar[ClientRequest | None] = ContextVar("aiohttp_cache_di_answered", default=None)


def is_answered(request: ClientRequest) -> bool:
    """Whether *request* is already being sent to this server, so that no other tap may intercept it."""
    return _answered.get() is request


@dataclass(frozen=True, slots=True)
class Canned:
    """A canned response.

    Args:
        headers: all header fields except those that frame the body; Date is added if missing.
        chunks: the body, in the chunks in which it is sent; a single chunk is sent with Content-Length.
        is_coded: the body is already encoded; otherwise it is encoded as the Content-Encoding in *headers* says.
        delay_s: seconds that the server waits before it answers.
        breaks: where the server cuts the connection.
    """

    status: int = 200
    reason: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    chunks: tuple[bytes, ...] = ()
    is_coded: bool = False
    delay_s: float = 0.0
    breaks: Breaks = ""


class Delivery:
    """The server, which runs in a thread of its own and starts at the first request."""

    def __init__(self) -> None:
        self._canned: dict[str, Canned] = {}
        self._tickets = itertools.count(1)
        self._lock = threading.Lock()
        self._ports: dict[socket.AddressFamily, int] = {}
        self._thread: threading.Thread | None = None
        self._end: Future[Callable[[], object]] = Future()

    async def answer(self, request: ClientRequest, handler: ClientHandlerType, canned: Canned) -> ClientResponse:
        """Send *request* by *handler* to the server, which answers with *canned*."""
        connector = request.session.connector
        if not isinstance(connector, TCPConnector):
            raise TypeError(
                f"{request.url} cannot be answered: its session has a {type(connector).__name__}, not a TCPConnector"
            )
        ticket = str(next(self._tickets))
        self._canned[ticket] = canned
        token = _answered.set(request)
        try:
            with _redirected(request, self._place(connector), ticket):
                return await handler(request)
        finally:
            _answered.reset(token)
            self._canned.pop(ticket, None)

    def close(self) -> None:
        """Stop the server, and wait until it has stopped unless an event loop runs in this thread."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._end.add_done_callback(_call)
        if not is_in_a_loop():
            thread.join(_WITHIN_S)

    def _place(self, connector: TCPConnector) -> URL:
        """The address of the server for *connector*; the first call starts it, and it accepts connections at once."""
        with self._lock:
            if not self._ports:
                listening = _listening()
                self._ports = {made.family: made.getsockname()[1] for made in listening}
                self._thread = threading.Thread(target=self._run, args=(listening,), name="upstream", daemon=True)
                self._thread.start()
        family = next((one for one in self._ports if one == connector.family), socket.AF_INET)
        return URL.build(scheme="http", host=_HOSTS[family], port=self._ports[family])

    # ---- in the server's thread

    def _run(self, listening: list[socket.socket]) -> None:
        asyncio.run(self._serve(listening))

    async def _serve(self, listening: list[socket.socket]) -> None:
        app = web.Application(client_max_size=0)
        app.router.add_route("*", "/{anything:.*}", self._respond)
        app.on_response_prepare.append(_leave_as_canned)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.1)
        await runner.setup()
        for made in listening:
            await web.SockSite(runner, made).start()
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        self._end.set_result(lambda: loop.call_soon_threadsafe(over.set))
        await over.wait()
        await runner.cleanup()

    async def _respond(self, request: web.Request) -> web.StreamResponse:
        waiting = self._canned.get(request.headers.get(_TICKET, ""))
        if waiting is None:
            return web.Response(status=502, text="a request that no test has sent here")
        canned = _coded(waiting)
        async for _ in request.content.iter_any():
            pass
        if canned.delay_s:
            await asyncio.sleep(canned.delay_s)
        if canned.breaks == "before-head":
            _cut(request)
            return web.Response()
        response = _head(request, canned)
        if isinstance(response, web.Response):
            return response
        await response.prepare(request)
        for chunk in canned.chunks:
            await response.write(chunk)
        if canned.breaks:
            _cut(request)
        else:
            await response.write_eof()
        return response


def _listening() -> list[socket.socket]:
    """Listening sockets on the loopback interface: one for IPv4, and one for IPv6 if that is available."""
    found = [socket.create_server((_HOSTS[socket.AF_INET], 0), backlog=128)]
    with suppress(OSError):  # IPv6 is turned off
        found.append(socket.create_server((_HOSTS[socket.AF_INET6], 0), family=socket.AF_INET6, backlog=128))
    return found


def _call(end: Future[Callable[[], object]]) -> None:
    with suppress(RuntimeError):  # its event loop has been closed
        end.result()()


@contextmanager
def _redirected(request: ClientRequest, place: URL, ticket: str) -> Generator[None]:
    """Make *request* connect to *place*, and restore its own URL as soon as it is connected."""
    asked, proxy, name, sent = request.url, request.proxy, request.server_hostname, vars(request).get("send")

    def restore() -> None:
        request.url = asked
        vars(request).pop("send", None)
        if sent is not None:
            vars(request)["send"] = sent

    async def send(conn: Any) -> ClientResponse:
        restore()
        request.headers[_TICKET] = ticket
        try:
            return await request.send(conn)
        finally:
            request.headers.popall(_TICKET, None)

    request.url, request.proxy = place, None
    request.server_hostname = f"{asked.host}:{asked.port}"  # part of the connection key, which limits per host use
    vars(request)["send"] = send
    try:
        yield
    finally:
        restore()
        request.proxy, request.server_hostname = proxy, name


def _head(request: web.Request, canned: Canned) -> web.StreamResponse:
    """The head of the response to *request*; the whole response if it is sent with Content-Length."""
    response: web.StreamResponse
    if len(canned.chunks) > 1 or canned.breaks:
        response = web.StreamResponse(status=canned.status, reason=canned.reason)
        response.enable_chunked_encoding()
    else:
        body = b"".join(canned.chunks) if canned.status not in _BODILESS else None
        response = web.Response(status=canned.status, reason=canned.reason, body=body)
    is_alone = request.method == hdrs.METH_HEAD or canned.status in _BODILESS
    response[_EXACT] = [
        (name, value)
        for name, value in canned.headers
        if name.lower() not in _FRAMING or (is_alone and name.lower() == "content-length")
    ]
    return response


async def _leave_as_canned(_: web.Request, response: web.StreamResponse) -> None:
    """Remove the header fields that aiohttp.web has added, except those that frame the body."""
    canned = response.get(_EXACT)
    if canned is None:
        return
    named = {name.lower() for name, _ in canned}
    framing = [
        (name, value)
        for name, value in response.headers.items()
        if name.lower() in _FRAMING and name.lower() not in named
    ]
    response.headers.clear()
    response.headers.extend((*canned, *framing))
    response.headers.setdefault(hdrs.DATE, formatdate(time.time(), usegmt=True))


def _coded(canned: Canned) -> Canned:
    """Encode the body as Content-Encoding says; remove that field if the coding is not supported."""
    codings = [value.strip().lower() for name, value in canned.headers if name.lower() == "content-encoding"]
    if not codings or canned.is_coded or not canned.chunks:
        return canned
    body = coded(b"".join(canned.chunks), codings[0]) if len(codings) == 1 else None
    if body is not None:
        return replace(canned, chunks=(body,))
    plain = tuple(field for field in canned.headers if field[0].lower() != "content-encoding")
    return replace(canned, headers=plain)


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
