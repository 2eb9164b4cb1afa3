"""An origin in a thread of its own, so that synchronous test clients can reach it too."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from contextlib import contextmanager

from aiohttp import web

__all__ = ["Origin", "running_origin"]


class Origin:
    """Counts its requests and the connections that they came by.

    Its answers may be cached for a minute, unless the query says another ``cache-control``. They redirect to the
    ``location`` of the query, or to ``itself``.
    """

    def __init__(self) -> None:
        self.hits = 0
        self.connections: set[object] = set()
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        """Answer with the number of the request."""
        self.hits += 1
        assert request.transport is not None
        self.connections.add(request.transport.get_extra_info("peername"))
        lifetime = request.query.get("cache-control", "max-age=60")
        headers = {"Cache-Control": lifetime}
        if location := request.query.get("location"):
            headers["Location"] = str(request.rel_url) if location == "itself" else location
        return web.Response(text=f"{self.hits}", status=302 if location else 200, headers=headers)


@contextmanager
def running_origin() -> Generator[Origin]:
    """Run an origin on a free port."""
    origin, started, stop = Origin(), threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        app = web.Application()
        app.router.add_get("/{path:.*}", origin.answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        origin.url = f"http://{host}:{port}"
        started.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert started.wait(10)
        yield origin
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()
