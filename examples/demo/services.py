"""Start the example services as a user would, and stop them whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

__all__ = ["ServiceError", "free_port", "run_fastapi", "run_service", "run_web"]

READY_WITHIN_S = 30.0
STOPPED_WITHIN_S = 10.0
PROJECT = Path(__file__).parent.parent.parent


class ServiceError(Exception):
    """A service did not start, or did not end properly; the message has its output."""


def free_port() -> int:
    """A free port of the loopback interface, to listen on in a moment.

    It is below those that systems give to programs that ask for any port, or one of these might have it by then.
    """
    while True:
        port = random.randrange(20_000, 32_000)  # noqa: S311  # not a secret
        with socket.socket() as probe, contextlib.suppress(OSError):  # OSError: it is in use
            probe.bind(("127.0.0.1", port))
            return port


@asynccontextmanager
async def run_fastapi(variables: Mapping[str, str], log: Path, *, workers: int = 1) -> AsyncGenerator[str]:
    """Run the FastAPI example under uvicorn and yield its address."""
    port = free_port()
    command = ["uvicorn", "--factory", "examples.fastapi_app:make_app"]
    command += ["--port", str(port), "--workers", str(workers), "--log-level", "warning"]
    async with run_service(command, variables, log, port):
        yield f"http://127.0.0.1:{port}"


@asynccontextmanager
async def run_web(variables: Mapping[str, str], log: Path) -> AsyncGenerator[str]:
    """Run the aiohttp.web example and yield its address."""
    port = free_port()
    async with run_service(["examples.web_app"], {**variables, "PORT": str(port)}, log, port):
        yield f"http://127.0.0.1:{port}"


@asynccontextmanager
async def run_service(
    module: Sequence[str], variables: Mapping[str, str], log: Path, port: int
) -> AsyncGenerator[asyncio.subprocess.Process]:
    """Run a module with *variables* beside the environment; it is ready when *port* accepts connections.

    In the end it gets SIGTERM, and what is left of its process group SIGKILL.

    Raises:
        ServiceError: it did not start, or did not end by itself with an exit status of 0.
    """
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            *module,
            cwd=PROJECT,
            env={**os.environ, **variables},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # a group of its own: Ctrl-C does not reach it, and all of it can be ended together
        )
    name = " ".join(module)
    try:
        await _wait_until_ready(name, process, log, port)
        yield process
    finally:
        await _stop(process)
    if process.returncode not in (0, -signal.SIGTERM):
        raise ServiceError(f"{name} ended with status {process.returncode}:\n{_text(log)}")


async def _wait_until_ready(name: str, process: asyncio.subprocess.Process, log: Path, port: int) -> None:
    deadline = asyncio.get_running_loop().time() + READY_WITHIN_S
    while process.returncode is None and asyncio.get_running_loop().time() < deadline:
        with contextlib.suppress(OSError):  # not listening yet
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            await writer.wait_closed()
            return
        await asyncio.sleep(0.02)  # another process: there is no event to wait for
    raise ServiceError(f"{name} did not start:\n{_text(log)}")


async def _stop(process: asyncio.subprocess.Process) -> None:
    try:
        if process.returncode is None:
            process.terminate()
            await asyncio.wait_for(process.wait(), STOPPED_WITHIN_S)
    except TimeoutError:
        pass  # it gets no more time; its exit status shows it
    finally:
        with contextlib.suppress(ProcessLookupError):  # the group has ended, as expected
            os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def _text(log: Path) -> str:
    return log.read_text(errors="replace")
