"""Waiting for pending writes."""

from __future__ import annotations

import asyncio
from pathlib import Path

from aiohttp_cache_di.backends.sqlite import SQLiteBackend
from tests.backends.entries import make_entry


async def test_who_waits_for_a_write_that_is_dropped_meanwhile_waits_no_longer(tmp_path: Path) -> None:
    backend = SQLiteBackend(str(tmp_path / "cache"))
    here = backend.stack.here()
    here.store(make_entry("k"))
    waiting = asyncio.ensure_future(here.pending.settle(None))
    await asyncio.sleep(0)
    here.invalidate(None)
    await asyncio.wait_for(waiting, 5)
    await backend.close()
