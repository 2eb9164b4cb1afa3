"""Recordings of other tools: VCR cassettes of version 1, in YAML or JSON, and HAR files; both are only read."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from aiohttp_cache_di.testing.codings import decoded
from aiohttp_cache_di.testing.recording.bodies import as_array, as_object
from aiohttp_cache_di.testing.recording.exchanges import Answered, Asked, Exchange, Fields, value_of

__all__ = ["from_har", "from_vcr", "listed"]


def from_vcr(interactions: Sequence[Mapping[str, Any]]) -> list[Exchange]:
    """The exchanges of a VCR cassette."""
    return [_from_interaction(one["request"], one["response"]) for one in interactions]


def _from_interaction(request: Mapping[str, Any], response: Mapping[str, Any]) -> Exchange:
    headers = _fields(request.get("headers"))
    asked = Asked(str(request["method"]).upper(), str(request["uri"]), headers, _bytes(request.get("body")))
    status: Any = response.get("status") or {}  # in httpx's cassettes of old, it is elsewhere
    code = status["code"] if status else response["status_code"]
    content = response.get("body", response.get("content"))
    return Exchange(
        asked, _answered(int(code), str(status.get("message") or ""), _fields(response.get("headers")), _bytes(content))
    )


def _bytes(content: Any) -> bytes:
    if content is None:
        return b""
    if isinstance(content, bytes):
        return content
    if isinstance(content, str):
        return content.encode()
    parts = as_object(content)
    if parts is not None and "string" in parts:
        return _bytes(parts["string"])
    if parts is not None and parts.keys() & {"base64_string", "base64"}:
        return base64.b64decode(parts.get("base64_string") or parts["base64"])
    # Of a serializer that shows JSON as it is.
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def _fields(headers: Any) -> Fields:
    by_name = as_object(headers)
    pairs: Iterable[Any] = (headers or ()) if by_name is None else by_name.items()
    return tuple((str(name), _text(value)) for name, values in pairs for value in listed(values))


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def listed(values: Any) -> list[Any]:
    """*values* if they are a list, and a list of the one that they are otherwise."""
    several = as_array(values)
    return [values] if several is None else several


def from_har(entries: Sequence[Mapping[str, Any]]) -> list[Exchange]:
    """The exchanges of a HAR file (version 1.2), but for those that a browser has blocked."""
    return [_from_entry(entry) for entry in entries if entry["response"]["status"]]


def _from_entry(entry: Mapping[str, Any]) -> Exchange:
    request: dict[str, Any] = entry["request"]
    response: dict[str, Any] = entry["response"]
    sent: dict[str, Any] = request.get("postData") or {}
    posted: str = sent.get("text") or ""
    asked = Asked(str(request["method"]).upper(), str(request["url"]), _har_fields(request["headers"]), posted.encode())
    content: dict[str, Any] = response.get("content") or {}
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
