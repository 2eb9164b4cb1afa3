"""Worker processes: started together, awaited to their end, and never left running."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.programs import dismiss, started

__all__ = ["ROOT", "Workers", "environment", "run_python"]

ROOT = Path(__file__).parents[2]
READY_WITHIN_S = 60.0


def environment(warnings: str = "error::ResourceWarning") -> dict[str, str]:
    """Environment variables with which a process can import the project and reports unclosed resources."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
    return {**os.environ, "PYTHONPATH": path, "PYTHONWARNINGS": warnings}


class Workers:
    """Processes that run `tests.faults.worker`, one for each job.

    Args:
        jobs: one job for each process; see `tests.faults.worker`.
    """

    def __init__(self, *jobs: dict[str, Any]) -> None:
        self.jobs = jobs
        self.processes: list[asyncio.subprocess.Process] = []

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._dismiss()
            raise
        return self

    async def _start(self) -> None:
        for job in self.jobs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tests.faults.worker",
                json.dumps(job),
                cwd=ROOT,
                env=environment(),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=64 * 1024 * 1024,
            )
            self.processes.append(process)
        async with asyncio.timeout(READY_WITHIN_S):
            for process in self.processes:
                assert process.stdout is not None
                line = await process.stdout.readline()
                if line != b"ready\n":
                    raise AssertionError((await process.communicate())[1].decode())

    async def _dismiss(self) -> None:
        for process in self.processes:
            await dismiss(process)

    def go(self) -> None:
        """Let all processes begin."""
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.write(b"go\n")

    async def reports(self, within_s: float) -> list[dict[str, Any]]:
        """Wait for all to end within *within_s* seconds, without errors, and return the report of each."""
        async with asyncio.timeout(within_s):
            ended = await asyncio.gather(*(process.communicate() for process in self.processes))
        for process, (_, errors) in zip(self.processes, ended, strict=True):
            assert process.returncode == 0, errors.decode()
            assert b"Traceback" not in errors, errors.decode()
            assert b"Warning" not in errors, errors.decode()
        return [json.loads(output) for output, _ in ended]

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._dismiss()


async def run_python(*arguments: str, within_s: float) -> tuple[int, str, str]:
    """Run Python to its end and return its exit status, output and errors.

    A status of -9 means that it hung; its children are then killed too. Unclosed resources are only reported, not
    errors: the programs leave some behind on purpose.
    """
    async with started(
        sys.executable,
        *arguments,
        cwd=ROOT,
        env=environment("default"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            async with asyncio.timeout(within_s):
                output, errors = await process.communicate()
        except TimeoutError:
            os.killpg(process.pid, signal.SIGKILL)
            output, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()
