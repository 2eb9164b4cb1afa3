"""Pickles as aiohttp-client-cache stores them, written byte by byte, so without that library and without pickle."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from yarl import URL

__all__ = ["Made", "older_date", "older_file", "older_pickle", "older_response", "pickled"]


@dataclass
class Made:
    """An object in a pickle: a call of the named callable, and a state."""

    name: str
    arguments: tuple[Any, ...] = ()
    state: Any = None
    items: dict[str, Any] = field(default_factory=dict[str, Any])


def pickled(value: Any) -> bytes:
    """A pickle of *value*, in protocol 4."""
    return b"\x80\x04" + written(value) + b"."


def written(value: Any) -> bytes:
    """The opcodes that leave *value* on the stack."""
    kinds = (type(None), bool, int, str, bytes, tuple, list, dict, Made)
    kind = next(kind for kind in kinds if isinstance(value, kind))
    return _WRITERS[kind](value)


def _text(text: str) -> bytes:
    data = text.encode("utf-8", "surrogatepass")
    return b"X" + len(data).to_bytes(4, "little") + data


def _made(made: Made) -> bytes:
    module, _, name = made.name.rpartition(".")
    done = _text(module) + _text(name) + b"\x93" + written(made.arguments) + b"R"
    done += _items(made.items) if made.items else b""
    return done if made.state is None else done + written(made.state) + b"b"


def _items(items: Mapping[str, Any]) -> bytes:
    return b"(" + b"".join(written(name) + written(value) for name, value in items.items()) + b"u"


_WRITERS: dict[type, Callable[[Any], bytes]] = {
    type(None): lambda _: b"N",
    bool: lambda value: b"\x88" if value else b"\x89",
    int: lambda value: b"J" + value.to_bytes(4, "little", signed=True),
    str: _text,
    bytes: lambda value: b"B" + len(value).to_bytes(4, "little") + value,
    tuple: lambda value: b"(" + b"".join(map(written, value)) + b"t",
    list: lambda value: b"](" + b"".join(map(written, value)) + b"e",
    dict: lambda value: b"}" + _items(value),
    Made: _made,
}


def older_date(at: datetime) -> Made:
    """A naive datetime in UTC, as `datetime` pickles itself."""
    at = at.astimezone(UTC)
    year = at.year.to_bytes(2, "big")
    packed = year + bytes([at.month, at.day, at.hour, at.minute, at.second]) + at.microsecond.to_bytes(3, "big")
    return Made("datetime.datetime", (packed,))


def older_response(
    url: str,
    *,
    body: bytes | None = b"body",
    headers: Sequence[tuple[str, str]] = (),
    request_headers: Sequence[tuple[str, str]] = (),
    history: tuple[Made, ...] = (),
    age_s: float = 10,
    left_s: float | None = 3600,
    **fields: Any,
) -> Made:
    """A response as that library pickles it; *fields* replace its attributes."""
    parsed, now = URL(url), datetime.now(UTC)
    parts = (parsed.scheme, parsed.raw_authority, parsed.raw_path, parsed.raw_query_string, "")
    address = Made("yarl.URL", (), (parts,))
    sent = [("Host", parsed.raw_authority), ("Accept", "*/*"), ("Accept-Encoding", "gzip, deflate"), *request_headers]
    length = [] if any(name == "Content-Length" for name, _ in headers) else [("Content-Length", str(len(body or b"")))]
    morsel = Made("http.cookies.Morsel", (), {"key": "a", "value": "b", "coded_value": "b"}, {"path": "/"})
    state = {
        "method": "GET",
        "reason": "OK",
        "status": 200,
        "url": address,
        "version": Made("aiohttp.http_writer.HttpVersion", (1, 1)),
        "_body": body,
        "_content": None,
        "_links": [("next", [("rel", "next"), ("url", "http://a/")])],
        "cookies": Made("http.cookies.SimpleCookie", (), None, {"a": morsel}),
        "created_at": older_date(now - timedelta(seconds=age_s)),
        "encoding": "utf-8",
        "expires": None if left_s is None else older_date(now + timedelta(seconds=left_s)),
        "raw_headers": _lines([*headers, *length]),
        "request_raw_headers": _lines(sent),
        "real_url": address,
        "history": history,
        "last_used": older_date(now),
    }
    return Made("aiohttp_client_cache.response.CachedResponse", (), state | fields)


def _lines(fields: Sequence[tuple[str, str]]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((name.encode(), value.encode()) for name, value in fields)


def older_pickle(url: str, **fields: Any) -> bytes:
    """The pickle that is stored for a response."""
    return pickled(older_response(url, **fields))


def older_file(path: Path, *values: bytes) -> Path:
    """Make a SQLite file as that library writes it, with *values* as the stored responses."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for table in ("responses", "redirects"):
            connection.execute(f"CREATE TABLE IF NOT EXISTS `{table}` (key PRIMARY KEY, value)")
        for value in values:
            count = connection.execute("SELECT count(*) FROM responses").fetchone()[0]
            connection.execute("INSERT INTO responses VALUES (?, ?)", (f"{count:064x}", value))
    return path
