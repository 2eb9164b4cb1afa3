"""The FastAPI app of the throughput scenario: one route returns a constant body, the other that of a cached GET."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import AsyncGenerator
from typing import Any

import uvicorn
from fastapi import FastAPI, Response

from benchmarks import floors
from benchmarks.clients import CLIENTS, HttpxClient, Place, SessionClient

__all__ = ["make_app"]


def make_app(name: str, place: Place, options: dict[str, Any]) -> FastAPI:
    """Make an app that uses the implementation *name*."""
    state: dict[str, Any] = {}
    url = f"{place.origin}app"

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        async with CLIENTS[name](place, options) as client:
            state["client"] = client
            yield

    app = FastAPI(lifespan=lifespan)

    async def constant() -> Response:
        return Response(floors.BODY, media_type="application/json")

    async def cached() -> Response:
        client = state["client"]
        if isinstance(client, SessionClient):
            async with client.session.get(url) as response:
                return Response(await response.read(), media_type="application/json")
        assert isinstance(client, HttpxClient)
        return Response((await client.client.get(url)).content, media_type="application/json")

    app.get("/constant")(constant)
    app.get("/cached")(cached)
    return app


def main() -> None:
    """Serve with one worker; the port is the first line on standard output."""
    spec = json.loads(os.environ["BENCHMARK_APP"])
    app = make_app(spec["client"], Place(**spec["place"]), spec["options"])
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        print(listening.getsockname()[1], flush=True)
        server.run(sockets=[listening])


if __name__ == "__main__":
    main()
