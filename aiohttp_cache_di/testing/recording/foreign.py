"""Recordings of other tools: VCR cassettes of version 1, in YAML or JSON, and HAR files; both are only read."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from aiohttp_cache_di.testing.recording.exchanges import Answered, Asked, Exchange, Fields, value_of

__all__ = ["decoded", "from_har", "from_vcr"]


def from_vcr(interactions: Sequence[Mapping[str, Any]]) -> list[Exchange]:
    """The exchanges of a VCR cassette."""
    return [_from_interaction(one["request"], one["response"]) for one in interactions]


def _from_interaction(request: Mapping[str, Any], response: Mapping[str, Any]) -> Exchange:
    asked = Asked(
        str(request["method"]).upper(),
        str(request["uri"]),
        _fields(request.get("headers")),
        _bytes(request.get("body")),
    )
    status = response.get("status")
    if isinstance(status, Mapping):
        code, reason = int(status["code"]), str(status.get("message") or "")
    else:  # as httpx's cassettes have it
        code, reason = int(response["status_code"]), ""
    headers = _fields(response.get("headers"))
    content = response.get("body", response.get("content"))
    return Exchange(asked, _answered(code, reason, headers, _bytes(content)))


def _bytes(content: Any) -> bytes:
    match content:
        case None:
            return b""
        case bytes():
            return content
        case str():
            return content.encode()
        case {"string": inner}:
            return _bytes(inner)
        case {"base64_string": str() as coded} | {"base64": str() as coded}:
            return base64.b64decode(coded)
        case dict() | list():  # of a serializer that shows JSON as it is
            return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
        case _:
            raise TypeError(f"no body: {content!r}")


def _fields(headers: Any) -> Fields:
    pairs = headers.items() if isinstance(headers, Mapping) else headers or ()
    return tuple(
        (str(name), value.decode("latin-1") if isinstance(value, bytes) else str(value))
        for name, values in pairs
        for value in (values if isinstance(values, list) else (values,))
    )


def from_har(entries: Sequence[Mapping[str, Any]]) -> list[Exchange]:
    """The exchanges of a HAR file (version 1.2), but for those that a browser has blocked."""
    return [_from_entry(entry) for entry in entries if entry["response"]["status"]]


def _from_entry(entry: Mapping[str, Any]) -> Exchange:
    request, response = entry["request"], entry["response"]
    posted = (request.get("postData") or {}).get("text") or ""
    asked = Asked(str(request["method"]).upper(), str(request["url"]), _har_fields(request["headers"]), posted.encode())
    content = response.get("content") or {}
    text: str = content.get("text") or ""
    body = base64.b64decode(text) if content.get("encoding") == "base64" else text.encode()
    headers = _har_fields(response["headers"])
    started = entry.get("startedDateTime")
    at = datetime.fromisoformat(started).timestamp() if isinstance(started, str) else None
    return Exchange(asked, _answered(int(response["status"]), str(response.get("statusText") or ""), headers, body), at)


def _har_fields(headers: Sequence[Mapping[str, Any]]) -> Fields:
    return tuple(
        (str(one["name"]), value)
        for one in headers
        if not str(one["name"]).startswith(":")  # of HTTP/2
        for value in str(one["value"]).split("\n")  # browsers join those of Set-Cookie so
    )


def _answered(status: int, reason: str, headers: Fields, body: bytes) -> Answered:
    plain = decoded(body, value_of(headers, "content-encoding"))
    return Answered(status, reason, headers, body if plain is None else plain)


def decoded(body: bytes, coding: str) -> bytes | None:
    """*body* out of its content *coding*; None where it is in none, in one unknown here, or decoded already."""
    windows = {"gzip": (31,), "x-gzip": (31,), "deflate": (15, -15)}.get(coding.strip().lower(), ())
    for window in windows:
        try:
            decoder = zlib.decompressobj(window)
            plain = decoder.decompress(body) + decoder.flush()
        except zlib.error:
            continue
        if decoder.eof:
            return plain
    return None
