"""Settings that are right by themselves and of no effect together: refused at the start, with the way out."""

from __future__ import annotations

from aiohttp_cache_di.policy.rules.idle import Spelling, idle_settings
from aiohttp_cache_di.settings.model import CacheSettings
from aiohttp_cache_di.settings.variables import refuse

__all__ = ["refuse_contradictions"]


def refuse_contradictions(settings: CacheSettings) -> None:
    """Raise ConfigurationError if something in *settings* would do nothing.

    Raises:
        ConfigurationError: one message that lists everything wrong.
    """
    prefix = settings.prefix
    spelling = Spelling(
        f"{prefix}CACHE_CONTROL=true",
        f"{prefix}ALLOWED_METHODS",
        f"{prefix}URLS_EXPIRE_AFTER",
        f"{prefix}POST_AS_QUERY",
    )
    problems = list(
        idle_settings(
            cache_control=settings.cache_control,
            allowed_methods=settings.allowed_methods,
            urls_expire_after=settings.urls_expire_after,
            post_as_query=settings.post_as_query,
            spelling=spelling,
        )
    )
    if problems:
        refuse(problems)
