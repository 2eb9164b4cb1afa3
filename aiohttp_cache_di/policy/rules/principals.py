"""Principals: the users of requests, given by name, by URL pattern or by a function instead of by credentials."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.policy.rules.patterns import UrlTable, shown
from aiohttp_cache_di.rfc9111.messages import Request

__all__ = ["Principal", "PrincipalPatterns", "named_by"]

Principal: TypeAlias = str | Callable[[Request], str | None] | None
"""The user of a request: a name, or a function of the request that returns one; None for the credentials."""


class PrincipalPatterns(UrlTable[str]):
    """Principals by URL pattern, compiled with ``by_host``.

    Raises:
        ConfigurationError: a pattern is invalid, or a name is empty or not text.
    """

    __slots__ = ()

    def __init__(self, names: Mapping[str, str]) -> None:
        for pattern, name in names.items():
            if not isinstance(name, str) or not name:
                raise ConfigurationError(f"principals[{shown(pattern)}]: use a name of at least one character")
        super().__init__(names.items(), option="principals", by_host=True)


def named_by(principal: Principal, request: Request) -> str | None:
    """The name of the *principal* of *request*.

    Raises:
        ConfigurationError: the name is not text, or empty: users without a name are not the same user.
    """
    name = principal(request) if callable(principal) else principal
    if name is not None and (not isinstance(name, str) or not name):
        raise ConfigurationError("principal= takes a name of at least one character, or a function that returns one")
    return name
