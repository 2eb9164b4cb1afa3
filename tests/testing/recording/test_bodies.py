"""Bodies in files: what can be read is, and each comes back byte for byte."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.testing.recording.bodies import read_body, written_body
from aiohttp_cache_di.testing.recording.exchanges import Answered, Asked, Exchange
from aiohttp_cache_di.testing.recording.keeping.files import dumped, loaded

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
BODIES = (
    st.binary()
    | st.text().map(lambda text: text.encode("utf-8", "replace"))
    | JSON.map(lambda value: json.dumps(value).encode())
)
TYPES = st.sampled_from(
    ["", "application/json", "text/plain", "text/plain; charset=latin-1", "application/hal+json; a=b"]
)


@given(body=BODIES, content_type=TYPES)
def test_a_body_comes_back_from_a_file_byte_for_byte(body: bytes, content_type: str) -> None:
    headers = (("Content-Type", content_type),)
    exchange = Exchange(Asked("POST", "https://a.example/", headers, body), Answered(200, "OK", headers, body))

    assert loaded(dumped([exchange])).exchanges == [exchange]


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"b":["é"]}',
        '{"a": 1, "b": ["\\u00e9"]}',
        '{\n  "a": 1\n}\n',
        '{\n    "a": 1.0\n}',
        "[]",
        "null",
        '"a"',
    ],
)
def test_json_is_written_as_data_however_it_is_laid_out(text: str) -> None:
    written = written_body(text.encode(), "application/json; charset=utf-8")

    assert written["json"] == json.loads(text)
    assert read_body(written) == text.encode()


@pytest.mark.parametrize("text", ['{"a":1e2}', '{"a":1,"a":2}', '{ "a":1}', "{", '{"a":NaN }'])
def test_json_that_would_not_come_back_is_written_as_text(text: str) -> None:
    assert written_body(text.encode(), "application/json") == {"text": text}


def test_text_of_several_lines_is_a_block() -> None:
    exchange = Exchange(Asked("GET", "https://a.example/"), Answered(200, "OK", (), b"one\ntwo: 2\n\n  three"))

    assert "    text: |-\n      one\n      two: 2\n\n        three\n" in dumped([exchange])


def test_bytes_are_written_in_base64() -> None:
    assert written_body(b"\x89PNG\x00", "image/png") == {"base64": "iVBORwA=\n"}


def test_text_may_be_in_another_charset() -> None:
    written = written_body("é".encode("latin-1"), "text/plain; charset=ISO-8859-1")

    assert written == {"text": "é", "charset": "iso-8859-1"}
    assert read_body(written) == b"\xe9"


@pytest.mark.parametrize(
    "written", [{"json": 1, "layout": "fancy"}, {"text": 1}, {"text": "é", "charset": "nope"}, {"base64": "a"}]
)
def test_a_body_that_cannot_be_read_is_said_to_be_so(written: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="a recorded body cannot be read"):
        read_body(written)
