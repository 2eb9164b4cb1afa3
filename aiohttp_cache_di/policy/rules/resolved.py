"""The rules for one request, resolved from all that users may say; what every decision is made by."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["Rules"]


class Rules(Struct, frozen=True):
    """What the user has configured, resolved for one request.

    Args:
        cache_control: follow RFC 9111; otherwise the rules below decide alone.
        shared: several users share the cache, so ``private``, ``s-maxage`` and ``proxy-revalidate`` count.
        lifetime_s: the ``expire_after`` that applies: None adds none, ``inf`` is for ever, 0 does not cache.
        ends_at: POSIX time at which that ends, where it was given as a point in time.
        override_origin: *lifetime_s* wins over what the origin says of freshness (with *cache_control*).
        refresh: validate with the origin before use.
        only_if_cached: answer from the cache or not at all.
        stale_if_error_s: how long past its lifetime a response may stand in for an error; ``inf`` is for ever.
        stale_while_revalidate_s: how long past its lifetime it may be served while it is validated.
        allowed_codes: status codes that may be stored; None allows each.
        allowed_methods: methods whose responses may be stored.
        post_as_query: with *cache_control*, treat POST as the safe and cacheable QUERY (RFC 10008).
        heuristic_fraction: share of the time since Last-Modified that counts as lifetime (RFC 9111 §4.2.2).
        heuristic_max_s: bound of that lifetime.
        heuristic_with_query: whether a URL with a query gets such a lifetime.
        max_variants: how many variants of one URL are kept side by side.
        replays_cookies: Set-Cookie is stored and served again.
        tags: tags of what is stored, beside those that the response has.
        digest_key: of the digests of the header fields in Vary; what is bytes with a repr of its own stays secret.
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
