"""Head and body of an entry as text: inert, short, and without secrets."""

from __future__ import annotations

import gzip
import time
from typing import Any

import pytest
from msgspec.structs import replace

from aiohttp_cache_di.admin.preview import PREVIEW_BYTES, Preview, head_of, preview_of, shown, without_secrets
from aiohttp_cache_di.rfc9111.messages import StoredResponse
from tests.backends.entries import make_entry


def entry(body: bytes = b"", *lines: tuple[bytes, bytes]) -> StoredResponse:
    return replace(make_entry("k", body), raw_headers=lines)


async def preview(body: bytes, content_type: str = "text/plain") -> Preview:
    return await preview_of(entry(body), content_type)


async def test_text_is_text_and_what_hides_is_shown() -> None:
    text = "<script>alert(1)</script>\r\n\x1b[31mred\u202eright\0".replace("\0", "")
    told = await preview(text.encode())
    assert told == Preview("text", "<script>alert(1)</script>\n\\u001b[31mred\\u202eright", len(text.encode()))


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        ("grün".encode("latin-1"), "text/plain; charset=ISO-8859-1", "grün"),
        ("grün".encode(), "application/octet-stream", "grün"),
        ("grün".encode("utf-16"), "text/plain; charset=utf-16", "grün"),
        ("grün".encode("latin-1"), "text/plain", "gr\N{REPLACEMENT CHARACTER}n"),
        (b"+ADw-script", "text/html; charset=utf-7", "+ADw-script"),  # which browsers do not know either
        (b"abc", "text/plain; charset=zlib_codec", "abc"),
        (b"abc", "text/plain; charset=rot13", "abc"),
    ],
)
async def test_text_is_read_by_its_charset(body: bytes, content_type: str, expected: str) -> None:
    assert (await preview(body, content_type)).text == expected


@pytest.mark.parametrize("body", [gzip.compress(b"x" * 100), bytes(range(256)) * 200, b"\xff\xfe\xfd", b"\0"])
async def test_what_is_no_text_is_a_dump(body: bytes) -> None:
    told = await preview(body, "application/octet-stream")
    assert told.kind == "hex"
    assert told.text.startswith(f"00000000  {body[0]:02x}")
    assert told.of_bytes <= 1024


async def test_of_a_huge_body_the_beginning_is_shown_and_quickly() -> None:
    body = b'{"a": "' + "ä".encode() * (16 * 1024 * 1024) + b'"}'
    begun = time.process_time()
    told = await preview(body, "application/json")
    assert time.process_time() - begun < 2
    assert (told.kind, told.is_whole, told.of_bytes) == ("text", False, PREVIEW_BYTES)
    assert len(told.text) <= PREVIEW_BYTES
    assert (await preview(b"")).kind == "empty"


HOSTILE = [
    b'"' * 20_000,
    b'"a":' * 5_000,
    b"<a" * 9_000,
    b"a=" * 9_000,
    b"//" * 9_000,
    b'"key":"\\' * 3000,
    b"Bearer " * 3000,
]


@pytest.mark.parametrize("body", HOSTILE, ids=lambda body: body[:8].decode())
async def test_no_body_takes_long_to_be_looked_through(body: bytes) -> None:
    begun = time.process_time()
    await preview(body, "application/json")
    assert time.process_time() - begun < 2


SECRET = "hunter2-hunter2"


@pytest.mark.parametrize(
    "text",
    [
        f'{{"access_token": "{SECRET}", "expires_in": 3600}}',
        f"{{'clientSecret':'{SECRET}'}}",
        f'{{"password": "a\\"{SECRET}"}}',
        f'{{"api_key": "{SECRET}',  # where the preview ends
        f"<login><password>{SECRET}</password></login>",
        f'<a href="https://x.test/cb?token={SECRET}&page=2">',
        f"https://user:{SECRET}@x.test/",
        f'<input name="q"> sessionid="{SECRET}"',
        f"curl -H 'Authorization: Bearer {SECRET}'",
    ],
)
def test_what_is_called_like_a_secret_is_taken_out(text: str) -> None:
    told, is_redacted = without_secrets(text)
    assert SECRET not in told
    assert is_redacted


@pytest.mark.parametrize("text", ['{"name": "x", "author": "y"}', "page=2&sort=name", "<title>x</title>", "a // b @ c"])
def test_what_is_no_secret_stays(text: str) -> None:
    assert without_secrets(text) == (text, False)


@pytest.mark.parametrize(
    "name",
    ["Set-Cookie", "Authorization", "WWW-Authenticate", "Proxy-Authenticate", "X-Api-Key", "X-Auth-Token", "X-User-Id"],
)
def test_header_fields_that_give_access_are_not_shown(name: str) -> None:
    (line,) = head_of(entry(b"", (name.encode(), SECRET.encode())))
    assert (line.name, line.value) == (name, None)


def test_other_header_fields_are_shown_as_they_are_less_what_hides() -> None:
    lines = [
        (b"Content-Type", b"text/html"),
        (b"Surrogate-Key", b"a b"),
        (b"X-Odd", b"<b>\x1b\xff</b>"),
        (b"Link", f"<https://x.test/?token={SECRET}>; rel=next".encode()),
    ]
    found: dict[str, Any] = {line.name: line.value for line in head_of(entry(b"", *lines))}
    assert found["Content-Type"] == "text/html"
    assert found["Surrogate-Key"] == "a b"
    assert found["X-Odd"] == "<b>\\u001b\N{REPLACEMENT CHARACTER}</b>"
    assert SECRET not in found["Link"]
    assert "rel=next" in found["Link"]


def test_very_many_and_very_long_lines_are_cut() -> None:
    lines = head_of(entry(b"", *[(b"X-Long", b"x" * 100_000)] * 2_000))
    assert len(lines) == 500
    assert all(len(line.value or "") < 5_000 for line in lines)


def test_a_line_has_no_end_within_it() -> None:
    assert shown("a\nb\u202ec\u2028d") == "a\\u000ab\\u202ec\\u2028d"
