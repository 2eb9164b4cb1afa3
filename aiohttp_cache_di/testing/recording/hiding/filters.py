"""Redact recordings: credentials, which the rules of `keys` recognise, and the values of listed names."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final
from urllib.parse import quote_plus, unquote_plus

from yarl import URL

from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.keys import DEFAULT_CREDENTIAL_HEADERS, REDACTED, is_secret_param, redact_url
from aiohttp_cache_di.keys.names import HARMLESS_FIELDS, is_authorization_code
from aiohttp_cache_di.keys.redaction import NAMING_FIELDS
from aiohttp_cache_di.testing.recording.bodies import as_array, as_object, parsed_json, read_body
from aiohttp_cache_di.testing.recording.comparing.meanings import boundary_of, kind_of, parsed
from aiohttp_cache_di.testing.recording.exchanges import Answered, Asked, Exchange, value_of
from aiohttp_cache_di.testing.recording.hiding import secrets
from aiohttp_cache_di.testing.recording.hiding.echoes import echoes_of

__all__ = ["Filters"]

# Fields that depend on the client, the connection or the time; they are not recorded.
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
_URLS: Final = frozenset(name.decode() for name in NAMING_FIELDS)
_CHALLENGES: Final = frozenset({"proxy-authenticate", "proxy-authentication-info", "www-authenticate"})
_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^\s]+\Z", re.IGNORECASE)
_IN_LINK: Final = re.compile(r"(?<=<)[^>]*(?=>)")
_IN_REFRESH: Final = re.compile(r"(?<=url=)[^\s\"']*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Filters:
    """What is redacted: the values of the names listed here, and everything that looks like a credential.

    Args:
        headers, query, json: names of header fields, of parameters in queries and forms, and of fields in JSON and
            elements in XML at any depth.
        unfiltered: names of any of these whose values are written, though they look like credentials.
        texts: functions that change each URL, each value of a header field and each text body, after the redaction.
    """

    headers: Collection[str] = ()
    query: Collection[str] = ()
    json: Collection[str] = ()
    unfiltered: Collection[str] = ()
    texts: Collection[Callable[[str], str]] = ()
    _echoes: re.Pattern[str] | None = field(default=None, repr=False, kw_only=True)

    def exchange(self, exchange: Exchange) -> Exchange:
        """*exchange*, redacted; secrets of the request are also removed from the response."""
        asked = self.asked(exchange.asked)
        echoes = echoes_of(exchange.asked, asked)
        answering = self if echoes is None else replace(self, _echoes=echoes)
        return replace(exchange, asked=asked, answered=answering._answered(exchange))

    def asked(self, asked: Asked) -> Asked:
        """*asked*, redacted, without header fields that are not recorded."""
        content_type = value_of(asked.headers, "content-type")
        boundary, body = boundary_of(asked.body, content_type), asked.body
        headers = [field for field in asked.headers if field[0].lower() not in _UNWRITTEN]
        if boundary is not None:  # it differs in each request
            body = body.replace(boundary.encode(), b"boundary")
            content_type = content_type.replace(boundary, "boundary")
            headers = [(name, content_type if name.lower() == "content-type" else value) for name, value in headers]
        shown = tuple((name, self._last(self._request_field(name.lower(), value))) for name, value in headers)
        return Asked(asked.method, self._last(self.url(asked.url)), shown, self._body(body, content_type))

    def url(self, url: str) -> str:
        """*url*, redacted, without its user and without its fragment, which is not sent."""
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
            (name, self._last(self._response_field(name.lower(), value)))
            for name, value in answered.headers
            if name.lower() not in dropped
        )
        body = answered.body
        if not answered.is_coded:
            body = self._body(body, value_of(answered.headers, "content-type"))
        return replace(answered, headers=shown, body=body)

    def _without_echoes(self, text: str) -> str:
        return text if self._echoes is None else self._echoes.sub(REDACTED, text)

    def _last(self, text: str) -> str:
        for change in self.texts:
            text = change(text)
            if not isinstance(text, str):
                raise ConfigurationError(f"filter={change!r} returned {text!r}; a filter takes text and returns text")
        return text

    # ---- header fields

    def _request_field(self, name: str, value: str) -> str:
        if self._is_named(name, self.headers, name in DEFAULT_CREDENTIAL_HEADERS):
            return REDACTED
        return self._urls_in(name, value) if name in _URLS else value

    def _response_field(self, name: str, value: str) -> str:
        if name == "set-cookie":
            pair, found, rest = value.partition(";")
            kept = pair.partition("=")[0]
            return value if kept.strip() in self.unfiltered else f"{kept}={REDACTED}{found}{rest}"
        by_rule = is_secret_param(name) and name not in _CHALLENGES and name not in HARMLESS_FIELDS
        if self._is_named(name, self.headers, by_rule):
            return REDACTED
        return self._without_echoes(self._urls_in(name, value) if name in _URLS else value)

    def _is_named(self, name: str, named: Collection[str], by_rule: bool) -> bool:
        if any(name == one.lower() for one in self.unfiltered):
            return False
        return by_rule or any(name == one.lower() for one in named)

    def _urls_in(self, name: str, value: str) -> str:
        where = {"link": _IN_LINK, "refresh": _IN_REFRESH}.get(name)
        try:
            return self.url(value) if where is None else where.sub(lambda found: self.url(found[0]), value)
        except ValueError:  # not a URL, so its secrets cannot be located
            return REDACTED

    # ---- queries and forms

    def _pairs(self, query: str) -> str:
        names = {unquote_plus(pair.partition("=")[0]) for pair in query.split("&")}
        return "&".join(self._pair(pair, names) for pair in query.split("&")) if query else ""

    def _pair(self, pair: str, names: Collection[str]) -> str:
        name, found, value = pair.partition("=")
        plain = unquote_plus(name)
        if not found or plain in self.unfiltered:
            return pair
        plain_value = unquote_plus(value)
        if plain in self.query or is_authorization_code(plain, names, plain_value):
            return f"{name}={REDACTED}"
        shown = redact_url(f"?{pair}")[1:]
        if shown != pair or not value:
            return shown
        text = self._text(plain_value)
        return pair if text == plain_value else f"{name}={quote_plus(text)}"

    # ---- bodies

    def _body(self, body: bytes, content_type: str) -> bytes:
        kind = kind_of(body, content_type)
        if kind == "json":
            body = self._json_body(body)
        elif kind == "form":
            body = self._pairs(body.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
        elif kind == "parts":
            body = secrets.in_parts(body, boundary_of(body, content_type) or "", self._field)
        try:
            text = body.decode()
        except UnicodeDecodeError:
            return body
        if kind == "xml":
            text = secrets.in_xml(text, self._is_secret)
        if kind in ("xml", "text"):
            text = self._without_echoes(secrets.in_text(text, self._is_secret))
        return self._last(text).encode()

    def _is_secret(self, name: str) -> bool:
        return name not in self.unfiltered and (name in self.json or is_secret_param(name))

    def _field(self, name: str, value: str) -> str:
        """The value of a field of a multipart form, redacted."""
        if name in self.unfiltered:
            return value
        return REDACTED if name in self.query or self._is_secret(name) else self._text(value)

    def _json_body(self, body: bytes) -> bytes:
        found = parsed_json(body)
        value, layout = (found[0], found[1].name) if found is not None else ((parsed(body) or (None,))[0], "compact")
        shown = self._json(value)
        return body if shown == value else read_body({"json": shown, "layout": layout})

    def _json(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._text(value)
        fields, items = as_object(value), as_array(value)
        if fields is not None:
            told = secrets.name_of_value(fields)
            judge = partial(self._member, beside=fields.keys(), told=told)
            return {name: judge(name, inner) for name, inner in fields.items()}
        return value if items is None else [self._json(inner) for inner in items]

    def _member(self, name: str, value: Any, *, beside: Collection[str], told: str) -> Any:
        if name in self.unfiltered:
            return self._json(value)
        if name in self.json:
            return REDACTED
        is_secret = is_secret_param(name) or is_authorization_code(name, beside)
        if is_secret or (name == "value" and told and self._is_secret(told)):
            return self._without_texts(value)
        return self._json(value)

    def _without_texts(self, value: Any) -> Any:
        """*value* of a secret's name, with texts redacted, also in lists; numbers stay, as they are counts or sizes."""
        items = as_array(value)
        if items is not None:
            return [self._without_texts(item) for item in items]
        return (REDACTED if value else value) if isinstance(value, str) else self._json(value)

    def _text(self, text: str) -> str:
        """*text*, a single value, redacted; it may be a URL (of the next page, say), JSON, GraphQL or a token."""
        text = self._without_echoes(text)
        if _URL.match(text):
            try:
                shown = self.url(text)
            except ValueError:
                return text
            return shown if REDACTED in shown or "@" in text.partition("//")[2].partition("/")[0] else text
        if text[:1] in "{[" and text and parsed(text.encode("utf-8", "surrogatepass")) is not None:
            return self._json_body(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")
        return secrets.in_text(text, self._is_secret)
