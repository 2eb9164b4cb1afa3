"""Secrets of a request that its upstream says again: in no recording, wherever they are in the response."""

from __future__ import annotations

import base64
import json

import pytest

from aiohttp_cache_di.testing.recording.exchanges import Answered, Asked, Exchange, Fields
from aiohttp_cache_di.testing.recording.hiding.filters import Filters
from aiohttp_cache_di.testing.recording.keeping.files import dumped

SECRET = 'tOp/"s3cr3t+%'
JSON = ("Content-Type", "application/json")
TEXT = ("Content-Type", "text/plain")
FORM = ("Content-Type", "application/x-www-form-urlencoded")


def sent(*headers: tuple[str, str], url: str = "https://a.example/", body: bytes = b"") -> Asked:
    return Asked("POST" if body else "GET", url, headers, body)


def written(asked: Asked, body: bytes, headers: Fields = (JSON,), filters: Filters | None = None) -> str:
    return dumped([(filters or Filters()).exchange(Exchange(asked, Answered(200, "OK", headers, body)))])


BASIC = base64.b64encode(f"me:{SECRET}".encode()).decode()


@pytest.mark.parametrize(
    "asked",
    [
        sent(("Authorization", SECRET)),
        sent(("Authorization", f"Bearer {SECRET}")),
        sent(("Authorization", f"Basic {BASIC}")),
        sent(("X-Api-Key", SECRET)),
        sent(("Cookie", f"lang=de; access_token={SECRET}")),
        sent(url="https://a.example/?q=1&api_key=tOp%2F%22s3cr3t%2B%25&page=2"),
        sent(url="https://me:tOp%2F%22s3cr3t%2B%25@a.example/"),
        sent(FORM, body=b"a=1&password=tOp%2F%22s3cr3t%2B%25"),
        sent(JSON, body=json.dumps({"a": 1, "password": SECRET, "b": {"token": "x"}}).encode()),
    ],
)
def test_a_secret_of_the_request_is_in_no_part_of_the_response(asked: Asked) -> None:
    within = json.dumps({"told": SECRET})
    answered = {
        "message": f"no such user: {SECRET}.",
        "nested": [{"at": f"see ({SECRET})"}, within],
        "next": "https://a.example/p?t=tOp%2F%22s3cr3t%2B%25",
    }
    text = written(asked, json.dumps(answered).encode(), (JSON, ("X-Said", f"<{SECRET}>")))
    text += written(asked, f"<p>{SECRET}</p>".encode(), (TEXT,))

    assert "s3cr3t" not in text
    assert "message: 'no such user: REDACTED.'" in text
    assert "see (REDACTED)" in text
    assert "<p>REDACTED</p>" in text
    assert "<REDACTED>" in text


def test_what_is_no_secret_or_too_short_to_tell_stays_in_the_response() -> None:
    asked = sent(
        ("Authorization", "Bearer abc"),
        ("Cookie", "theme=darkmode"),
        ("Accept", "text/plain"),
        url="https://a.example/?api_key=1234567890&city=dortmund",
    )
    said = {"a": "abc", "b": "darkmode", "c": "text/plain", "d": 1234567890, "e": "1234567890", "f": "dortmund"}

    text = written(asked, json.dumps(said).encode())

    assert all(f"{name}: " in text and str(value) in text for name, value in said.items())


def test_a_part_of_a_word_and_the_name_of_a_field_are_no_echo() -> None:
    text = written(
        sent(("X-Api-Key", "reference")), b'{"reference_hint":"references","reference":1,"said":"reference"}'
    )

    assert "reference_hint: references" in text
    assert "reference: 1" in text
    assert "said: REDACTED" in text


def test_what_is_written_all_the_same_is_so_in_the_response_too() -> None:
    asked = sent(url="https://a.example/?api_key=documents")
    body = b'{"kind":"documents"}'

    assert "kind: REDACTED" in written(asked, body)
    assert "kind: documents" in written(asked, body, filters=Filters(unfiltered=["api_key"]))


def test_bytes_that_are_no_text_are_left_as_they_are() -> None:
    asked = sent(("X-Api-Key", "documents"), body=b"\xff\xfe")
    text = written(asked, b"\xffdocuments", (("Content-Type", "application/octet-stream"),))

    assert base64.b64encode(b"\xffdocuments").decode() in text
