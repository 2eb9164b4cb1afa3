"""What is taken out of a recording: credentials, by the rule of the package, and what is named."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import unquote_plus

from yarl import URL

from aiohttp_cache_di.keys import DEFAULT_CREDENTIAL_HEADERS, REDACTED, is_secret_param, redact_url
from aiohttp_cache_di.testing.recording.bodies import as_array, as_object, is_json, parsed_json, read_body
from aiohttp_cache_di.testing.recording.exchanges import Answered, Asked, Exchange, value_of

__all__ = ["Filters"]

_FORM: Final = "application/x-www-form-urlencoded"
_BOUNDARY: Final = re.compile(r"multipart/.*boundary=\"?([^\";,\s]+)", re.IGNORECASE)
# Of one client, one connection or one moment: nothing that a recording is about.
_UNWRITTEN: Final = frozenset(
    {
        "accept-encoding",
        "baggage",
        "connection",
        "content-length",
        "date",
        "host",
        "keep-alive",
        "sentry-trace",
        "traceparent",
        "tracestate",
        "transfer-encoding",
        "user-agent",
        "x-request-id",
    }
)
_FRAMING: Final = frozenset({"connection", "keep-alive", "transfer-encoding"})
_URLS: Final = frozenset({"content-location", "location", "referer"})
_CHALLENGES: Final = frozenset({"proxy-authenticate", "proxy-authentication-info", "www-authenticate"})
_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^\s]+\Z", re.IGNORECASE)
# A field of a form in parts, a file's left out, whose boundary is the one that is written.
_FIELD: Final = re.compile(
    rb'(?P<head>--boundary\r\n(?:[^\r\n]+\r\n)*?content-disposition: form-data; name="(?P<name>[^"\r\n]*)"\r\n'
    rb"(?:[^\r\n]+\r\n)*\r\n)(?P<value>.*?)(?=\r\n--boundary)",
    re.IGNORECASE | re.DOTALL,
)
_IN_LINK: Final = re.compile("<([^>]*)>")


@dataclass(frozen=True, slots=True)
class Filters:
    """Names whose values are not written; those that the package takes for credentials are not, either.

    Args:
        headers, query, json: names of header fields, of parameters in queries and forms, and of fields in JSON at any
            depth.
        unfiltered: names of any of these that are written, though they look like credentials.
    """

    headers: Collection[str] = ()
    query: Collection[str] = ()
    json: Collection[str] = ()
    unfiltered: Collection[str] = ()

    def exchange(self, exchange: Exchange) -> Exchange:
        """*exchange* as it may be written."""
        return replace(exchange, asked=self.asked(exchange.asked), answered=self._answered(exchange))

    def asked(self, asked: Asked) -> Asked:
        """*asked* as it may be written, without what has nothing to say."""
        content_type = value_of(asked.headers, "content-type")
        boundary, body = _BOUNDARY.match(content_type), asked.body
        headers = [field for field in asked.headers if field[0].lower() not in _UNWRITTEN]
        if boundary is not None:  # which is another one each time
            body = body.replace(boundary[1].encode(), b"boundary")
            content_type = content_type.replace(boundary[1], "boundary")
            headers = [(name, content_type if name.lower() == "content-type" else value) for name, value in headers]
        shown = tuple((name, self._request_field(name.lower(), value)) for name, value in headers)
        return Asked(asked.method, self.url(asked.url), shown, self._body(body, content_type))

    def url(self, url: str) -> str:
        """*url* as it may be written; a fragment, which is not sent, is left out."""
        parsed = URL(url, encoded=True)
        if parsed.raw_user is not None or parsed.raw_password is not None:
            parsed = parsed.with_user(None)
        base, found, query = str(parsed.with_fragment(None)).partition("?")
        return f"{redact_url(base)}{found}{self._pairs(query)}"

    # ---- inside

    def _answered(self, exchange: Exchange) -> Answered:
        answered = exchange.answered
        is_bare = exchange.asked.method == "HEAD" or answered.status in (204, 304)
        dropped = _FRAMING if is_bare else _FRAMING | {"content-length"}
        shown = tuple(
            (name, self._response_field(name.lower(), value))
            for name, value in answered.headers
            if name.lower() not in dropped
        )
        body = answered.body
        if not answered.is_coded:
            body = self._body(body, value_of(answered.headers, "content-type"))
        return replace(answered, headers=shown, body=body)

    def _request_field(self, name: str, value: str) -> str:
        if self._is_named(name, self.headers, name in DEFAULT_CREDENTIAL_HEADERS):
            return REDACTED
        return self.url(value) if name in _URLS else value

    def _response_field(self, name: str, value: str) -> str:
        if name == "set-cookie":
            pair, found, rest = value.partition(";")
            kept = pair.partition("=")[0]
            return value if kept.strip() in self.unfiltered else f"{kept}={REDACTED}{found}{rest}"
        if self._is_named(name, self.headers, is_secret_param(name) and name not in _CHALLENGES):
            return REDACTED
        if name == "link":
            return _IN_LINK.sub(lambda found: f"<{self.url(found[1])}>", value)
        return self.url(value) if name in _URLS else value

    def _is_named(self, name: str, named: Collection[str], by_rule: bool) -> bool:
        if any(name == one.lower() for one in self.unfiltered):
            return False
        return by_rule or any(name == one.lower() for one in named)

    def _pairs(self, query: str) -> str:
        return "&".join(map(self._pair, query.split("&"))) if query else ""

    def _pair(self, pair: str) -> str:
        name, found, _ = pair.partition("=")
        plain = unquote_plus(name)
        if not found or plain in self.unfiltered:
            return pair
        return f"{name}={REDACTED}" if plain in self.query else redact_url(f"?{pair}")[1:]

    def _body(self, body: bytes, content_type: str) -> bytes:
        if content_type.lower().startswith(_FORM):
            return self._pairs(body.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
        if content_type.lower().startswith("multipart/form-data"):
            return _FIELD.sub(self._part, body)
        found = _any_json(body) if body and is_json(content_type) else None
        if found is None:
            return body
        value, layout = found
        shown = self._json(value)
        return body if shown == value else read_body({"json": shown, "layout": layout})

    def _json(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._text(value)
        fields, items = as_object(value), as_array(value)
        if fields is not None:
            return {name: self._member(name, inner) for name, inner in fields.items()}
        return value if items is None else [self._json(inner) for inner in items]

    def _text(self, text: str) -> str:
        """A text, which may be a URL with a secret: the next page of a list, for one."""
        if not _URL.match(text):
            return text
        try:
            shown = self.url(text)
        except ValueError:
            return text
        return shown if REDACTED in shown or "@" in text.partition("//")[2].partition("/")[0] else text

    def _part(self, part: re.Match[bytes]) -> bytes:
        name = part["name"].decode("utf-8", "surrogateescape")
        if name in self.unfiltered or not (name in self.query or is_secret_param(name)):
            return part[0]
        return part["head"] + REDACTED.encode()

    def _member(self, name: str, value: Any) -> Any:
        if name in self.json and name not in self.unfiltered:
            return REDACTED
        is_secret = isinstance(value, str) and value and name not in self.unfiltered and is_secret_param(name)
        return REDACTED if is_secret else self._json(value)


def _any_json(body: bytes) -> tuple[Any, str] | None:
    """*body* parsed, and the layout in which it is written if it is changed."""
    found = parsed_json(body)
    if found is not None:
        return found[0], found[1].name
    try:
        return json.loads(body), "compact"
    except (ValueError, RecursionError):
        return None
