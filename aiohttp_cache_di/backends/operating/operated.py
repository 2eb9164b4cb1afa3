"""What operators ask of a cache: what is in there, how much that is, and to have some of it gone."""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final, Unpack

from aiohttp_cache_di.backends.operating.purging import PurgeTotals, TagPurge, drop_all, in_batches, soften
from aiohttp_cache_di.backends.operating.selection import Selectors, selection
from aiohttp_cache_di.backends.operating.urls import Addressed
from aiohttp_cache_di.backends.store.inspecting import Purged, Usage
from aiohttp_cache_di.backends.wrap import upkeep
from aiohttp_cache_di.entries.info import EntryInfo
from aiohttp_cache_di.errors import ConfigurationError

__all__ = ["Operated"]

COUNTED_WITHIN_S: Final = 1.0


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
        count_within_s: float = COUNTED_WITHIN_S,
        **selectors: Unpack[Selectors],
    ) -> Purged:
        """Drop the entries that meet all of *selectors*: of all methods, variants and principals.

        Every process that uses the store sees the effect with its next request. A purge by *tags* alone has it at once,
        however many entries have them: a response that is on its way counts as purged, too, and what is concerned is
        counted and dropped afterwards.

        Args:
            all: every entry, and no selector; without it there has to be one.
            soft: those that are fresh are stale from now on rather than gone, and so are validated, or stand in for an
                error where that is allowed.
            dry_run: drop nothing, and tell what would be.
            count_within_s: seconds for which a purge by *tags* alone waits for the count; ``inf`` for as long as it
                takes.
            selectors: see `Selectors`.

        Returns:
            How many entries are concerned, and how large their bodies are.

        Raises:
            ConfigurationError: nothing is selected, or all and a part, or a selector has a value that cannot be used.
        """
        if not all and not _names(selectors):
            raise ConfigurationError("purge(): select what is to go (url=, host=, match= …), or say all=True")
        if all and (parts := _names(selectors) & Selectors.__annotations__.keys()):
            raise ConfigurationError(
                f"purge(all=True, {'=…, '.join(sorted(parts))}=…): use all, or a part, and not both"
            )
        if not dry_run and not all and _names(selectors) == {"tags"}:
            return await TagPurge(self, selectors).run(soft=soft, within_s=count_within_s)
        totals, now = PurgeTotals(), time.time()
        is_whole = all and not soft
        async with aclosing(in_batches(self._selected(selectors, fresh_at=now if soft else -math.inf))) as batches:
            async for found in batches:
                totals.add(found.values())
                if not dry_run and not is_whole:
                    await (soften(self, list(found), now) if soft else drop_all(self, list(found)))
                    self.stats.purged += len(found)
        if is_whole and not dry_run:
            await self.clear()
            self.stats.purged += totals.entries
        return Purged(totals.entries, totals.bytes)

    async def usage(self) -> Usage:
        """How much is stored, by all processes that use the store."""
        return await upkeep.usage(self.stack)

    def _selected(self, selectors: Selectors, *, fresh_at: float = -math.inf) -> AsyncGenerator[Sequence[EntryInfo]]:
        wanted = selection(selectors, ignored_params=self.ignored_params, ordered=self.is_ordered)
        if fresh_at == -math.inf:
            return upkeep.infos(self.stack, wanted)
        # What has been made stale is written anew, and may be met again.
        return upkeep.infos(self.stack, wanted.having(lambda info: info.fresh_until > fresh_at))


def _names(selectors: Selectors) -> set[str]:
    """The names of those that select anything."""
    return {name for name, value in selectors.items() if value is not None and value is not False}
