"""What is kept for a URL: looked for, and dropped, for those who look after a cache."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import aclosing
from typing import Any

from aiohttp.typedefs import StrOrURL
from yarl import URL

from aiohttp_cache_di import keys
from aiohttp_cache_di.arguments import refuse_unknown
from aiohttp_cache_di.backends.stacked import Stacked
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["Addressed"]


class Addressed(Stacked):
    """Finds what is kept by URLs, or by the keys that a session makes of its requests."""

    ignored_params: frozenset[str]

    @property
    @abstractmethod
    def is_ordered(self) -> bool:
        """Whether the order of different names in a query makes a difference."""

    @abstractmethod
    def create_key(self, method: str, url: StrOrURL, **kwargs: Any) -> str:
        """See `CacheBackend`."""

    @abstractmethod
    async def delete(self, key: str) -> None:
        """See `CacheBackend`."""

    @abstractmethod
    async def _related(self, keys: Collection[str]) -> set[str]:
        """*keys* and what is deleted with them."""

    async def has_url(self, url: StrOrURL, method: str = "GET", **kwargs: Any) -> bool:
        """Tell whether the response to this request is cached; *kwargs* are the request's arguments.

        A session adds headers, cookies and credentials of its own to its requests: `CachedSession.has_url` knows them.
        """
        await self.learn_secret()
        return await self.is_kept(self._keys_of(url, method, kwargs))

    async def delete_url(self, url: StrOrURL, method: str = "GET", *, everywhere: bool = False, **kwargs: Any) -> int:
        """Delete the cached response to this request; return how many entries went, variants and redirects included.

        Args:
            everywhere: delete what is kept for the URL by any method and for anyone, whatever was sent with it; only
                ``params`` may be given besides. It walks over all that is stored.
            kwargs: the request's arguments.
        """
        if not everywhere:
            await self.learn_secret()
            return await self.drop(self._keys_of(url, method, kwargs))
        refuse_unknown("delete_url(everywhere=True)", kwargs, {"params"})
        return await self.drop(await self._all_keys_of(url, kwargs.get("params")))

    async def get_urls(self) -> AsyncIterator[str]:
        """Iterate over the URLs that are cached, those of redirects included; without secrets and ignored values."""
        await self.settle()
        for storage in (self.responses, self.redirects):
            async for item in storage.values():
                item = storage.readable(item)
                if item is not None and not isinstance(item, str):
                    stored = getattr(item, "stored", None)
                    yield stored.url if isinstance(stored, StoredResponse) else str(item.url)

    async def is_kept(self, named: Collection[str]) -> bool:
        """Tell whether there is something under one of the keys *named*."""
        return bool(await self.stack.kinds(named))

    async def drop(self, named: Iterable[str]) -> int:
        """Delete what is kept under the keys *named*, with what belongs to it; return how many entries went."""
        doomed = set(named)
        await self.settle(doomed)
        before = await self.stack.kinds(await self._related(doomed))
        for key in doomed:
            await self.delete(key)
        return len(before) - len(await self.stack.kinds(before.keys()))

    def _keys_of(self, url: StrOrURL, method: str, arguments: dict[str, Any]) -> set[str]:
        return {self.create_key(method, spelling, **arguments) for spelling in keys.spellings(url)}

    async def _all_keys_of(self, url: StrOrURL, params: Any) -> set[str]:
        """The keys of all that is kept for *url*: of every method, variant and principal, redirects too."""
        spelt = [spelling.extend_query(params) if params else spelling for spelling in keys.spellings(url)]
        wanted = {self._target(keys.redact_url(spelling, self.ignored_params)) for spelling in spelt}
        async with aclosing(self.stack.infos(lambda info: self._target(info.url) in wanted)) as pages:
            return {info.key async for page in pages for info in page}

    def _target(self, url: str) -> str:
        return keys.target_of(URL(url, encoded=True), self.ignored_params, ordered=self.is_ordered)
