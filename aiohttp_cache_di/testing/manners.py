"""How an app asks: what a request has besides its URL that makes it another one for the cache."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from aiohttp import ClientRequest, ClientSession
from multidict import CIMultiDict
from yarl import URL

from aiohttp_cache_di._aiohttp import build_url

__all__ = ["MANNERS", "Manner"]

MANNERS: Final = ("auth", "cookies", "headers", "principal")
"""Arguments of a request that say for whom it is, and in which form the answer is wanted."""
# Of one moment or one body: they would keep a seed from being stored.
_PASSING: Final = ("cache-control", "content-", "expect", "host", "if-", "pragma", "range", "transfer-encoding")


class Manner(NamedTuple):
    """A request that a session is about to send.

    Args:
        url: with its query, as far as it can be told.
        options: the arguments that are `MANNERS`.
    """

    method: str
    url: str
    options: dict[str, Any]

    @classmethod
    def of_arguments(cls, session: ClientSession, method: str, url: Any, arguments: Mapping[str, Any]) -> Manner:
        """Of the arguments of *session*'s method."""
        try:
            whole: URL = build_url(session, url)
            if arguments.get("params"):
                whole = whole.extend_query(arguments["params"])
        except (TypeError, ValueError):  # which the session is going to say
            whole = URL()
        options = {name: arguments[name] for name in MANNERS if arguments.get(name) is not None}
        return cls(method.upper(), str(whole), _lasting(options))

    @classmethod
    def of_request(cls, request: ClientRequest) -> Manner:
        """Of a request that is made already."""
        return cls(request.method, str(request.url), _lasting({"headers": request.headers}))


def _lasting(options: dict[str, Any]) -> dict[str, Any]:
    """*options* without header fields that are of one moment."""
    given = CIMultiDict[str](options.pop("headers", ()))
    headers = CIMultiDict[str]((name, value) for name, value in given.items() if not name.lower().startswith(_PASSING))
    return {**options, "headers": headers} if headers else options
