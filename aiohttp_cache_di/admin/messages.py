"""What the page and its API are asked and answer, whatever the framework that carries it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Struct, field

__all__ = ["MAX_QUESTION_BYTES", "SAID_ALWAYS", "AdminError", "Ask", "Reply", "as_json"]

logger: logging.Logger = logging.getLogger(__name__)

MAX_QUESTION_BYTES: Final = 64 * 1024
"""How long the body of a request may be."""

SAID_ALWAYS: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex",
}
NOTHING: Final = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


class Ask(Struct):
    """A request, as an adapter hands it on.

    Args:
        method: upper case.
        headers: names in lower case; several lines of one name stay apart.
        query: what the URL asks for, decoded.
        cookies: those that came along.
        peers: whom the connection is from, as the server and as the framework see it; None for what has no address.
        is_https: whether the browser is known to have come by TLS.
        read: reads the body up to a length, and tells of a longer one by as much as one byte more.
        version: of HTTP.
    """

    method: str
    headers: Sequence[tuple[str, str]]
    query: Sequence[tuple[str, str]]
    cookies: Mapping[str, str]
    peers: tuple[str | None, ...]
    is_https: bool
    read: Callable[[int], Awaitable[bytes]]
    version: str = "1.1"

    def values(self, name: str) -> list[str]:
        """The lines of the header field *name*, which is in lower case."""
        return [value for each, value in self.headers if each == name]

    def value(self, name: str) -> str:
        """The header field *name*, in lower case; "" for none."""
        found = self.values(name)
        return ", ".join(found)


class Reply(Struct, frozen=True):
    """A response, as an adapter sends it."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


class AdminError(Exception):
    """What is asked for is refused, or cannot be had.

    Args:
        status: of the response.
        code: what scripts tell cases apart by.
        message: for people.
        headers: of the response.
    """

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers: dict[str, str] = dict(headers or {})

    def reply(self) -> Reply:
        """The same, as JSON."""
        told = {"error": {"status": self.status, "code": self.code, "message": self.message}}
        return as_json(told, self.status, self.headers)


def as_json(told: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """*told* as JSON, which no browser shows as anything else and none keeps."""
    own = {"Content-Type": "application/json; charset=utf-8", "Content-Security-Policy": NOTHING}
    return Reply(status, msgspec.json.encode(told), {**SAID_ALWAYS, **own, **(headers or {})})
