"""Whom the requests to a backend are for, and whose credentials set no one apart."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Any

from aiohttp.typedefs import LooseHeaders, StrOrURL
from multidict import CIMultiDict

from aiohttp_cache_di.policy.rules.patterns import UrlPatterns
from aiohttp_cache_di.policy.rules.principals import Principal, PrincipalPatterns, named_by
from aiohttp_cache_di.rfc9111.messages import Request

__all__ = ["Naming"]


class Naming:
    """The settings of a backend that say whom requests are for; for their meaning see `CacheBackend`."""

    principal: Principal
    principals: Mapping[str, str] | None
    shared_credentials: Collection[str]

    @cached_property
    def principal_patterns(self) -> PrincipalPatterns:
        """Names by URL pattern."""
        return PrincipalPatterns(self.principals or {})

    @cached_property
    def shared_patterns(self) -> UrlPatterns:
        """Patterns of the URLs where credentials set no one apart."""
        return UrlPatterns(self.shared_credentials, option="shared_credentials", by_host=True)

    @cached_property
    def names_principals(self) -> bool:
        """Whether any request has a principal without saying so itself."""
        return self.principal is not None or bool(self.principal_patterns)

    def principal_of(self, request: Request) -> str | None:
        """The name of whom *request* is for; None where its credentials say so.

        Raises:
            ConfigurationError: a function gives something else than a name; it may raise what it likes.
        """
        name = self.principal_patterns.match(request.url)
        return named_by(self.principal, request) if name is None else name

    def whose(self, method: str, url: StrOrURL, headers: LooseHeaders | None, principal: Principal) -> dict[str, Any]:
        """The arguments of a key that say whom a request is for.

        Args:
            principal: as the request says, or its session.
        """
        if principal is not None or self.names_principals:
            request = Request(method.upper(), str(url), CIMultiDict(headers or ()))
            try:
                name = named_by(principal, request)
                if name is None:
                    name = self.principal_of(request)
            except Exception:  # without a name nothing may be stored for the request
                name = f"unknown {secrets.token_hex(16)}"
            if name is not None:
                return {"principal": name}
        return {"credentials_are_shared": True} if self.shared_patterns.match(url) else {}
