"""Services in processes of their own: start them, send requests, end them with SIGTERM, and check what they leave."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from aiohttp import ClientSession, TCPConnector, web

from examples.demo.services import PROJECT, free_port

__all__ = ["READY_WITHIN_S", "Answer", "Client", "Ended", "Origin", "Service", "running_origin"]

READY_WITHIN_S = 30.0
STOPPED_WITHIN_S = 30.0
ORPHANS_GONE_WITHIN_S = 10.0

_TROUBLE = re.compile(
    r"error|warning|traceback|exception|unclosed|never awaited|never retrieved|leaked|critical|destroyed", re.IGNORECASE
)

# With several workers uvicorn leaves its listening socket (no raddr) open until the interpreter ends.
_UVICORNS_OWN = re.compile(
    r"^<?sys>?:\d: ResourceWarning: unclosed <socket[^>]*laddr=[^>]*\)>$|Enable tracemalloc to get"
)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a service ended: its exit status, its output, and which processes of its group were still alive then."""

    status: int | None
    output: str
    orphans: list[int]

    @property
    def trouble(self) -> list[str]:
        """The lines of the output that mention an error, a warning, or an unclosed resource."""
        lines = (line for line in self.output.splitlines() if not _UVICORNS_OWN.search(line))
        return [line for line in lines if _TROUBLE.search(line)]


class Service:
    """One service under test, on a port of its own."""

    def __init__(self, module: Sequence[str], variables: Mapping[str, str], folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / f"{module[0]}-{self.port}.log"
        # Show warnings, ResourceWarning included, also in workers, which inherit the variable.
        shown = {"PYTHONWARNINGS": "default", "PYTHONUNBUFFERED": "1", "PORT": str(self.port)}
        self._command = [part.format(port=self.port) for part in module]
        self._environment = {**os.environ, **shown, **variables}
        self._process: asyncio.subprocess.Process | None = None

    @classmethod
    def fastapi(cls, variables: Mapping[str, str], folder: Path, *, workers: int) -> Self:
        """The FastAPI example under uvicorn."""
        options = ["--port", "{port}", "--workers", str(workers), "--no-access-log"]
        return cls(["uvicorn", "--factory", "examples.fastapi_app:make_app", *options], variables, folder)

    @classmethod
    def web(cls, variables: Mapping[str, str], folder: Path) -> Self:
        """The aiohttp.web example."""
        return cls(["examples.web_app"], variables, folder)

    async def start(self) -> None:
        """Start it and wait until it accepts connections."""
        with self.log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                *self._command,
                cwd=PROJECT,
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = asyncio.get_running_loop().time() + READY_WITHIN_S
        while self._process.returncode is None and asyncio.get_running_loop().time() < deadline:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                await writer.wait_closed()
                return
            await asyncio.sleep(0.02)  # poll: another process gives no event
        raise AssertionError(f"{self.log.name} did not start:\n{self.output}")

    def terminate(self) -> None:
        """Send it SIGTERM."""
        assert self._process is not None
        self._process.terminate()

    async def ended(self) -> Ended:
        """Wait for its end, and report the processes of its group that outlive it before they are killed."""
        assert self._process is not None
        process = self._process
        try:
            with contextlib.suppress(TimeoutError):  # a status of None reports it
                await asyncio.wait_for(process.wait(), STOPPED_WITHIN_S)
            orphans = await _orphans(process.pid)
            return Ended(process.returncode, self.output, orphans)
        finally:
            await self.kill()

    async def stop(self) -> Ended:
        """Send it SIGTERM and wait for its end."""
        self.terminate()
        return await self.ended()

    async def kill(self) -> None:
        """Kill all processes of its group, in whatever state, and wait until the loop has reaped it."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):  # it has ended already
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()

    @property
    def output(self) -> str:
        """Its output so far."""
        return self.log.read_text(errors="replace")


async def _orphans(group: int) -> list[int]:
    """The processes of a group that stay alive; multiprocessing's resource tracker ends a moment after its parent."""
    deadline = asyncio.get_running_loop().time() + ORPHANS_GONE_WITHIN_S
    while (alive := _alive_in_group(group)) and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110  # not our children: no event
        await asyncio.sleep(0.02)
    return alive


def _alive_in_group(group: int) -> list[int]:
    alive: list[int] = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # the process has ended meanwhile
            # After the name, which may hold spaces: state, parent, group.
            state, _, its_group = stat.read_text().rpartition(")")[2].split()[:3]
            if int(its_group) == group and state not in "ZX":
                alive.append(int(stat.parent.name))
    return alive


class Answer:
    """What an example service answered."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        self.data: Any = body["data"]
        self.cache: str = body["cache"]
        self.worker: int = body["worker"]

    @property
    def is_hit(self) -> bool:
        """Whether it was answered without a request to the origin."""
        return "hit" in [part.strip() for part in self.cache.split(";")]


class Origin:
    """Both upstreams of the examples; counts requests, and can hold its answers back."""

    def __init__(self) -> None:
        self.url = ""
        self.hits: dict[str, int] = {}
        self.asked = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def answer(self, request: web.Request) -> web.Response:
        """Answer: the weather stays fresh, rates must be validated each time."""
        self.hits[request.path] = self.hits.get(request.path, 0) + 1
        self.asked.set()
        await self.may_answer.wait()
        if request.path.startswith("/weather/"):
            return web.json_response(request.path, headers={"Cache-Control": "max-age=600"})
        headers = {"Cache-Control": "no-cache", "ETag": '"first"'}
        if request.headers.get("If-None-Match") == '"first"':
            return web.Response(status=304, headers=headers)
        return web.json_response(request.path, headers=headers)


@asynccontextmanager
async def running_origin() -> AsyncGenerator[Origin]:
    """Serve an origin on a free port."""
    origin = Origin()
    app = web.Application()
    app.router.add_get("/{path:.*}", origin.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        origin.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield origin
    finally:
        origin.may_answer.set()
        await runner.cleanup()


class Client:
    """A client that opens a connection for each request, so that each may reach another worker."""

    async def __aenter__(self) -> Self:
        self._session = ClientSession(connector=TCPConnector(force_close=True, limit=0))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def get(self, url: str) -> Answer:
        """Ask an example service."""
        async with self._session.get(url) as response:
            assert response.status == 200, await response.text()
            return Answer(await response.json())
