"""Find the secrets of a request in its response: in an echo, an error message, or the URL of the next page."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Final
from urllib.parse import quote, quote_plus, unquote, unquote_plus

from yarl import URL

from aiohttp_cache_di.keys import REDACTED, is_secret_param
from aiohttp_cache_di.testing.recording.exchanges import Asked

__all__ = ["echoes_of"]

# Shorter texts, and numbers, may occur in a response by chance.
_SHORTEST: Final = 6
_SHORTEST_COOKIE: Final = 16  # for cookies whose names do not look secret: many are settings
_NUMBER: Final = re.compile(r"[-+.\d]+\Z")


def echoes_of(sent: Asked, shown: Asked) -> re.Pattern[str] | None:
    """A pattern that matches the secrets of a request in any text; None if the request has none.

    Args:
        sent: the request as it was sent.
        shown: the same request as it is written, without its secrets.
    """
    found = set(_of_url(sent.url, shown.url))
    written = dict(shown.headers)
    for name, value in sent.headers:
        if written.get(name) == REDACTED:
            found.update(_of_field(name.lower(), value))
    with suppress(UnicodeDecodeError):
        found.update(_taken_out(sent.body.decode(), shown.body.decode()))
    spelled = {form for secret in found if _is_telling(secret) for form in _forms(secret)}
    if not spelled:
        return None
    longest_first = sorted(spelled, key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)")


def _is_telling(secret: str) -> bool:
    return len(secret) >= _SHORTEST and not _NUMBER.match(secret) and secret != REDACTED


def _of_url(sent: str, shown: str) -> Iterator[str]:
    user = URL(sent, encoded=True)
    yield user.password or user.user or ""
    for secret in _taken_out(sent.partition("?")[2], shown.partition("?")[2]):
        yield unquote_plus(secret)


def _of_field(name: str, value: str) -> Iterator[str]:
    if name == "cookie":
        for pair in value.split(";"):
            cookie, _, secret = pair.strip().partition("=")
            if len(secret) >= _SHORTEST_COOKIE or is_secret_param(cookie):
                yield secret
        return
    yield value
    scheme, found, credentials = value.partition(" ")
    if not found or "=" in credentials.rstrip("="):  # parameters, as in Digest, which are used only once
        return
    yield credentials
    if scheme.lower() == "basic":
        with suppress(ValueError):
            user, _, password = base64.b64decode(credentials).decode().partition(":")
            yield password or user


def _taken_out(sent: str, shown: str) -> Iterator[str]:
    """The parts of *sent* that *shown* has replaced by `REDACTED`; stops where the texts around them differ."""
    first, *rest = shown.split(REDACTED)
    if not sent.startswith(first):
        return
    place = len(first)
    for number, piece in enumerate(rest, start=1):
        is_last = number == len(rest)
        end = (len(sent) if sent.endswith(piece) else -1) - len(piece) if is_last else sent.find(piece, place + 1)
        if end < place or (not piece and not is_last):
            return
        secret = sent[place:end]
        yield secret
        yield from _unescaped(secret)
        place = end + len(piece)


def _unescaped(secret: str) -> Iterator[str]:
    if "\\" in secret:
        with suppress(ValueError):
            yield json.loads(f'"{secret}"')
    if "%" in secret or "+" in secret:
        yield unquote_plus(secret)


def _forms(secret: str) -> Iterator[str]:
    """The forms of *secret* in text: as it is, encoded or decoded for URLs, and escaped for JSON."""
    yield secret
    yield quote(secret, safe="")
    yield quote_plus(secret)
    yield unquote(secret)
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
