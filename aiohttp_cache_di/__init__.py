"""A persistent HTTP cache for aiohttp clients."""
