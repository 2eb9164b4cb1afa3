"""A request as the app sent it, for tests to inspect; and the errors about requests."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from aiohttp import ClientRequest
from multidict import CIMultiDict
from yarl import URL

__all__ = ["AskedFor", "NetworkBlockedError", "UnexpectedRequestError", "UnrecordedRequestError", "asked_for"]


class UnexpectedRequestError(AssertionError):
    """No route of the fake upstream answers a request of the app; the message names the nearest route."""


class UnrecordedRequestError(AssertionError):
    """A request of the app is not recorded; the message names the nearest recording and how it differs."""


class NetworkBlockedError(RuntimeError):
    """A connection to another machine, or a look-up of its address, was refused."""


@dataclass(frozen=True, slots=True)
class AskedFor:
    """A request as the app sent it.

    Args:
        url: the URL with its query.
        headers: all header fields, including credentials.
        body: the body; empty if there was none.
    """

    method: str
    url: URL
    headers: CIMultiDict[str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body, parsed as JSON."""
        return json.loads(self.body)

    def __str__(self) -> str:
        return f"{self.method} {self.url}"


async def asked_for(request: ClientRequest) -> AskedFor:
    """Copy *request*, whose body can still be sent afterwards."""
    payload = request.body
    body = payload if isinstance(payload, bytes) else await payload.as_bytes()
    if not isinstance(payload, bytes) and payload.consumed:
        await request.update_body(body)
    return AskedFor(request.method, request.url, CIMultiDict(request.headers), body)
