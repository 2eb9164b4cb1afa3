"""Without the features of POSIX every module can be imported, and the stores in files and SQLite work."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[2]

PROGRAM = """
    import sys

    from tests.without_posix import take_away

    take_away()

    import asyncio
    import importlib
    import os
    import pkgutil
    from pathlib import Path

    from aiohttp import web

    import aiohttp_cache_di
    from aiohttp_cache_di import CachedSession, FileBackend, SQLiteBackend

    SIZES = (10, 100_000, 3_000_000)


    async def answer(request):
        return web.Response(body=b"x" * int(request.match_info["size"]))


    async def use(backend, url):
        async with CachedSession(cache=backend) as session:

            async def fetch():
                states = []
                for size in SIZES:
                    async with session.get(url % size) as response:
                        assert await response.read() == b"x" * size
                        states.append(response.from_cache)
                    async with asyncio.timeout(10):
                        while not await backend.has_url(url % size):
                            await asyncio.sleep(0.01)
                return states

            assert not any(await fetch())
            assert all(await fetch())
            async with session.get(url % SIZES[-1]) as response:
                begin = await response.content.read(100)
                await backend.delete_url(response.url)
                assert not await backend.has_url(response.url)
                assert len(begin + await response.content.read()) == SIZES[-1]
            assert all((await fetch())[:2])
            entries = [key async for key in backend.responses.keys()]
            assert len(entries) == len(SIZES), entries
            assert not backend.stats.store_errors, backend.stats
        return entries


    async def main(folder):
        app = web.Application()
        app.router.add_get("/{size}", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            url = f"http://127.0.0.1:{runner.addresses[0][1]}/%s"
            await use(FileBackend(folder / "files", max_body_bytes=None), url)
            await use(SQLiteBackend(folder / "file.sqlite"), url)
        finally:
            await runner.cleanup()


    for module in pkgutil.walk_packages(aiohttp_cache_di.__path__, "aiohttp_cache_di."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    asyncio.run(main(Path(sys.argv[1])))
    files = [name for _, _, names in os.walk(Path(sys.argv[1], "files")) for name in names]
    assert not [name for name in files if name.endswith((".tmp", ".lease"))], files
    print("done")
"""


def test_the_package_works_without_what_only_posix_has(tmp_path: Path) -> None:
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.stdout.split() == ["done"], ended.stderr
