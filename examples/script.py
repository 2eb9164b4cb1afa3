"""A script without a framework: the second run is answered from the cache.

    python -m examples.script https://example.org/ ...

``AIOHTTP_CACHE_…`` variables configure the cache; by default it is a SQLite file in your cache directory.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from aiohttp_cache_di import open_container


async def main(urls: Sequence[str]) -> None:
    """Fetch each URL and tell where the answer came from."""
    async with open_container() as session:
        for url in urls:
            # Kept for an hour where the origin does not say for how long itself.
            async with session.get(url, expire_after=3600) as response:
                body = await response.read()
                source = "cache" if response.from_cache else "origin"
                print(f"{response.status} {len(body)} bytes from the {source}: {url}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
