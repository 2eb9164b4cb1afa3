"""`entries`, `purge` and `usage`, and the same by URL: `has_url`, `delete_url` and `get_urls`."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterable, Sequence
from contextlib import aclosing
from typing import Any, Final, Unpack

from aiohttp.typedefs import StrOrURL

from aiohttp_cache_di import keys
from aiohttp_cache_di.arguments import expect_flag, refuse_unknown
from aiohttp_cache_di.backends.configured import GivenOptions
from aiohttp_cache_di.backends.loops import LoopLocal
from aiohttp_cache_di.backends.operating.deleting import Deleting, delete_each, related
from aiohttp_cache_di.backends.operating.purging import PurgeTotals, Sweeps, TagPurge, batched, drop_all, soften
from aiohttp_cache_di.backends.operating.selection import Selectors, of_urls, selection
from aiohttp_cache_di.backends.operating.terms import expect_method, named_url
from aiohttp_cache_di.backends.storage import BaseCache, item_of
from aiohttp_cache_di.backends.store.inspecting import Purged, Usage
from aiohttp_cache_di.backends.wrap import upkeep
from aiohttp_cache_di.backends.wrap.items import StackCache
from aiohttp_cache_di.entries.info import EntryInfo
from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.response import CachedResponse
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["Operated"]

COUNTED_WITHIN_S: Final = 1.0  # how long a purge by tags waits for its count


class Operated(Deleting):
    """Lists, finds and purges entries; for most of that, their bodies are not read."""

    def __init__(self, given: GivenOptions) -> None:
        super().__init__(given)
        self._tag_sweeps: LoopLocal[Sweeps] = LoopLocal(Sweeps)

    async def has_url(self, url: StrOrURL, method: str = "GET", **kwargs: Any) -> bool:
        """Return whether the response to this request is cached; *kwargs* are the request's arguments.

        A URL with ``REDACTED``, as `get_urls` returns it, stands for all URLs that are listed in this form.
        A session adds its own headers, cookies and credentials to requests: use `CachedSession.has_url` for them.

        Raises:
            ConfigurationError: *url* is not an absolute URL, or *method* not the name of a method.
        """
        await self.learn_secret()
        named = _keys_of(self, url, method, kwargs)
        return await self.is_kept(named) or bool(await self.listed_as(url, method, kwargs.get("params")))

    async def delete_url(self, url: StrOrURL, method: str = "GET", *, everywhere: bool = False, **kwargs: Any) -> int:
        """Delete the cached response to this request; return how many entries, including variants and redirects.

        A URL with ``REDACTED``, as `get_urls` returns it, deletes all URLs that are listed in this form.

        Args:
            everywhere: delete all entries of the URL, of any method, principal and request body; then only ``params``
                is accepted besides. Lists all that is stored.
            kwargs: the request's arguments.

        Raises:
            ConfigurationError: *url* is not an absolute URL, or *method* not the name of a method.
        """
        if not everywhere:
            await self.learn_secret()
            named = _keys_of(self, url, method, kwargs)
            return await self.drop(named | await self.listed_as(url, method, kwargs.get("params")))
        refuse_unknown("delete_url(everywhere=True)", kwargs, {"params"})
        count = await self.drop(await _all_keys_of(self, url, kwargs.get("params")))
        self.stack.drop_copies()
        return count

    async def get_urls(self) -> AsyncIterator[str]:
        """Iterate over the cached URLs, including redirects; secrets and ignored values are replaced."""
        await self.settle()
        for storage in (self.responses, self.redirects):
            async for item in _items_of(storage):
                if item is not None and not isinstance(item, str):
                    stored = getattr(item, "stored", None)
                    url = stored.url if isinstance(stored, StoredResponse) else str(item.url)
                    yield keys.redact_url(url, self.ignored_params)  # a user's program may have stored it unredacted

    async def listed_as(self, url: StrOrURL, method: str = "GET", params: Any = None) -> set[str]:
        """The keys of all entries that `get_urls` lists as *url*, if that is redacted; none for any other URL.

        Lists all that is stored.
        """
        return await _all_keys_of(self, url, params, method.upper()) if keys.is_redacted(url) else set()

    async def is_kept(self, named: Collection[str]) -> bool:
        """Whether one of the keys *named* has an entry that is not purged."""
        found = await self.stack.kinds(named)
        return bool(found and (not await upkeep.knows_purges(self.stack) or await self.stack.items(found)))

    async def drop(self, named: Iterable[str]) -> int:
        """Delete the entries under the keys *named*, with related entries; return how many."""
        wanted = set(named)
        await self.settle(wanted)
        before = await self.stack.kinds(await related(self, wanted))
        await delete_each(self, wanted)
        count = len(before) - len(await self.stack.kinds(before.keys()))
        self.stats.counts.here().purged += count
        return count

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
            ConfigurationError: there is no selector, there is one besides *all*, or an argument has an invalid value.
        """
        for name, flag in (("all", all), ("soft", soft), ("dry_run", dry_run)):
            expect_flag(name, flag)
        if not isinstance(count_within_s, int | float) or math.isnan(count_within_s):
            raise ConfigurationError(f"count_within_s={count_within_s!r}: use a number of seconds, or inf")
        if not all and not _names(selectors):
            raise ConfigurationError("purge(): select what is to go (url=, host=, match= …), or say all=True")
        if all and (parts := _names(selectors) & Selectors.__annotations__.keys()):
            raise ConfigurationError(
                f"purge(all=True, {'=…, '.join(sorted(parts))}=…): use all, or a part, and not both"
            )
        if not dry_run and not all and _names(selectors) == {"tags"}:
            return await TagPurge(self, selectors, self._tag_sweeps.here()).run(soft=soft, within_s=count_within_s)
        totals, now = PurgeTotals(), time.time()
        is_whole = all and not soft
        async with aclosing(batched(self._selected(selectors, fresh_at=now if soft else -math.inf))) as batches:
            async for found in batches:
                totals.add(found.values())
                if not dry_run and not is_whole:
                    await (soften(self, list(found), now) if soft else drop_all(self, list(found)))
                    self.stats.counts.here().purged += len(found)
        if is_whole and not dry_run:
            await self.clear()
            self.stats.counts.here().purged += totals.entries
        elif not dry_run:
            self.stack.drop_copies()
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


def _keys_of(backend: Operated, url: StrOrURL, method: str, arguments: dict[str, Any]) -> set[str]:
    expect_method(method)
    return {backend.create_key(method, spelling, **arguments) for spelling in named_url(url)}


async def _all_keys_of(backend: Operated, url: StrOrURL, params: Any, method: str | None = None) -> set[str]:
    """The keys of all entries of *url*, of *method* (None: any), of all variants and principals, with redirects."""
    spelt = [spelling.extend_query(params) if params else spelling for spelling in named_url(url)]
    wanted = of_urls(spelt, backend.ignored_params, ordered=backend.is_ordered)
    if method is not None:
        wanted = wanted.having(lambda info: info.method == method)
    async with aclosing(upkeep.infos(backend.stack, wanted)) as pages:
        return {info.key async for page in pages for info in page}


async def _items_of(storage: BaseCache) -> AsyncIterator[CachedResponse | str | None]:
    """All items of *storage*; None for those that are unreadable."""
    if isinstance(storage, StackCache):
        async for item in storage.values():
            yield storage.readable(item)
        return
    async for key in storage.keys():  # its `values` may end at the first unreadable item
        yield await item_of(storage, key)
