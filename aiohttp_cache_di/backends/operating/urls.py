"""`has_url`, `delete_url` and `get_urls`: find and delete the entries of a URL."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import aclosing
from typing import Any

from aiohttp.typedefs import StrOrURL

from aiohttp_cache_di import keys
from aiohttp_cache_di.arguments import refuse_unknown
from aiohttp_cache_di.backends.operating.deleting import Deleting, related
from aiohttp_cache_di.backends.operating.selection import of_urls
from aiohttp_cache_di.backends.storage import BaseCache
from aiohttp_cache_di.backends.wrap import upkeep
from aiohttp_cache_di.backends.wrap.items import StackCache
from aiohttp_cache_di.errors import UnreadableEntryError
from aiohttp_cache_di.response import CachedResponse
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["Addressed", "item_of"]


class Addressed(Deleting):
    """Finds and deletes entries by URL, or by the keys that a session makes of its requests."""

    ignored_params: frozenset[str]

    @property
    @abstractmethod
    def is_ordered(self) -> bool:
        """Whether the order of different names in a query is part of the key."""

    async def has_url(self, url: StrOrURL, method: str = "GET", **kwargs: Any) -> bool:
        """Return whether the response to this request is cached; *kwargs* are the request's arguments.

        A URL with ``REDACTED``, as `get_urls` returns it, stands for all URLs that are listed in this form.
        A session adds its own headers, cookies and credentials to requests: use `CachedSession.has_url` for them.
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
        """
        if not everywhere:
            await self.learn_secret()
            listed = await self.listed_as(url, method, kwargs.get("params"))
            return await self.drop(_keys_of(self, url, method, kwargs) | listed)
        refuse_unknown("delete_url(everywhere=True)", kwargs, {"params"})
        return await self.drop(await _all_keys_of(self, url, kwargs.get("params")))

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
        for key in wanted:
            await self.delete(key)
        count = len(before) - len(await self.stack.kinds(before.keys()))
        self.stats.purged += count
        return count


def _keys_of(backend: Addressed, url: StrOrURL, method: str, arguments: dict[str, Any]) -> set[str]:
    return {backend.create_key(method, spelling, **arguments) for spelling in keys.spellings(url)}


async def _all_keys_of(backend: Addressed, url: StrOrURL, params: Any, method: str | None = None) -> set[str]:
    """The keys of all entries of *url*, of *method* (None: any), of all variants and principals, with redirects."""
    spelt = [spelling.extend_query(params) if params else spelling for spelling in keys.spellings(url)]
    wanted = of_urls(spelt, backend.ignored_params, ordered=backend.is_ordered)
    if method is not None:
        wanted = wanted.having(lambda info: info.method == method)
    async with aclosing(upkeep.infos(backend.stack, wanted)) as pages:
        return {info.key async for page in pages for info in page}


async def item_of(storage: BaseCache, key: str) -> CachedResponse | str | None:
    """The item of *storage* under *key*; None if it is missing or unreadable."""
    try:
        return storage.readable(await storage.read(key), key)
    except UnreadableEntryError:  # raised by a user's own storage
        storage.on_unreadable(1)
        return None


async def _items_of(storage: BaseCache) -> AsyncIterator[CachedResponse | str | None]:
    """All items of *storage*; None for those that are unreadable."""
    if isinstance(storage, StackCache):
        async for item in storage.values():
            yield storage.readable(item)
        return
    async for key in storage.keys():  # its `values` may end at the first unreadable item
        yield await item_of(storage, key)
