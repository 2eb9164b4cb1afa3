"""Programs beside a test, none of which outlives it."""

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
    """Run *command*; what is left of it in the end is killed.

    Args:
        command: the program and its arguments.
        options: as of `asyncio.create_subprocess_exec`.
    """
    process = await asyncio.create_subprocess_exec(*command, **options)
    try:
        yield process
    finally:
        await dismiss(process, is_group=options.get("start_new_session", False))


async def dismiss(process: asyncio.subprocess.Process, *, is_group: bool = False) -> None:
    """Kill *process* if it has not ended, and read its pipes to their end, so that the loop holds nothing of it.

    Args:
        process: it is the test's own child.
        is_group: whether its children are killed with it, even if it has ended itself.
    """
    with contextlib.suppress(ProcessLookupError):  # it is gone already
        if is_group:
            os.killpg(process.pid, signal.SIGKILL)
        elif process.returncode is None:
            process.kill()
    await process.communicate()
