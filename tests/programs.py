"""Programs that a test starts; none outlives the test."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

__all__ = ["dismiss", "started"]


@asynccontextmanager
async def started(*command: str, **options: Any) -> AsyncGenerator[asyncio.subprocess.Process]:
    """Run *command*, and kill it at the end if it still runs.

    Args:
        command: the program and its arguments.
        options: options of `asyncio.create_subprocess_exec`.
    """
    process = await asyncio.create_subprocess_exec(*command, **options)
    try:
        yield process
    finally:
        await dismiss(process, is_group=options.get("start_new_session", False))


async def dismiss(process: asyncio.subprocess.Process, *, is_group: bool = False) -> None:
    """Kill *process* if it still runs, and read its pipes to their end, so that the loop keeps no transport open.

    Args:
        process: a child of the test's own.
        is_group: whether its children are killed too, even if *process* has ended by itself.
    """
    with contextlib.suppress(ProcessLookupError):  # it has ended already
        if is_group:
            os.killpg(process.pid, signal.SIGKILL)
        elif process.returncode is None:
            process.kill()
    await process.communicate()
