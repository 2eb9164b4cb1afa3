"""`CacheBackend`: decides what is cached, for how long and under which key; stores it in two storages."""

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
from aiohttp_cache_di.backends.configured import FilterFn, accept_all
from aiohttp_cache_di.backends.memory import DictCache
from aiohttp_cache_di.backends.operating.deleting import next_key
from aiohttp_cache_di.backends.operating.explaining import Explained
from aiohttp_cache_di.backends.options.revision import hook
from aiohttp_cache_di.backends.options.values import BACKEND_OPTIONS, BackendOptions
from aiohttp_cache_di.backends.storage import BaseCache, BaseStorage, ResponseOrKey, item_of, refuse_other_keys
from aiohttp_cache_di.backends.wrap import upkeep
from aiohttp_cache_di.entries.build import body_of, entry_of
from aiohttp_cache_di.entries.tags import has_tags, tagging_of
from aiohttp_cache_di.policy import origin_of, tags_of
from aiohttp_cache_di.policy.requests.request import may_be_cached
from aiohttp_cache_di.policy.rules.book import DEFAULT_CODES, Wishes
from aiohttp_cache_di.policy.rules.expiration import UNSET, ExpirationTime, UrlLifetime, posix_time
from aiohttp_cache_di.response import AnyResponse, CachedResponse
from aiohttp_cache_di.rfc9111.messages import Request, StoredResponse
from aiohttp_cache_di.signatures import OptionsSignature

__all__ = ["BaseCache", "BaseStorage", "CacheBackend", "DictCache", "FilterFn", "ResponseOrKey"]

logger: logging.Logger = logging.getLogger(__name__)

MAX_HOPS = 30  # hops of a stored chain of redirects; aiohttp itself follows 10


class CacheBackend(Explained):
    """Base class of all backends, and the backend that stores responses in memory.

    To store them elsewhere, subclass it and set `responses` and `redirects` to storages of your own (`BaseCache`).
    The engine calls the methods below, `create_key` and `delete`, so overriding one takes effect. Besides its named
    arguments, the initialiser takes the options of `BackendOptions`, each of which has a docstring there.
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
            cache_name: name of the cache: a namespace, a table or a file, depending on the backend.
            expire_after: lifetime of responses: seconds, ``"5m"``, a timedelta, a datetime or an HTTP date; -1 never
                expires, 0 does not cache. With ``cache_control`` it applies only to responses that state no lifetime
                (RFC 9111 §4.2.1); None, or leaving it out, then gives them none. Without ``cache_control``, leaving it
                out means -1.
            urls_expire_after: lifetimes by URL pattern, such as ``{"*.example.com/static/*": "1d"}``: shell globs, the
                first match decides. A value may be an `UrlExpiration`, or a mapping of its fields.
            allowed_codes: statuses of responses that are cached; with ``cache_control``, the default lets the response
                decide (RFC 9111 §3).
            allowed_methods: methods of requests whose responses are cached.
            include_headers: make all request headers part of the key, not only those named in Vary (RFC 9111 §4.1).
            ignored_params: query, form and JSON parameters and headers that are neither part of the key nor stored.
            autoclose: close the storages when a session that uses the backend is closed.
            cache_control: follow RFC 9111 and the directives of origin and caller, as a private cache does.
            filter_fn: returns whether a response may be cached; may be a coroutine function.
            kwargs: further options; see `BackendOptions`.

        Raises:
            TypeError: an option is unknown.
            ConfigurationError: an option has an invalid value.
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
        if "stats" not in vars(self):  # still being initialised; a traceback may show it
            return f"<{type(self).__name__}>"
        place = self.guard.outages.place
        where = f"at {place}" if place else "in memory" if self.stack.is_in_memory else "in its own place"
        rules = "HTTP's rules" if self.cache_control else "your rules"
        stats = self.stats
        health = "" if stats.health().is_ok else ", degraded"
        return (
            f"<{type(self).__name__} {self.name!r} {where}: {rules}, {stats.hits} hits, {stats.misses} misses{health}>"
        )

    # ---- called by the engine; a subclass may override them

    @hook
    def create_cache_actions(
        self, key: str, url: StrOrURL, expire_after: ExpirationTime = None, refresh: bool = False, **kwargs: Any
    ) -> CacheActions:
        """Resolve the settings that apply to one request.

        Args:
            key: the key of the request, from `create_key`.
            url: the URL of the request.
            expire_after: a lifetime for this request only; see `CacheBackend`.
            refresh: validate a stored response with the origin before it is used.
            kwargs: all other arguments of the request.
        """
        rules = self.rules_for(url, Wishes(expire_after, refresh))
        return CacheActions(key=key, url=str(url), rules=rules, request=kwargs)

    @hook
    async def request(self, actions: CacheActions) -> CachedResponse | None:
        """Return the cached response that *actions* allow to use, or None."""
        if actions.refresh or actions.expire_after == 0:
            return None
        return await self.get_response(actions.key)

    @hook
    async def is_cacheable(self, response: AnyResponse | None, actions: CacheActions | None = None) -> bool:
        """Return whether *response* may be cached, by its status, its method, its lifetime and ``filter_fn``."""
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
        """Return whether responses to *method* (upper or lower case) may be cached for any URL at all."""
        return self.may_allow(method.upper())

    @hook
    async def get_response(self, key: str) -> CachedResponse | None:
        """Return the response under *key*, following redirects; delete it if it has expired or is filtered out."""
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
        """Store *response*, after reading its body if that has not been done.

        Args:
            cache_key: the key to store it under; by default made from the response's own request.
            expires: when it expires; by default according to the backend's ``expire_after``.
        """
        if cache_key is not None:
            refuse_other_keys(cache_key)
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
            if not isinstance(entry, StoredResponse):  # a test double: it can only be stored as it is
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

    # ---- for operators

    async def delete_expired_responses(self) -> int:
        """Delete responses that have expired or that ``filter_fn`` now refuses; return how many."""
        await self.settle()
        now = time.time()
        count = await upkeep.delete_expired(self.stack, now)
        self.stats.counts.here().purged += count
        if self.filter_fn is accept_all:
            return count
        refused: set[str] = set()
        async for key in self.responses.keys():
            item = await item_of(self.responses, key)
            if item is not None and not isinstance(item, str) and not await _may_stay(self, item):
                refused.add(key)
        await self.responses.bulk_delete(refused)
        self.stats.counts.here().purged += len(refused)
        return count + len(refused)

    remove_expired_responses = delete_expired_responses

    async def close(self) -> None:
        """Close the storages; may be called twice."""
        await self.stack.close()
        self.stats.ended(self.name)


async def _usable(backend: CacheBackend, response: CachedResponse, key: str) -> CachedResponse | None:
    """*response*, made stale if one of its tags was purged softly; None, and deleted, if it may not be used."""
    # With cache_control, an expired response may still be validated; without it, an expired response is useless.
    stored = getattr(response, "stored", None)
    if isinstance(stored, StoredResponse) and stored.tagging is not None:
        judged = await backend.stack.here().purges.judge(stored)  # a user's own storage does not apply purges
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
    """Whether ``filter_fn`` accepts a stored *response*; if it raises, the response is refused."""
    try:
        return backend.filter_fn is accept_all or await backend.passes_filter(response)
    except Exception as error:
        logger.warning("filter_fn failed on a stored response, which is dropped: %s", type(error).__name__)
        return False


async def _tagged(backend: CacheBackend, entry: StoredResponse, response: ClientResponse) -> StoredResponse:
    """*entry*, made from *response*, with its tags; only purges that begin after now apply to it."""
    given: Any = None if backend.tag_fn is None else backend.tag_fn(CachedResponse.from_stored(entry))
    tags = tags_of(await given if inspect.isawaitable(given) else given, option="tag_fn()")
    if not tags and not has_tags(entry.headers):
        return entry
    request = Request(response.method, str(response.url), response.request_info.headers)
    purges = await backend.stack.here().purges.observe()
    return replace(entry, tagging=tagging_of(entry.raw_headers, tags, origin=origin_of(request), purges=purges))
