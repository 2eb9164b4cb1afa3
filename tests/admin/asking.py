"""Requests to the page, without a framework."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from aiohttp_cache_di import CachedSession
from aiohttp_cache_di.admin import Admin, AdminRequest, Name, Reply
from aiohttp_cache_di.admin.access import COOKIE, TOKEN_HEADER

__all__ = ["TOKEN", "ask", "ask_json", "change", "told"]

TOKEN = "t" * 43
LOCAL = (("host", "localhost:8080"),)


def ask(
    method: str = "GET",
    *,
    headers: Iterable[tuple[str, str]] = LOCAL,
    query: Mapping[str, str] | None = None,
    cookies: Mapping[str, str] | None = None,
    peers: tuple[str | None, ...] = ("127.0.0.1",),
    body: bytes = b"",
    is_https: bool = False,
    version: str = "1.1",
) -> AdminRequest:
    async def read(limit: int) -> bytes:
        return body[: limit + 1]

    return AdminRequest(
        method, list(headers), list((query or {}).items()), cookies or {}, peers, is_https, read, version
    )


def change(
    body: object = None, *, more: Iterable[tuple[str, str]] = (), cookie: str = TOKEN, token: str = TOKEN
) -> AdminRequest:
    """A request that may change something, as the page makes it."""
    own = (("content-type", "application/json"), (TOKEN_HEADER.lower(), token))
    data = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
    return ask("POST", headers=(*LOCAL, *own, *more), cookies={COOKIE: cookie}, body=data)


def told(reply: Reply) -> Any:
    assert reply.headers["Content-Type"] == "application/json; charset=utf-8"
    assert reply.headers["Cache-Control"] == "no-store"
    return json.loads(reply.body)


async def ask_json(
    admin: Admin, session: CachedSession, name: Name, asked: AdminRequest | None = None, **query: str
) -> Any:
    """What is answered, which has to be a success."""
    reply = await admin.answer(name, asked or ask(query=query), [("cached_session", session)], "0")
    assert reply.status == 200, reply.body
    return told(reply)
