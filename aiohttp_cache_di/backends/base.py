"""The backend: what is cached, for how long and under which key, on top of two storages."""

from __future__ import annotations

import inspect
import logging
import math
import time
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, Unpack

from aiohttp import ClientResponse
from aiohttp.typedefs import StrOrURL
from msgspec.structs import replace

from aiohttp_cache_di import keys
from aiohttp_cache_di.arguments import refuse_unknown
from aiohttp_cache_di.backends.actions import CacheActions
from aiohttp_cache_di.backends.configured import Configured, FilterFn, accept_all
from aiohttp_cache_di.backends.memory import DictCache
from aiohttp_cache_di.backends.operating.deleting import next_key
from aiohttp_cache_di.backends.operating.explaining import Explained
from aiohttp_cache_di.backends.operating.urls import item_of
from aiohttp_cache_di.backends.options.revision import hook
from aiohttp_cache_di.backends.options.values import BACKEND_OPTIONS, BackendOptions
from aiohttp_cache_di.backends.storage import BaseCache, BaseStorage, ResponseOrKey
from aiohttp_cache_di.backends.wrap import upkeep
from aiohttp_cache_di.entries.build import body_of, entry_of
from aiohttp_cache_di.entries.tags import has_tags, tagging_of
from aiohttp_cache_di.policy import origin_of, tags_of
from aiohttp_cache_di.policy.requests.request import may_be_cached
from aiohttp_cache_di.policy.rules.book import DEFAULT_CODES
from aiohttp_cache_di.policy.rules.expiration import UNSET, ExpirationTime, UrlLifetime, posix_time
from aiohttp_cache_di.response import AnyResponse, CachedResponse
from aiohttp_cache_di.rfc9111.messages import Request, StoredResponse
from aiohttp_cache_di.signatures import OptionsSignature

__all__ = ["BaseCache", "BaseStorage", "CacheBackend", "DictCache", "FilterFn", "ResponseOrKey"]

logger: logging.Logger = logging.getLogger(__name__)

MAX_HOPS = 30  # of a stored chain of redirects; aiohttp itself follows 10


class CacheBackend(Explained, Configured):
    """Base class of all backends, and the one that keeps responses in memory.

    To keep them elsewhere, subclass it and set `responses` and `redirects` to storages of your own (`BaseCache`).
    The engine asks the backend through the methods below, so that overriding one takes effect. Beside the arguments
    that the initialiser names it takes those of `BackendOptions`, each of which has a docstring of its own.
    """

    __signature__: OptionsSignature = OptionsSignature("aiohttp_cache_di.backends.options.typed:BackendOptions")

    def __init__(
        self,
        cache_name: str = "aiohttp-cache",
        expire_after: ExpirationTime = UNSET,
        urls_expire_after: Mapping[str, UrlLifetime] | None = None,
        allowed_codes: Collection[int] = DEFAULT_CODES,
        allowed_methods: Collection[str] = ("GET", "HEAD"),
        include_headers: bool = False,
        ignored_params: Iterable[str] | None = None,
        autoclose: bool = False,
        cache_control: bool = False,
        filter_fn: FilterFn = accept_all,
        **kwargs: Unpack[BackendOptions],
    ) -> None:
        """Make a backend.

        Args:
            cache_name: name of the cache: a namespace, a table or a file, as the backend has it.
            expire_after: lifetime of a response: seconds, ``"5m"``, a timedelta, a datetime or an HTTP date; -1 for
                ever, 0 not to cache. With ``cache_control`` it applies to responses that state no lifetime (RFC 9111
                §4.2.1), and None adds none; nor does what is not given, though the default is -1.
            urls_expire_after: lifetimes by URL pattern, such as ``{"*.example.com/static/*": "1d"}``: shell globs, the
                first match wins; `UrlExpiration`, or a mapping of its options, says more than a lifetime.
            allowed_codes: statuses that are cached; with ``cache_control`` the default lets the response decide
                (RFC 9111 §3).
            allowed_methods: methods that are cached.
            include_headers: make all request headers a part of the key, rather than those named in Vary alone
                (RFC 9111 §4.1).
            ignored_params: query, form and JSON parameters and headers that do not count, and are not stored.
            autoclose: close the storages when a session that uses the backend is closed.
            cache_control: follow RFC 9111 and the directives of origin and caller, as a private cache does.
            filter_fn: tells whether a response may be cached; may be a coroutine function.
            kwargs: further options, each with a docstring of its own.

        Raises:
            TypeError: an option is not known.
            ConfigurationError: an option has a value that cannot be used.
        """
        refuse_unknown(type(self).__name__, kwargs, BACKEND_OPTIONS)
        super().__init__(
            {
                "cache_name": cache_name,
                "expire_after": expire_after,
                "urls_expire_after": urls_expire_after,
                "allowed_codes": allowed_codes,
                "allowed_methods": allowed_methods,
                "include_headers": include_headers,
                "ignored_params": ignored_params,
                "autoclose": autoclose,
                "cache_control": cache_control,
                "filter_fn": filter_fn,
                **kwargs,
            }
        )

    def __repr__(self) -> str:
        if "stats" not in vars(self):  # of one that is still being made, as a traceback may show it
            return f"<{type(self).__name__}>"
        place = self.guard.outages.place
        where = f"at {place}" if place else "in memory" if self.stack.abilities.immediate else "in its own place"
        rules = "HTTP's rules" if self.cache_control else "your rules"
        stats = self.stats
        well = "" if stats.health().is_ok else ", degraded"
        told = f"{rules}, {stats.hits} hits, {stats.misses} misses{well}"
        return f"<{type(self).__name__} {self.name!r} {where}: {told}>"

    @property
    def is_ordered(self) -> bool:
        """Whether the order of different names in a query, a form and a JSON body makes a difference."""
        return self.cache_control if self.match_order is None else self.match_order

    # ---- what the engine asks, and a subclass may override

    @hook
    def create_key(self, method: str, url: StrOrURL, **kwargs: Any) -> str:
        """Create the cache key of a request: the same for equal requests, different for all others.

        Args:
            method: the HTTP method.
            url: the URL, with or without the query that *kwargs* may hold as ``params``.
            kwargs: the other arguments of the request: ``params``, ``data``, ``json``, ``headers``, ``cookies``,
                ``auth``, ``principal`` …; the engine gives the effective URL, headers and body.
        """
        return keys.create_key(
            method,
            url,
            include_headers=self.include_headers,
            ignored_params=self.ignored_params,
            digest_key=self.digest_key,
            ordered=self.is_ordered,
            credential_headers=self.credential_headers,
            contexts_apart=self.partition_tls == "context",
            **self.whose(method, url, kwargs.get("headers"), kwargs.pop("principal", None)),
            **kwargs,
        )

    @hook
    def create_cache_actions(
        self, key: str, url: StrOrURL, expire_after: ExpirationTime = None, refresh: bool = False, **kwargs: Any
    ) -> CacheActions:
        """Resolve what applies to one request.

        Args:
            key: from `create_key`.
            url: of the request.
            expire_after: a lifetime for this request alone; see `CacheBackend`.
            refresh: validate with the origin before a stored response is used.
            kwargs: all other arguments of the request.
        """
        rules = self.rules_for(url, expire_after=expire_after, refresh=refresh)
        return CacheActions(key=key, url=str(url), rules=rules, request=kwargs)

    @hook
    async def request(self, actions: CacheActions) -> CachedResponse | None:
        """Fetch the cached response that *actions* allow to be used, if there is one."""
        if actions.refresh or actions.expire_after == 0:
            return None
        return await self.get_response(actions.key)

    @hook
    async def is_cacheable(self, response: AnyResponse | None, actions: CacheActions | None = None) -> bool:
        """Tell whether *response* may be cached: its status, its method, its lifetime and the user's filter."""
        if response is None:
            return False
        method = response.method.upper()
        if actions is None:
            if method not in self.allowed_methods:
                return False
        elif not may_be_cached(method, actions.rules) or actions.expire_after == 0:
            return False
        codes = self.codes()
        if codes is not None and response.status not in codes:
            return False
        if not self.cache_control and getattr(response, "is_expired", False):
            return False
        return await self.passes_filter(response)

    def is_method_allowed(self, method: str) -> bool:
        """Whether responses to *method*, in any case, may be cached at any URL."""
        return self.may_allow(method.upper())

    @hook
    async def get_response(self, key: str) -> CachedResponse | None:
        """Fetch the response kept under *key*, following redirects; an expired or filtered one is deleted."""
        await self.settle({key})
        for _ in range(MAX_HOPS):
            item = await item_of(self.responses, key)
            if item is not None and not isinstance(item, str):
                return await _usable(self, item, key)
            following = item or next_key(await item_of(self.redirects, key))
            if following is None:
                return None
            key = following
        return None

    @hook
    async def save_response(
        self, response: ClientResponse, cache_key: str | None = None, expires: datetime | None = None
    ) -> None:
        """Save *response*, reading it to its end when that has not been done.

        Args:
            cache_key: the key to save it under; made from the response when not given.
            expires: when it expires; by the backend's ``expire_after`` when not given.
        """
        await self.learn_secret()
        key = cache_key or self.create_key(response.method, response.url, headers=response.request_info.headers)
        if expires is None:
            lifetime = self.rules_for(response.url).lifetime_s
            fresh_until = math.inf if lifetime is None else time.time() + lifetime
        else:
            fresh_until = posix_time(expires)
        hops = tuple(self.create_key(hop.method, hop.url, headers=hop.request_info.headers) for hop in response.history)
        if isinstance(response, CachedResponse):
            entry = response.stored
            if not isinstance(entry, StoredResponse):  # a stand-in of a test: nothing else can be kept of it
                await self.responses.write(key, response)
                return
            if expires is not None:
                entry = replace(entry, fresh_until=fresh_until, store_until=fresh_until)
        else:
            entry = entry_of(response, body=await body_of(response), fresh_until=fresh_until)
            entry = await _tagged(self, entry, response)
        url = keys.redact_url(entry.url, self.ignored_params)
        entry = keys.redacted(entry, self.ignored_params, self.digest_key)
        await self.write(replace(entry, key=key, url=url, history=hops or entry.history))
        for hop_key in hops:
            if not await self.redirects.contains(hop_key):
                await self.redirects.write(hop_key, key)

    @hook
    async def delete(self, key: str) -> None:
        """Delete a response, its variants, and the redirects that lead to it, and what it leads to."""
        await self.bulk_delete({key})

    # ---- for operators

    async def delete_expired_responses(self) -> int:
        """Delete what has expired, and what ``filter_fn`` does not let through any more; return how many went."""
        await self.settle()
        now = time.time()
        count = await upkeep.delete_expired(self.stack, now)
        self.stats.purged += count
        if self.filter_fn is accept_all:
            return count
        refused: set[str] = set()
        async for key in self.responses.keys():
            item = await item_of(self.responses, key)
            if item is not None and not isinstance(item, str) and not await _may_stay(self, item):
                refused.add(key)
        await self.responses.bulk_delete(refused)
        self.stats.purged += len(refused)
        return count + len(refused)

    remove_expired_responses = delete_expired_responses

    async def clear(self) -> None:
        """Delete everything."""
        await self.stack.clear()
        self._forget_secret()

    async def close(self) -> None:
        """Close the storages; may be called twice."""
        await self.stack.close()
        self.stats.ended(self.name)


async def _usable(backend: CacheBackend, response: CachedResponse, key: str) -> CachedResponse | None:
    """*response*, or what is to be used in its place; what may not be used is deleted."""
    # Past its lifetime, a standard cache may still validate a response; by the user's rules alone it is over.
    stored = getattr(response, "stored", None)
    if isinstance(stored, StoredResponse) and stored.tagging is not None:
        judged = await backend.stack.here().purges.judge(stored)  # a storage of the user's knows nothing of purges
        if judged is None:
            return None
        response = response if judged is stored else CachedResponse.from_stored(judged)
    is_ours = backend.cache_control and isinstance(stored, StoredResponse)
    expired = time.time() >= response.stored.store_until if is_ours else response.is_expired
    if not expired and await _may_stay(backend, response):
        return response
    await backend.delete(key)
    return None


async def _may_stay(backend: CacheBackend, response: CachedResponse) -> bool:
    """Whether ``filter_fn`` lets a stored *response* through; what it fails on is let through no more."""
    try:
        return backend.filter_fn is accept_all or await backend.passes_filter(response)
    except Exception as error:
        logger.warning("filter_fn failed on a stored response, which is dropped: %s", type(error).__name__)
        return False


async def _tagged(backend: CacheBackend, entry: StoredResponse, response: ClientResponse) -> StoredResponse:
    """*entry* of *response* with its tags, of which purges that have begun so far say nothing."""
    told: Any = None if backend.tag_fn is None else backend.tag_fn(CachedResponse.from_stored(entry))
    tags = tags_of(await told if inspect.isawaitable(told) else told, option="tag_fn()")
    if not tags and not has_tags(entry.headers):
        return entry
    request = Request(response.method, str(response.url), response.request_info.headers)
    purges = await backend.stack.here().purges.observe()
    return replace(entry, tagging=tagging_of(entry.raw_headers, tags, origin=origin_of(request), purges=purges))
