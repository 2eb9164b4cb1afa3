"""Read recordings of other tools: VCR cassettes (version 1, in YAML or JSON) and HAR files. Neither is written."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias

from aiohttp_cache_di.testing.codings import decoded
from aiohttp_cache_di.testing.recording.bodies import as_array, as_object, encoded, listed
from aiohttp_cache_di.testing.recording.comparing.meanings import form_of, parts_body
from aiohttp_cache_di.testing.recording.exchanges import Answered, Asked, Exchange, Fields, value_of

__all__ = ["Attached", "from_har", "from_vcr"]

Attached: TypeAlias = Callable[[str], bytes]
"""Reads a body from a file that a recording refers to by name."""


def from_vcr(interactions: Sequence[Mapping[str, Any]]) -> list[Exchange]:
    """The exchanges of a VCR cassette."""
    return [_from_interaction(one["request"], one["response"]) for one in interactions]


def _from_interaction(request: Mapping[str, Any], response: Mapping[str, Any]) -> Exchange:
    headers = _fields(request.get("headers"))
    sent = request.get("body")
    is_text = (as_object(sent) or {}).keys() in ({"encoding", "string"}, {"encoding", "base64_string"})  # Ruby
    body = _bytes(sent) if is_text else _data(sent)
    asked = Asked(str(request["method"]).upper(), str(request["uri"]), headers, body)
    status: Any = response.get("status") or {}  # older cassettes of httpx have status_code instead
    code = status["code"] if status else response["status_code"]
    content = response.get("body", response.get("content"))
    return Exchange(
        asked, _answered(int(code), str(status.get("message") or ""), _fields(response.get("headers")), _bytes(content))
    )


def _bytes(content: Any) -> bytes:
    if not content:
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
    return _data(content)


def _data(content: Any) -> bytes:
    """The bytes of *content*: text and bytes unchanged, a list of chunks joined, and anything else as JSON.

    A cassette may have the argument that was given to the client, or a body that its serializer has parsed.
    """
    if content is None or isinstance(content, str | bytes):
        return _bytes(content)
    pieces = as_array(content)
    if pieces is not None and all(isinstance(piece, bytes) for piece in pieces):  # the chunks of an iterator
        return b"".join(pieces)
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"), default=_text).encode()


def _fields(headers: Any) -> Fields:
    by_name = as_object(headers)
    pairs: Iterable[Any] = (headers or ()) if by_name is None else by_name.items()
    return tuple(
        (str(name), _text(value)) for name, values in pairs for several in listed(values) for value in listed(several)
    )


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def from_har(entries: Sequence[Mapping[str, Any]], attached: Attached) -> list[Exchange]:
    """The exchanges of a HAR file (version 1.2), except those that a browser has blocked (status 0 or below).

    Playwright may put bodies into separate files, which *attached* reads.
    """
    return [_from_entry(entry, attached) for entry in entries if int(entry["response"]["status"]) > 0]


def _from_entry(entry: Mapping[str, Any], attached: Attached) -> Exchange:
    request: dict[str, Any] = entry["request"]
    response: dict[str, Any] = entry["response"]
    posted: dict[str, Any] = request.get("postData") or {}
    sent = _typed(_har_fields(request["headers"]), posted)
    asked = Asked(str(request["method"]).upper(), str(request["url"]), sent, _posted(posted, sent, attached))
    content: dict[str, Any] = response.get("content") or {}
    got = _typed(_har_fields(response["headers"]), content)
    started = entry.get("startedDateTime")
    at = datetime.fromisoformat(started).timestamp() if isinstance(started, str) else None
    body = _har_body(content, got, attached)
    return Exchange(asked, _answered(int(response["status"]), str(response.get("statusText") or ""), got, body), at)


def _typed(headers: Fields, content: Mapping[str, Any]) -> Fields:
    """*headers*, with a Content-Type from the ``mimeType`` of *content* if they have none."""
    kind = content.get("mimeType")
    if value_of(headers, "content-type") or not isinstance(kind, str) or "/" not in kind:
        return headers
    return *headers, ("Content-Type", kind)


def _posted(posted: Mapping[str, Any], headers: Fields, attached: Attached) -> bytes:
    params: list[Mapping[str, Any]] = posted.get("params") or []
    if posted.get("text") or posted.get("_file") or not params:
        return _har_body(posted, headers, attached)
    fields = [(str(one["name"]), str(one.get("fileName") or ""), str(one.get("value") or "")) for one in params]
    if value_of(headers, "content-type").lower().startswith("multipart/"):
        return parts_body(fields)
    return form_of([(name, value) for name, _, value in fields])


def _har_body(content: Mapping[str, Any], headers: Fields, attached: Attached) -> bytes:
    """The bytes of the body in *content*: from a separate file, base64, or text in the charset of *headers*."""
    if content.get("_file"):
        return attached(str(content["_file"]))
    text = str(content.get("text") or "")
    if content.get("encoding") == "base64":
        return base64.b64decode(text)
    return encoded(text, value_of(headers, "content-type"))


def _har_fields(headers: Sequence[Mapping[str, Any]]) -> Fields:
    return tuple(
        (str(one["name"]), value)
        for one in headers
        if not str(one["name"]).startswith(":")  # pseudo-headers of HTTP/2
        for value in str(one["value"]).split("\n")  # browsers join Set-Cookie fields with newlines
    )


def _answered(status: int, reason: str, headers: Fields, body: bytes) -> Answered:
    plain = decoded(body, value_of(headers, "content-encoding"))
    return Answered(status, reason, headers, body if plain is None else plain)
