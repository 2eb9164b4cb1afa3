"""The rules for one request, resolved from the settings of the backend and the options of the request."""

from __future__ import annotations

import math
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from msgspec import Struct
from yarl import URL

from aiohttp_cache_di.lazy import derived
from aiohttp_cache_di.policy.rules.expiration import (
    UNSET,
    ExpirationTime,
    UrlExpiration,
    UrlRules,
    fixed_s,
    lifetime_s,
    moment_of,
    posix_time,
)
from aiohttp_cache_di.policy.rules.patterns import UrlPatterns
from aiohttp_cache_di.policy.rules.principals import Principal
from aiohttp_cache_di.policy.rules.windows import Window, window_s
from aiohttp_cache_di.rfc9111.messages import REDIRECTS
from aiohttp_cache_di.units import means_none

__all__ = ["DEFAULT_CODES", "NO_WISHES", "RuleBook", "Rules", "Wishes"]

DEFAULT_CODES = (200,)
MAX_RESOLVED = 1000
_STAYING = (int, float, timedelta, type(None))


class Rules(Struct, frozen=True):
    """The user's rules, resolved for one request.

    Args:
        cache_control: follow RFC 9111; otherwise the rules below decide alone.
        shared: several users share the cache, so ``private``, ``s-maxage`` and ``proxy-revalidate`` count.
        lifetime_s: the ``expire_after`` that applies: None adds none, ``inf`` is for ever, 0 does not cache.
        ends_at: POSIX time at which that ends, if it was given as a date.
        override_origin: *lifetime_s* takes precedence over the origin's lifetime (with *cache_control*).
        refresh: validate with the origin before use.
        only_if_cached: answer from the cache or not at all.
        stale_if_error_s: how long a stale response may be used instead of an error; ``inf`` is for ever.
        stale_while_revalidate_s: how long a stale response may be used while it is validated.
        allowed_codes: status codes that may be stored; None allows all.
        allowed_methods: methods whose responses may be stored.
        post_as_query: with *cache_control*, treat POST as the safe and cacheable QUERY (RFC 10008).
        heuristic_fraction: the fraction of the time since Last-Modified that is the lifetime (RFC 9111 §4.2.2).
        heuristic_max_s: the upper bound of that lifetime.
        heuristic_with_query: whether responses for URLs with a query get such a lifetime.
        max_variants: the number of variants that are kept for one URL.
        replays_cookies: Set-Cookie is stored and served again.
        tags: tags of stored responses, besides those in the response.
        digest_key: the key of the digests of the header fields in Vary; its type has a repr that hides it.
    """

    cache_control: bool = False
    shared: bool = False
    lifetime_s: float | None = None
    ends_at: float | None = None
    override_origin: bool = False
    refresh: bool = False
    only_if_cached: bool = False
    stale_if_error_s: float | None = None
    stale_while_revalidate_s: float | None = None
    allowed_codes: frozenset[int] | None = frozenset({200})
    allowed_methods: frozenset[str] = frozenset({"GET", "HEAD"})
    post_as_query: bool = False
    heuristic_fraction: float = 0.1  # RFC 9111 §4.2.2: "a typical setting of this fraction might be 10%"
    heuristic_max_s: float = 86400 * 7
    heuristic_with_query: bool = False
    max_variants: int = 16
    replays_cookies: bool = False
    tags: tuple[str, ...] = ()
    digest_key: bytes = b""


class Wishes(Struct, frozen=True):
    """The caller's options for one request, each as in `CacheRequestOptions`; a default leaves it to the settings."""

    expire_after: ExpirationTime = None
    refresh: bool = False
    only_if_cached: bool = False
    stale_if_error: Window = None
    principal: Principal = None
    tags: tuple[str, ...] = ()


NO_WISHES: Final = Wishes()
"""Those of a caller who has given none."""


class RuleBook:
    """The settings of a backend that concern caching; `CacheBackend` sets and documents the attributes."""

    revision: int
    expire_after: ExpirationTime
    url_rules: UrlRules
    allowed_codes: Collection[int]
    allowed_methods: frozenset[str]
    disabled: bool
    cache_control: bool
    shared: bool
    store_cookies: bool
    stale_if_error_s: float | None
    stale_while_revalidate_s: float | None
    heuristic_fraction: float
    heuristic_with_query: bool
    max_variants: int
    digest_key: bytes
    post_as_query: Collection[str]

    @derived
    def query_patterns(self) -> UrlPatterns:
        """Matches the URLs for which POST is a query."""
        return UrlPatterns(self.post_as_query, option="post_as_query")

    @derived
    def resolved(self) -> dict[tuple[object, ...], Rules]:
        """Memoised rules, by the options that they were resolved from."""
        return {}

    @derived
    def of_all_urls(self) -> Rules | None:
        """The rules of requests without options; None if they depend on the URL or the time."""
        expire_after = _plain_lifetime(self, self.expire_after)
        if self.url_rules or self.query_patterns or not isinstance(expire_after, _STAYING):
            return None
        return _rules_of(self, _Options(expire_after), now=0.0)

    def resolve(self, url: str | URL, wishes: Wishes = NO_WISHES, *, now: float) -> Rules:
        """Resolve the rules for one request: its own options, else those of the first URL pattern, else the backend's.

        Args:
            wishes: the options of the request; its tags are not among the rules.
            now: POSIX time, UTC, from which the lifetime until a date is counted.
        """
        expire_after, stale_if_error = wishes.expire_after, wishes.stale_if_error
        if expire_after is None and stale_if_error is None and not (wishes.refresh or wishes.only_if_cached):
            rules = self.of_all_urls
            if rules is not None:
                return rules
        resolved = self.resolved  # before the settings, which another thread may change meanwhile
        found = self.url_rules.match(str(url)) if self.url_rules else None
        more = found if found is not None and found.says_more else None
        override_origin = False
        if expire_after is None:
            override_origin = found is not None and found.override_origin
            expire_after = self.expire_after if found is None or (more and more.value is None) else found.value
        expire_after = _plain_lifetime(self, expire_after)
        window = None if stale_if_error is None else (window_s(stale_if_error),)
        is_query = self.query_patterns.match(url) is not None
        # A plain tuple, as it is quicker to make; it becomes `_Options` when there are no rules for it yet.
        options = (expire_after, override_origin, wishes.refresh, wishes.only_if_cached, window, is_query, more)
        # The lifetime until a date changes with every second; a bool is refused, but is equal to 0 or 1, which is not.
        if not isinstance(expire_after, _STAYING) or isinstance(expire_after, bool):
            return _rules_of(self, _Options(*options), now=now)
        rules = resolved.get(options)
        if rules is None:
            if len(resolved) > MAX_RESOLVED:
                resolved.clear()
            rules = resolved[options] = _rules_of(self, _Options(*options), now=now)
        return rules

    def may_allow(self, method: str) -> bool:
        """Whether responses to *method* may be stored for any URL."""
        if method in self.allowed_methods or method in self.url_rules.methods:
            return True
        if not self.cache_control:
            return False
        return self.may_allow("GET") if method == "QUERY" else method == "POST" and bool(self.query_patterns)

    def codes(self) -> frozenset[int] | None:
        """The statuses that may be stored, None for all.

        With ``cache_control`` the default allows all that HTTP does. Without, redirects are added, so that the response
        that they lead to can be found.
        """
        if self.cache_control:
            return None if self.allowed_codes is DEFAULT_CODES else frozenset(self.allowed_codes)
        return frozenset(self.allowed_codes) | REDIRECTS


def _plain_lifetime(book: RuleBook, expire_after: ExpirationTime) -> ExpirationTime:
    """*expire_after* with texts parsed except for dates; None if it is not given."""
    if expire_after is UNSET and book.cache_control:
        return None
    if isinstance(expire_after, str):
        if means_none(expire_after):
            return None
        seconds = fixed_s(expire_after)
        return expire_after if seconds is None else seconds
    return expire_after


class _Options(NamedTuple):
    """The options that apply to a request, of which those in a URL pattern are already resolved.

    Attributes:
        window: the stale_if_error of the request in seconds, in a tuple; None if the request has no such option.
        pattern: the rule of the URL pattern, if it has more than a lifetime.
    """

    expire_after: ExpirationTime
    override_origin: bool = False
    refresh: bool = False
    only_if_cached: bool = False
    window: tuple[float | None] | None = None
    post_as_query: bool = False
    pattern: UrlExpiration | None = None


def _rules_of(book: RuleBook, options: _Options, *, now: float) -> Rules:
    expire_after, pattern, window = options.expire_after, options.pattern, options.window
    lifetime = 0.0 if book.disabled else lifetime_s(expire_after, now=now)
    if lifetime is None and not book.cache_control:
        lifetime = math.inf
    on_error_s, revalidating_s, methods = _of_pattern(book, pattern)
    return Rules(
        cache_control=book.cache_control,
        shared=book.shared,
        lifetime_s=lifetime,
        ends_at=posix_time(moment_of(expire_after)) if isinstance(expire_after, str | datetime) else None,
        override_origin=options.override_origin or book.disabled,
        refresh=options.refresh,
        only_if_cached=options.only_if_cached,
        stale_if_error_s=on_error_s if window is None else window[0],
        stale_while_revalidate_s=revalidating_s,
        allowed_codes=book.codes() if book.cache_control or book.store_cookies else frozenset(book.allowed_codes),
        allowed_methods=methods,
        post_as_query=options.post_as_query,
        heuristic_fraction=book.heuristic_fraction,
        heuristic_with_query=book.heuristic_with_query,
        max_variants=book.max_variants,
        replays_cookies=book.store_cookies,
        tags=() if pattern is None else tuple(pattern.tags),
        digest_key=book.digest_key,
    )


def _of_pattern(book: RuleBook, pattern: UrlExpiration | None) -> tuple[float | None, float | None, frozenset[str]]:
    """The stale windows and the methods: those of the pattern, else the backend's."""
    on_error_s, revalidating_s, methods = book.stale_if_error_s, book.stale_while_revalidate_s, book.allowed_methods
    if pattern is not None:
        if pattern.stale_if_error is not None:
            on_error_s = window_s(pattern.stale_if_error)
        if pattern.stale_while_revalidate is not None:
            revalidating_s = window_s(pattern.stale_while_revalidate)
        if pattern.allowed_methods is not None:
            methods = frozenset(pattern.allowed_methods)
    return on_error_s, revalidating_s, methods
