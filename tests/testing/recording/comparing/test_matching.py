"""Which requests are the same, and what is said of two that are not."""

from __future__ import annotations

import pytest

from aiohttp_cache_di.testing.recording.comparing.matching import differences, key_of, nearest
from aiohttp_cache_di.testing.recording.exchanges import Asked, Fields

URL = "https://api.example.com/a"
JSON: Fields = (("Content-Type", "application/json"),)
FORM: Fields = (("Content-Type", "application/x-www-form-urlencoded"),)
TEXT: Fields = (("Content-Type", "text/plain"),)
PARTS: Fields = (("Content-Type", "multipart/form-data; boundary=boundary"),)
PART = b'--boundary\r\n%sContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--boundary--\r\n'

SAME = [
    (Asked("GET", f"{URL}?a=1&b=2"), Asked("GET", f"{URL}?b=2&a=1")),
    (Asked("GET", URL), Asked("GET", URL, (("Accept-Language", "de"),))),
    (Asked("POST", URL, JSON, b'{"a": 1, "b": 2}'), Asked("POST", URL, JSON, b'{"b":2,"a":1}')),
    (Asked("POST", URL, FORM, b"a=1&b=%20"), Asked("POST", URL, FORM, b"b=+&a=1")),
    (Asked("GET", URL, (("If-None-Match", '"1"'),)), Asked("GET", URL, (("If-None-Match", '"2"'),))),
    (Asked("GET", "https://api.example.com:443/a"), Asked("GET", URL)),
    # What another tool has recorded commonly lacks the type, or has another one.
    (Asked("POST", URL, JSON, b'{"a": 1}'), Asked("POST", URL, (), b'{"a":1}')),
    (Asked("POST", URL, JSON, b'{"a": 1}'), Asked("POST", URL, TEXT, b'{ "a" : 1.0 }')),
    (Asked("POST", URL, JSON, '{"a": "é"}'.encode()), Asked("POST", URL, (), b'{"a": "\\u00e9"}')),
    (Asked("POST", URL, FORM, b"a=1&b=%20"), Asked("POST", URL, (), b"b=+&a=1")),
    (Asked("POST", URL, FORM, b"a=&b=1"), Asked("POST", URL, TEXT, b"a=&b=1")),
    (Asked("POST", URL, TEXT, b"plain"), Asked("POST", URL, (), b"plain")),
    (Asked("POST", URL, PARTS, PART % b""), Asked("POST", URL, (), PART % b"Content-Type: text/plain\r\n")),
]
APART = [
    (Asked("GET", URL), Asked("POST", URL), "method: recorded POST, asked for GET"),
    (Asked("GET", URL), Asked("GET", "http://api.example.com/a"), "origin: recorded http://api.example.com, asked for"),
    (Asked("GET", URL), Asked("GET", f"{URL}b"), "path: recorded /ab, asked for /a"),
    (Asked("GET", f"{URL}?a=1"), Asked("GET", f"{URL}?a=2"), "parameter a: recorded 2, asked for 1"),
    (Asked("GET", f"{URL}?a=1"), Asked("GET", URL), "parameter a: recorded none, asked for 1"),
    (Asked("GET", f"{URL}?a=1&a=2"), Asked("GET", f"{URL}?a=2"), "parameters that come more than once"),
    (Asked("GET", URL, (("Range", "bytes=0-1"),)), Asked("GET", URL), "Range: recorded none, asked for bytes=0-1"),
    (Asked("GET", URL, (("If-None-Match", "1"),)), Asked("GET", URL), "conditions: only the one asked for has some"),
    (Asked("GET", URL), Asked("GET", URL, (("if-modified-since", "1"),)), "conditions: only the recorded one has some"),
    (Asked("POST", URL, JSON, b"[1]"), Asked("POST", URL, JSON, b"[2]"), "body at [0]: recorded 2, asked for 1"),
    (
        Asked("POST", URL, JSON, b'{"user": {"name": "a", "id": 1}, "b": 1}'),
        Asked("POST", URL, JSON, b'{"user": {"name": "b", "id": 1}, "b": 1}'),
        'body at user.name: recorded "b", asked for "a"',
    ),
    (Asked("POST", URL, FORM, b"a=1&b=2"), Asked("POST", URL, FORM, b"b=2"), "body at a: recorded none, asked for 1"),
    (Asked("POST", URL, (), b"a"), Asked("POST", URL), "body: recorded none, asked for 'a'"),
    (Asked("POST", URL, (), b"a=1"), Asked("POST", URL, JSON, b'{"a": "1"}'), "asked for 1"),
    (Asked("POST", URL, JSON, b'{"a": 1}'), Asked("POST", URL, JSON, b'{"a": true}'), "recorded true, asked for 1"),
    (
        Asked("POST", URL, (), b"a" * 90 + b"b"),
        Asked("POST", URL, (), b"a" * 90 + b"c"),
        "apart from character 90: 'c'",
    ),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_requests_that_mean_the_same_are_the_same(one: Asked, other: Asked) -> None:
    assert key_of(one) == key_of(other)


@pytest.mark.parametrize(("asked", "recorded", "words"), APART)
def test_what_sets_two_requests_apart_is_said(asked: Asked, recorded: Asked, words: str) -> None:
    (line,) = differences(key_of(asked), key_of(recorded))

    assert words in line


def test_what_is_ignored_makes_no_difference() -> None:
    one = Asked("POST", f"{URL}?at=1", JSON, b'{"id": 1, "a": [{"id": 2}]}')
    other = Asked("POST", f"{URL}?at=2", JSON, b'{"id": 3, "a": [{"id": 4}]}')

    assert key_of(one) != key_of(other)
    assert key_of(one, ignored=["id", "at"]) == key_of(other, ignored=["id", "at"])


def test_header_fields_that_are_named_make_one() -> None:
    one, other = (key_of(Asked("GET", URL, (("Accept", kind),)), headers=["accept"]) for kind in ("a/b", "c/d"))

    assert differences(one, other) == ["header accept: recorded c/d, asked for a/b"]


def test_the_nearest_differs_least() -> None:
    candidates = [
        key_of(Asked("GET", "https://other.example/")),
        key_of(Asked("GET", f"{URL}?a=2")),
        key_of(Asked("POST", URL)),
    ]

    assert nearest(key_of(Asked("GET", f"{URL}?a=1")), candidates) == candidates[1]
    assert nearest(key_of(Asked("GET", URL)), []) is None
