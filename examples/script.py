"""A script without a framework: the second run is answered from the cache.

    python -m examples.script https://example.org/ ...

``AIOHTTP_CACHE_…`` variables configure the cache; by default it is a SQLite file in your cache directory.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from aiohttp import ClientError

from aiohttp_cache_di import open_container


async def main(urls: Sequence[str]) -> int:
    """Fetch each URL and print where the response came from.

    Returns:
        How many could not be fetched.
    """
    failures = 0
    async with open_container() as session:
        for url in urls:
            try:
                # An hour, unless the origin states a lifetime.
                async with session.get(url, expire_after=3600) as response:
                    body = await response.read()
                    source = "cache" if response.from_cache else "origin"
                    print(f"{response.status} {len(body)} bytes from the {source}: {url}")
            except (ClientError, TimeoutError) as error:
                failures += 1
                print(f"{type(error).__name__}: {error}: {url}", file=sys.stderr)
    return failures


if __name__ == "__main__":
    sys.exit(1 if asyncio.run(main(sys.argv[1:])) else 0)
