"""How the app sends a request: what, besides method and URL, selects the stored response."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from aiohttp import ClientRequest, ClientSession
from multidict import CIMultiDict
from yarl import URL

from aiohttp_cache_di._aiohttp import build_url

__all__ = ["MANNERS", "Manner"]

MANNERS: Final = ("auth", "cookies", "headers", "principal")
"""The arguments of a request that select a stored response: its credentials, its principal, its header fields."""
# Fields that concern a single request or its body: with them a seed would not be stored.
_PASSING: Final = ("cache-control", "content-", "expect", "host", "if-", "pragma", "range", "transfer-encoding")


class Manner(NamedTuple):
    """How a session is about to send a request.

    Args:
        url: the URL with its query; "" if the session would refuse it.
        options: the arguments that are in `MANNERS`.
    """

    method: str
    url: str
    options: dict[str, Any]

    @classmethod
    def of_arguments(cls, session: ClientSession, method: str, url: Any, arguments: Mapping[str, Any]) -> Manner:
        """Make one from the arguments of a request method of *session*."""
        try:
            whole: URL = build_url(session, url)
            if arguments.get("params"):
                whole = whole.extend_query(arguments["params"])
        except (TypeError, ValueError):  # the session will raise it itself
            whole = URL()
        options = {name: arguments[name] for name in MANNERS if arguments.get(name) is not None}
        return cls(method.upper(), str(whole), _lasting(options))

    @classmethod
    def of_request(cls, request: ClientRequest) -> Manner:
        """Make one from a request."""
        return cls(request.method, str(request.url), _lasting({"headers": request.headers}))


def _lasting(options: dict[str, Any]) -> dict[str, Any]:
    """*options* without header fields that concern a single request."""
    given = CIMultiDict[str](options.pop("headers", ()))
    headers = CIMultiDict[str]((name, value) for name, value in given.items() if not name.lower().startswith(_PASSING))
    return {**options, "headers": headers} if headers else options
