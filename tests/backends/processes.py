"""Other processes, for tests of what several processes share."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["PREAMBLE", "Peer", "run_program"]

PREAMBLE = """
import asyncio, os, sys, time
from aiohttp_cache_di.backends.sqlite import SQLiteBackend, SQLiteCache
from tests.backends.entries import make_entry
"""
ROOT = Path(__file__).parents[2]


def run_program(
    code: str, *arguments: object, timeout_s: float = 30.0, options: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run *code* as a program to its end, and return its exit status and output."""
    command = [sys.executable, *options, "-c", PREAMBLE + code, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False)


class Peer:
    """Another process with the same cache, which evaluates expressions, one a line, and prints the result of each."""

    def __init__(self, path: Path) -> None:
        code = """
async def main(path):
    cache = SQLiteCache(path, "responses")
    print("ready", flush=True)
    for line in sys.stdin:
        print(repr(await eval(line, {"cache": cache, "make_entry": make_entry})), flush=True)
    await cache.close()
asyncio.run(main(sys.argv[1]))
"""
        self._process = subprocess.Popen(
            [sys.executable, "-c", PREAMBLE + code, str(path)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        assert self._readline() == "ready"
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.communicate(timeout=10)

    def do(self, expression: str) -> str:
        """Await *expression*, a call of a coroutine method of ``cache``, there; return the repr of its result."""
        assert self._process.stdin is not None
        self._process.stdin.write(expression + "\n")
        self._process.stdin.flush()
        return self._readline()

    def _readline(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()
