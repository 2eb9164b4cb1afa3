"""The rules for one request, on which every decision is based."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["Rules"]


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
