"""The servers and directories that scenarios use; all are removed at the end."""

from __future__ import annotations

import itertools
import subprocess
import sys
import tempfile
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.rounds import Subject
from tests.ministack import MinistackServer
from tests.secantus import SecantusServer
from tests.server import ServerProcess
from tests.valkey import ValkeyServer

__all__ = ["Services"]

OTHERS: dict[str, type[ServerProcess]] = {"mongodb": SecantusServer, "dynamodb": MinistackServer}


class Services(AbstractContextManager["Services"]):
    """The origin and a Redis server, near and at a distance; others are started when they are first needed.

    Each is a process.
    """

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        self._directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        self._numbers = itertools.count(1)
        self._others: dict[str, ServerProcess] = {}
        self._origin = f"http://127.0.0.1:{self._started('benchmarks.origin')}/"
        server = self._directory / "server"
        server.mkdir()
        self._redis = ValkeyServer(server, config={"maxclients": "20000"})
        self._stack.enter_context(self._redis)
        distant = self._started("benchmarks.distance", str(self._redis.port))
        self._distant_redis = f"redis://127.0.0.1:{distant}"
        return self

    def _started(self, *module: str) -> int:
        """Start a program of this package that prints its port."""
        process = subprocess.Popen([sys.executable, "-m", *module], stdout=subprocess.PIPE, text=True)
        self._stack.callback(_end, process)
        assert process.stdout is not None
        return int(process.stdout.readline())

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def place(self, subject: Subject) -> dict[str, str]:
        """The arguments of `Place` for *subject*, with a new directory and a database of the Redis server."""
        number = next(self._numbers)
        directory = self._directory / str(number)
        directory.mkdir()
        found = {
            "origin": self._origin,
            "redis": f"{self._redis.url}/{number % 15}",
            "distant_redis": f"{self._distant_redis}/{number % 15}",
            "directory": str(directory),
        }
        store = str(subject.options.get("store") or subject.client.removeprefix("floor-"))
        return found | {store: self._other(store)} if store in OTHERS else found

    def _other(self, store: str) -> str:
        """The address of the MongoDB or DynamoDB server, which is started at the first call."""
        if store not in self._others:
            folder = self._directory / store
            folder.mkdir()
            self._others[store] = self._stack.enter_context(OTHERS[store](folder))
        return self._others[store].url

    def clear(self) -> None:
        """Delete everything from the Redis server, between two scenarios."""
        self._redis.command("FLUSHALL")


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
