"""Combinations of valid settings that have no effect: refused at the start, with advice."""

from __future__ import annotations

from aiohttp_cache_di.policy.rules.idle import Spelling, idle_settings
from aiohttp_cache_di.settings.forms import BUILT_IN_BACKENDS
from aiohttp_cache_di.settings.model import CacheSettings
from aiohttp_cache_di.settings.variables import CODE_SOURCE, DEFAULT_SOURCE, refuse

__all__ = ["passed_over", "refuse_contradictions"]


def refuse_contradictions(settings: CacheSettings) -> None:
    """Refuse settings that have no effect because of others.

    Raises:
        ConfigurationError: one message that lists all of them.
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


def passed_over(settings: CacheSettings) -> str | None:
    """A warning about a variable of another store that is ignored while ``BACKEND`` is not set; None without one.

    With ``BACKEND`` set, variables of other stores are ignored without a warning.
    """
    if settings.source_of(("backend",)) != DEFAULT_SOURCE:
        return None
    for variable in settings.variables():
        section, *inner = variable.path
        is_of_another = inner and section in BUILT_IN_BACKENDS and section != settings.backend
        if is_of_another and settings.source_of(variable.path) not in (DEFAULT_SOURCE, CODE_SOURCE):
            name, backend = settings.prefix + variable.suffix, f"{settings.prefix}BACKEND"
            return f"{name} is passed over: {backend} is not set, and so {settings.backend}; set {backend}={section}"
    return None
