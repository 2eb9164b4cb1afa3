"""The origin of the demo: so slow that a hit is visible by its time; it counts its requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from aiohttp import web

__all__ = ["Origin", "run_origin"]

DELAY_S = 0.12  # of every response, as with a distant API
RATES_LIFETIME_S = 1


class Origin:
    """Two upstreams in one: weather is fresh for ten minutes, rates for a second, and they have an ETag."""

    def __init__(self) -> None:
        self.url = ""
        self.hits = 0

    def routes(self) -> list[web.RouteDef]:
        """The paths that it answers."""
        return [web.get("/weather/{city}", self.weather), web.get("/rates/{currency}", self.rates)]

    async def weather(self, request: web.Request) -> web.Response:
        """Answer with a response that is fresh for long."""
        await self._work()
        city = request.match_info["city"]
        return web.json_response({"city": city, "degrees": len(city)}, headers={"Cache-Control": "max-age=600"})

    async def rates(self, request: web.Request) -> web.Response:
        """Answer with a response that is soon stale, or with 304 if its ETag is sent."""
        await self._work()
        currency = request.match_info["currency"]
        headers = {"Cache-Control": f"max-age={RATES_LIFETIME_S}", "ETag": f'"{currency}-1"'}
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return web.Response(status=304, headers=headers)
        return web.json_response({"currency": currency, "rate": 1.25}, headers=headers)

    async def _work(self) -> None:
        self.hits += 1
        await asyncio.sleep(DELAY_S)


@asynccontextmanager
async def run_origin() -> AsyncGenerator[Origin]:
    """Serve the origin on a free port of loopback."""
    origin = Origin()
    app = web.Application()
    app.add_routes(origin.routes())
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        origin.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield origin
    finally:
        await runner.cleanup()
