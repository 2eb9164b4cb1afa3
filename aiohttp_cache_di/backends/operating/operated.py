"""`entries`, `purge` and `usage`: list, purge and measure what is stored."""

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

COUNTED_WITHIN_S: Final = 1.0  # how long a purge by tags waits for its count


class Operated(Addressed):
    """Lists and purges entries by their infos, without reading their bodies."""

    @abstractmethod
    async def clear(self) -> None:
        """See `CacheBackend`."""

    async def entries(self, **selectors: Unpack[Selectors]) -> AsyncGenerator[EntryInfo]:
        """Iterate over the infos of the entries that meet all *selectors*, or of all entries if there are none.

        They include redirects, and expired entries that are stored to be validated. Memory is bounded. Entries that are
        written or deleted meanwhile may be included or not. If you leave the loop early, close the iterator
        (`contextlib.aclosing`).

        Args:
            selectors: see `Selectors`.

        Raises:
            ConfigurationError: a selector has an invalid value.
        """
        async with aclosing(self._selected(selectors)) as pages:
            async for page in pages:
                for info in page:
                    yield info

    async def purge(
        self,
        *,
        all: bool = False,  # shadows the builtin, but is the clearest name
        soft: bool = False,
        dry_run: bool = False,
        count_within_s: float = COUNTED_WITHIN_S,
        **selectors: Unpack[Selectors],
    ) -> Purged:
        """Delete the entries that meet all *selectors*, of any method, variant and principal.

        Every process that uses the store sees the effect with its next request. A purge by *tags* alone takes effect at
        once, however many entries have them, and also concerns responses that are still arriving; the entries are
        counted and deleted afterwards.

        Args:
            all: purge every entry; without it, at least one selector is required, and with it none is allowed.
            soft: make fresh entries stale instead of deleting them, so that they are validated, or used instead of an
                error if that is allowed.
            dry_run: delete nothing, and return what would be deleted.
            count_within_s: seconds for which a purge by *tags* alone waits for the count; ``inf`` for as long as it
                takes.
            selectors: see `Selectors`.

        Returns:
            The number of entries, and the total size of their bodies.

        Raises:
            ConfigurationError: there is no selector, there is one besides *all*, or one has an invalid value.
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
        """How much is stored, by all processes that share the store."""
        return await upkeep.usage(self.stack)

    def _selected(self, selectors: Selectors, *, fresh_at: float = -math.inf) -> AsyncGenerator[Sequence[EntryInfo]]:
        wanted = selection(selectors, ignored_params=self.ignored_params, ordered=self.is_ordered)
        if fresh_at == -math.inf:
            return upkeep.infos(self.stack, wanted)
        # An entry that was made stale is written again, and so may be listed twice.
        return upkeep.infos(self.stack, wanted.having(lambda info: info.fresh_until > fresh_at))


def _names(selectors: Selectors) -> set[str]:
    """The names of the selectors that are set."""
    return {name for name, value in selectors.items() if value is not None and value is not False}
