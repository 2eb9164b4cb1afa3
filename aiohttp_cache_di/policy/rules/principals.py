"""Principals: the users of requests, given by name, by URL pattern or by a function instead of by credentials."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TypeAlias

from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.policy.rules.patterns import MEMOISED_URL_CHARS, as_read, compiled, shown
from aiohttp_cache_di.rfc9111.messages import Request

__all__ = ["Principal", "PrincipalPatterns", "named_by"]

Principal: TypeAlias = str | Callable[[Request], str | None] | None
"""The user of a request: a name, or a function of the request that returns one; None for the credentials."""


class PrincipalPatterns:
    """Principals by URL pattern, compiled with ``by_host``; the first pattern that matches decides.

    Raises:
        ConfigurationError: a pattern is invalid, or a name is empty or not text.
    """

    __slots__ = ("_match", "_names")

    def __init__(self, names: Mapping[str, str]) -> None:
        for pattern, name in names.items():
            if not isinstance(name, str) or not name:
                raise ConfigurationError(f"principals[{shown(pattern)}]: use a name of at least one character")
        matchers = (compiled(pattern, named=f"principals: {shown(pattern)}", by_host=True) for pattern in names)
        self._names = tuple(zip(matchers, names.values(), strict=True))
        self._match = lru_cache(maxsize=1024)(self._first_match)

    def __bool__(self) -> bool:
        return bool(self._names)

    def match(self, url: str) -> str | None:
        """The name of the first pattern that matches *url*; None if none does."""
        if not self._names:
            return None
        return self._match(url) if len(url) <= MEMOISED_URL_CHARS else self._first_match(url)

    def _first_match(self, url: str) -> str | None:
        target = as_read(url)
        return next((name for matches, name in self._names if matches(target) is not None), None)


def named_by(principal: Principal, request: Request) -> str | None:
    """The name of the *principal* of *request*.

    Raises:
        ConfigurationError: the name is not text, or empty: users without a name are not the same user.
    """
    name = principal(request) if callable(principal) else principal
    if name is not None and (not isinstance(name, str) or not name):
        raise ConfigurationError("principal= takes a name of at least one character, or a function that returns one")
    return name
