"""The minimal store that fulfils the contract: frames in a dict; each operation yields to the loop once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence

from aiohttp_cache_di.backends.store import Found, Limits, Record, Row, Written
from aiohttp_cache_di.entries.codec import EntryCodec, leads_on

__all__ = ["ProofStore"]

PAGE = 50


class ProofStore:
    """Frames in a dict, which several stores may share."""

    def __init__(self, codec: EntryCodec | None = None, data: dict[str, bytes] | None = None) -> None:
        self.limits = Limits(batch=10)
        self.codec = codec or EntryCodec()
        self.data: dict[str, bytes] = {} if data is None else data

    async def get(self, keys: Sequence[str]) -> Sequence[Found | None]:
        """Look *keys* up."""
        await asyncio.sleep(0)
        frames = [self.data.get(key) for key in keys]
        return [
            None if frame is None else Found(self.codec.unpack(frame, key))
            for key, frame in zip(keys, frames, strict=True)
        ]

    async def kinds(self, keys: Sequence[str]) -> Sequence[bool | None]:
        """Tell which kind of item is under each of *keys*."""
        await asyncio.sleep(0)
        return [leads_on(self.data[key]) if key in self.data else None for key in keys]

    async def put(self, records: Sequence[Record]) -> Sequence[Written]:
        """Keep *records*."""
        await asyncio.sleep(0)
        for record in records:
            self.data[record.key] = self.codec.pack(record.item, record.key)
        return [0] * len(records)

    async def delete(self, keys: Collection[str]) -> None:
        """Drop *keys*."""
        await asyncio.sleep(0)
        for key in keys:
            self.data.pop(key, None)

    async def pages(self, *, items: bool) -> AsyncIterator[Sequence[Row]]:
        """Walk over all records."""
        keys = list(self.data)
        for first in range(0, len(keys), PAGE):
            await asyncio.sleep(0)
            found = [(key, self.data[key]) for key in keys[first : first + PAGE] if key in self.data]
            yield [Row(key, leads_on(frame), self.codec.unpack(frame, key) if items else None) for key, frame in found]

    async def clear(self) -> None:
        """Drop everything."""
        await asyncio.sleep(0)
        self.data.clear()

    async def close(self) -> None:
        """Do nothing: there is nothing to release."""
