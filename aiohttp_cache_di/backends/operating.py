"""What those who look after a cache ask of it: what is in there, how much that is, and to have some of it gone."""

from __future__ import annotations

import asyncio
import math
import time
from abc import abstractmethod
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final, Unpack

from msgspec.structs import replace

from aiohttp_cache_di.backends.inspecting import Purged, Usage
from aiohttp_cache_di.backends.selection import Selectors, selection
from aiohttp_cache_di.backends.urls import Addressed
from aiohttp_cache_di.entries.info import EntryInfo
from aiohttp_cache_di.errors import ConfigurationError

__all__ = ["Operated"]

PURGED_AT_A_TIME: Final = 512
SOFTENED_AT_A_TIME: Final = 32  # of which the bodies are read


class Operated(Addressed):
    """Shows what is stored, and purges it, by what is told of entries without their bodies."""

    @abstractmethod
    async def clear(self) -> None:
        """See `CacheBackend`."""

    async def entries(self, **selectors: Unpack[Selectors]) -> AsyncGenerator[EntryInfo]:
        """Iterate over what is told of the entries that meet all of *selectors*; of all without any.

        Redirects are among them, and what has expired and is kept to be validated. In bounded memory; an entry that is
        stored or dropped meanwhile may be met or not. Close it where you leave it early (`contextlib.aclosing`).

        Args:
            selectors: see `Selectors`.

        Raises:
            ConfigurationError: a selector has a value that cannot be used.
        """
        async with aclosing(self._selected(selectors)) as pages:
            async for page in pages:
                for info in page:
                    yield info

    async def purge(
        self,
        *,
        all: bool = False,  # as people say it
        soft: bool = False,
        dry_run: bool = False,
        **selectors: Unpack[Selectors],
    ) -> Purged:
        """Drop the entries that meet all of *selectors*: of all methods, variants and principals.

        Every process that uses the store sees the effect with its next request.

        Args:
            all: every entry; without it there has to be a selector.
            soft: those that are fresh are stale from now on rather than gone, and so are validated, or stand in for an
                error where that is allowed.
            dry_run: drop nothing, and tell what would be.
            selectors: see `Selectors`.

        Returns:
            How many entries are concerned, and how large their bodies are.

        Raises:
            ConfigurationError: nothing is selected, or a selector has a value that cannot be used.
        """
        if not all and not any(value is not None and value is not False for value in selectors.values()):
            raise ConfigurationError("purge(): select what is to go (url=, host=, match= …), or say all=True")
        entries, size, now = 0, 0, time.time()
        is_whole = all and not selectors and not soft
        async with aclosing(self._selected(selectors, fresh_at=now if soft else -math.inf)) as pages:
            async for page in pages:
                found = {info.key: info for info in page}
                entries += len(found)
                size += sum(info.body_bytes for info in found.values())
                if found and not dry_run and not is_whole:
                    await (self._soften(list(found), now) if soft else self._drop_all(list(found)))
        if is_whole and not dry_run:
            await self.clear()
        return Purged(entries, size)

    async def usage(self) -> Usage:
        """How much is stored, by all processes that use the store."""
        return await self.stack.usage()

    def _selected(self, selectors: Selectors, *, fresh_at: float = -math.inf) -> AsyncGenerator[Sequence[EntryInfo]]:
        wanted = selection(selectors, ignored_params=self.ignored_params, ordered=self.is_ordered)
        if fresh_at == -math.inf:
            return self.stack.infos(wanted)
        # What has been made stale is written anew, and may be met again.
        return self.stack.infos(lambda info: info.fresh_until > fresh_at and wanted(info))

    async def _drop_all(self, doomed: Sequence[str]) -> None:
        for first in range(0, len(doomed), PURGED_AT_A_TIME):
            part = doomed[first : first + PURGED_AT_A_TIME]
            if "delete" in self.overridden:  # which the user's may have to hear of
                for key in part:
                    await self.delete(key)
            else:
                await self.stack.delete(part)

    async def _soften(self, doomed: Sequence[str], now: float) -> None:
        for first in range(0, len(doomed), SOFTENED_AT_A_TIME):
            items = await self.stack.items(doomed[first : first + SOFTENED_AT_A_TIME])
            entries = [self.stack.packing.entry_of(item, item.key) for item in items if not isinstance(item, str)]
            await asyncio.gather(
                *(
                    self.write(replace(entry, fresh_until=now))
                    for entry in entries
                    if entry is not None and entry.fresh_until > now
                )
            )
