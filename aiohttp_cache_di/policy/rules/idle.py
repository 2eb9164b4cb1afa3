"""Find valid settings that have no effect because of others, and explain what to do."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from msgspec import Struct

from aiohttp_cache_di.policy.rules.expiration import UrlExpiration
from aiohttp_cache_di.policy.rules.patterns import shown

__all__ = ["IN_CODE", "Spelling", "idle_settings"]

_CACHEABLE = frozenset({"GET", "HEAD", "QUERY"})


class Spelling(Struct, frozen=True):
    """The names of the settings for messages: as arguments in code, or as variables."""

    cache_control: str
    allowed_methods: str
    urls_expire_after: str
    post_as_query: str


IN_CODE = Spelling("cache_control=True", "allowed_methods", "urls_expire_after", "post_as_query")


def idle_settings(
    *,
    cache_control: bool,
    allowed_methods: Collection[str],
    urls_expire_after: Mapping[str, object],
    post_as_query: Collection[str],
    spelling: Spelling = IN_CODE,
) -> Iterator[str]:
    """A sentence for each of these settings that has no effect because of the others."""
    if not cache_control:
        if post_as_query:
            yield (
                f"{spelling.post_as_query}: without {spelling.cache_control} it has no effect; set that, or name POST "
                f"in {spelling.allowed_methods}, or leave it out"
            )
        return
    why = _why_not(allowed_methods, post_as_query, spelling)
    if why:
        yield f"{spelling.allowed_methods}={','.join(allowed_methods)!r}: {why}"
    for pattern, rule in urls_expire_after.items():
        if isinstance(rule, UrlExpiration) and rule.allowed_methods is not None:
            why = _why_not(rule.allowed_methods, post_as_query, spelling)
            if why:
                yield f"{spelling.urls_expire_after}: {shown(pattern)}: its allowed_methods: {why}"


def _why_not(methods: Collection[str], post_as_query: Collection[str], spelling: Spelling) -> str:
    """Why RFC 9111 never caches some of *methods*; "" if there are none such."""
    odd = sorted({method.upper() for method in methods} - _CACHEABLE)
    if post_as_query and "POST" in odd:  # post_as_query decides about POST
        odd.remove("POST")
    if not odd:
        return ""
    way_out = f"name the URLs to which POST is a query in {spelling.post_as_query}, or " if "POST" in odd else ""
    return (
        f"with {spelling.cache_control} a response to {', '.join(odd)} answers no other request, for these "
        f"methods are not cacheable in themselves (RFC 9110 §9.2.3); {way_out}leave it out"
    )
