"""Principals: for whom a request is made, and where all credentials are equivalent."""

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
    """The settings of a backend for principals; `BackendOptions` explains them."""

    principal: Principal
    principals: Mapping[str, str] | None
    shared_credentials: Collection[str]

    @cached_property
    def principal_patterns(self) -> PrincipalPatterns:
        """The names of principals by URL pattern."""
        return PrincipalPatterns(self.principals or {})

    @cached_property
    def shared_patterns(self) -> UrlPatterns:
        """Patterns of the URLs for which all credentials are equivalent."""
        return UrlPatterns(self.shared_credentials, option="shared_credentials", by_host=True)

    @cached_property
    def names_principals(self) -> bool:
        """Whether the settings may name a principal for a request."""
        return self.principal is not None or bool(self.principal_patterns)

    def principal_of(self, request: Request) -> str | None:
        """The name of the principal of *request*; None if its credentials identify it.

        Raises:
            ConfigurationError: the user's function returns something other than a name.
            Exception: whatever the user's function raises.
        """
        name = self.principal_patterns.match(request.url)
        return named_by(self.principal, request) if name is None else name

    def whose(self, method: str, url: StrOrURL, headers: LooseHeaders | None, principal: Principal) -> dict[str, Any]:
        """The arguments of `keys.create_key` for the principal of a request.

        Args:
            principal: the principal that is given with the request or its session, which takes precedence.
        """
        if principal is not None or self.names_principals:
            request = Request(method.upper(), str(url), CIMultiDict(headers or ()))
            try:
                name = named_by(principal, request)
                if name is None:
                    name = self.principal_of(request)
            except Exception:  # without a name, the request must not share a response: a random name has none
                name = f"unknown {secrets.token_hex(16)}"
            if name is not None:
                return {"principal": name}
        return {"credentials_are_shared": True} if self.shared_patterns.match(url) else {}
