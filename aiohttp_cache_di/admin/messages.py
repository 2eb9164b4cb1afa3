"""Requests to the admin page and responses from it, independent of the web framework."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Struct, field

__all__ = ["COMMON_HEADERS", "MAX_QUESTION_BYTES", "AdminError", "AdminRequest", "Reply", "as_json"]

MAX_QUESTION_BYTES: Final = 64 * 1024
"""The largest request body that is read."""

COMMON_HEADERS: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex",
}
JSON_POLICY: Final = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


class AdminRequest(Struct):
    """A request, as an adapter passes it on.

    Args:
        method: in upper case.
        headers: names in lower case; repeated fields are separate items.
        query: the decoded parameters of the URL.
        peers: the client's address, as the server and as the framework report it; None where there is no address.
        is_https: whether the browser is known to use TLS.
        read: reads the body; of a body longer than the given limit it returns at least one byte more than the limit.
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
        """All values of the header field *name* (lower case)."""
        return [value for each, value in self.headers if each == name]

    def value(self, name: str) -> str:
        """The value of the header field *name* (lower case), repeated fields joined by commas; "" if absent."""
        return ", ".join(self.values(name))


class Reply(Struct, frozen=True):
    """A response, as an adapter sends it."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


class AdminError(Exception):
    """A request is refused, or cannot be answered.

    Args:
        status: of the response.
        code: identifies the error for scripts.
        message: explains it to people.
        headers: of the response.
    """

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers: dict[str, str] = dict(headers or {})

    def reply(self) -> Reply:
        """The error as a JSON response."""
        told = {"error": {"status": self.status, "code": self.code, "message": self.message}}
        return as_json(told, self.status, self.headers)


def as_json(told: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """Make a JSON response, which browsers neither interpret as anything else nor store."""
    own = {"Content-Type": "application/json; charset=utf-8", "Content-Security-Policy": JSON_POLICY}
    return Reply(status, msgspec.json.encode(told), {**COMMON_HEADERS, **own, **(headers or {})})
