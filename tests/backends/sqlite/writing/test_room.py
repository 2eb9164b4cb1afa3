"""A full disk refuses new entries while there is still room to delete stored ones."""

from __future__ import annotations

import asyncio
import math
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import cast

import pytest

from aiohttp_cache_di.backends.sqlite import SQLiteCache
from aiohttp_cache_di.backends.sqlite.store import SQLiteStore
from aiohttp_cache_di.backends.sqlite.writing.writes import Transaction
from aiohttp_cache_di.backends.store import Record
from aiohttp_cache_di.errors import StorageError
from tests.backends.entries import make_entry
from tests.backends.processes import PREAMBLE, ROOT

DISK = "4m"

FILL = """
from aiohttp_cache_di.errors import StorageError
async def fill(path, body_bytes):
    cache = SQLiteCache(path, "responses", near_tier=False)
    stored = []
    for number in range(10_000):
        try:
            await cache.write_entry(make_entry(f"k{number}", os.urandom(body_bytes)))
        except StorageError:
            break
        stored.append(f"k{number}")
    assert 20 < len(stored) < 10_000, len(stored)
    return cache, stored
"""


def run_on_a_small_disk(code: str, directory: Path) -> None:
    """Run *code* with a file system of its own of size `DISK`, mounted at *directory*."""
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no file systems can be mounted here")
    mounted = f'mount -t tmpfs -o size={DISK} none "$1" && exec "$0" -c "$2" "$1"/cache'
    command = [unshare, "-rm", "sh", "-c", mounted, sys.executable, str(directory), PREAMBLE + FILL + code]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stderr) == (0, "")


DELETE = {
    "clear": "await cache.clear()",
    "bulk_delete": "await cache.bulk_delete(set(stored))",
    "delete": "for key in stored: await cache.delete(key)",
}


@pytest.mark.parametrize("body_bytes", [500, 20_000])
@pytest.mark.parametrize("how", DELETE)
async def test_a_full_disk_is_no_obstacle_to_deleting_and_storing_again(
    tmp_path: Path, how: str, body_bytes: int
) -> None:
    code = f"""
async def main(path):
    cache, stored = await fill(path, {body_bytes})
    {DELETE[how]}
    assert await cache.size() == 0
    for number in range(20):
        await cache.write_entry(make_entry(f"new{{number}}", os.urandom({body_bytes})))
    await cache.close()
    assert await cache.size() == 20
    await cache.close()
asyncio.run(main(sys.argv[1]))
"""
    await asyncio.to_thread(run_on_a_small_disk, code, tmp_path)


async def test_a_deletion_is_committed_though_the_entries_that_share_its_transaction_do_not_fit(tmp_path: Path) -> None:
    cache = SQLiteCache(tmp_path / "cache", "responses", near_tier=False)
    await cache.write_entry(make_entry("old", bytes(10_000)))
    store = cast("SQLiteStore", cache.stack.store)
    connections = (await store.database.connected()).connections
    go = threading.Event()

    def forbid_growth(transaction: Transaction) -> None:
        transaction.connection.execute("PRAGMA max_page_count = 1").fetchall()
        go.wait(10)

    forbidden = connections.call(forbid_growth)
    writing = asyncio.create_task(store.put([Record("new", make_entry("new", bytes(1_000_000)), math.inf)]))
    deleting = asyncio.create_task(store.delete(["old"]))
    await asyncio.sleep(0)  # both are queued, so they share the next transaction
    go.set()
    await forbidden
    with pytest.raises(StorageError, match="SQLITE_FULL"):
        await writing
    await deleting
    assert await cache.size() == 0
    await cache.close()
