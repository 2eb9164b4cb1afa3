"""A request as it leaves the app, for a test to look at; and what tests raise about one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from aiohttp import ClientRequest
from multidict import CIMultiDict
from yarl import URL

__all__ = ["AskedFor", "NetworkBlockedError", "UnexpectedRequestError", "UnrecordedRequestError", "asked_for"]


class UnexpectedRequestError(AssertionError):
    """The app has asked for what no route of the fake upstream answers; the message names the nearest one."""


class UnrecordedRequestError(AssertionError):
    """The app has asked for what is not recorded; the message names the nearest recording and what differs."""


class NetworkBlockedError(RuntimeError):
    """Something was about to connect to another machine, or to ask for its address."""


@dataclass(frozen=True, slots=True)
class AskedFor:
    """A request as it left the app.

    Args:
        url: with its query, as the app asked for it.
        headers: as they were sent, credentials among them.
        body: as it was sent; empty where there was none.
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
    """What *request* asks for; its body, of whatever kind, can still be sent after that."""
    payload = request.body
    body = payload if isinstance(payload, bytes) else await payload.as_bytes()
    if not isinstance(payload, bytes) and payload.consumed:
        await request.update_body(body)
    return AskedFor(request.method, request.url, CIMultiDict(request.headers), body)
