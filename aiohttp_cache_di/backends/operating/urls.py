"""What is kept for a URL: looked for, and dropped."""

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
    """Finds what is kept by URLs, or by the keys that a session makes of its requests."""

    ignored_params: frozenset[str]

    @property
    @abstractmethod
    def is_ordered(self) -> bool:
        """Whether the order of different names in a query makes a difference."""

    async def has_url(self, url: StrOrURL, method: str = "GET", **kwargs: Any) -> bool:
        """Tell whether the response to this request is cached; *kwargs* are the request's arguments.

        A URL in which `get_urls` has put ``REDACTED`` stands for all that are listed as it is.
        A session adds headers, cookies and credentials of its own to its requests: `CachedSession.has_url` knows them.
        """
        await self.learn_secret()
        named = _keys_of(self, url, method, kwargs)
        return await self.is_kept(named) or bool(await self.listed_as(url, method, kwargs.get("params")))

    async def delete_url(self, url: StrOrURL, method: str = "GET", *, everywhere: bool = False, **kwargs: Any) -> int:
        """Delete the cached response to this request; return how many entries went, variants and redirects included.

        A URL in which `get_urls` has put ``REDACTED`` stands for all that are listed as it is: they all go.

        Args:
            everywhere: delete what is kept for the URL by any method and for anyone, whatever was sent with it; only
                ``params`` may be given besides. It walks over all that is stored.
            kwargs: the request's arguments.
        """
        if not everywhere:
            await self.learn_secret()
            listed = await self.listed_as(url, method, kwargs.get("params"))
            return await self.drop(_keys_of(self, url, method, kwargs) | listed)
        refuse_unknown("delete_url(everywhere=True)", kwargs, {"params"})
        return await self.drop(await _all_keys_of(self, url, kwargs.get("params")))

    async def get_urls(self) -> AsyncIterator[str]:
        """Iterate over the URLs that are cached, those of redirects included; without secrets and ignored values."""
        await self.settle()
        for storage in (self.responses, self.redirects):
            async for item in _items_of(storage):
                if item is not None and not isinstance(item, str):
                    stored = getattr(item, "stored", None)
                    url = stored.url if isinstance(stored, StoredResponse) else str(item.url)
                    yield keys.redact_url(url, self.ignored_params)  # which users' programs may have put there as it is

    async def listed_as(self, url: StrOrURL, method: str = "GET", params: Any = None) -> set[str]:
        """The keys of all that `get_urls` lists as *url*, where that lacks a value; none for a URL that is whole.

        It walks over all that is stored.
        """
        return await _all_keys_of(self, url, params, method.upper()) if keys.is_redacted(url) else set()

    async def is_kept(self, named: Collection[str]) -> bool:
        """Tell whether there is something under one of the keys *named*."""
        found = await self.stack.kinds(named)
        return bool(found and (not await upkeep.knows_purges(self.stack) or await self.stack.items(found)))

    async def drop(self, named: Iterable[str]) -> int:
        """Delete what is kept under the keys *named*, with what belongs to it; return how many entries went."""
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
    """The keys of all that is kept for *url*: of *method* or any, of all variants and principals, redirects too."""
    spelt = [spelling.extend_query(params) if params else spelling for spelling in keys.spellings(url)]
    wanted = of_urls(spelt, backend.ignored_params, ordered=backend.is_ordered)
    if method is not None:
        wanted = wanted.having(lambda info: info.method == method)
    async with aclosing(upkeep.infos(backend.stack, wanted)) as pages:
        return {info.key async for page in pages for info in page}


async def item_of(storage: BaseCache, key: str) -> CachedResponse | str | None:
    """What *storage* has under *key*, if it can be read."""
    try:
        return storage.readable(await storage.read(key), key)
    except UnreadableEntryError:  # a storage of the user's tells it so
        storage.on_unreadable(1)
        return None


async def _items_of(storage: BaseCache) -> AsyncIterator[CachedResponse | str | None]:
    """All that *storage* has, and None for what cannot be read."""
    if isinstance(storage, StackCache):
        async for item in storage.values():
            yield storage.readable(item)
        return
    async for key in storage.keys():  # its `values` may end with the first that cannot be read
        yield await item_of(storage, key)
