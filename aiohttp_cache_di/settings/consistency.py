"""Settings that are right by themselves and of no effect together: refused at the start, with the way out."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from aiohttp_cache_di.policy.expiration import UrlExpiration
from aiohttp_cache_di.settings.model import CacheSettings
from aiohttp_cache_di.settings.variables import refuse

__all__ = ["refuse_contradictions"]

_CACHEABLE = frozenset({"GET", "HEAD", "QUERY"})


def refuse_contradictions(settings: CacheSettings) -> None:
    """Raise ConfigurationError if something in *settings* would do nothing.

    Raises:
        ConfigurationError: one message that lists everything wrong.
    """
    problems = list(_uncacheable_methods(settings))
    if problems:
        refuse(problems)


def _uncacheable_methods(settings: CacheSettings) -> Iterator[str]:
    if not settings.cache_control:
        return
    prefix = settings.prefix
    why = _why_not(settings.allowed_methods, settings)
    if why:
        yield f"{prefix}ALLOWED_METHODS={','.join(settings.allowed_methods)!r}: {why}"
    for pattern, rule in settings.urls_expire_after.items():
        if isinstance(rule, UrlExpiration) and rule.allowed_methods is not None:
            why = _why_not(rule.allowed_methods, settings)
            if why:
                yield f"{prefix}URLS_EXPIRE_AFTER: {pattern!r}: its allowed_methods: {why}"


def _why_not(methods: Collection[str], settings: CacheSettings) -> str:
    """Why the standard never caches some of *methods*; "" where there are none."""
    odd = sorted({method.upper() for method in methods} - _CACHEABLE)
    if settings.post_as_query and "POST" in odd:  # what is said of POST is said there
        odd.remove("POST")
    if not odd:
        return ""
    prefix, way_out = settings.prefix, ""
    if "POST" in odd:
        way_out = f"; name the URLs to which POST is a query in {prefix}POST_AS_QUERY"
    return (
        f"with {prefix}CACHE_CONTROL=true a response to {', '.join(odd)} answers no other request, for these "
        f"methods are not cacheable in themselves (RFC 9110 §9.2.3){way_out}, or leave it out"
    )
