"""What bodies mean, whatever they are."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiohttp_cache_di.testing.recording.comparing.matching import differences, key_of, other_keys_of
from aiohttp_cache_di.testing.recording.comparing.meanings import as_forms, kind_of, meaning_of
from aiohttp_cache_di.testing.recording.exchanges import Answered, Asked, Exchange
from aiohttp_cache_di.testing.recording.hiding.filters import Filters

WORDS = st.sampled_from(
    ["password", "token", "code", "grant_type", "name", "value", "a", "eyJ", "query", "https://a.b/"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | WORDS,
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | WORDS, inner),
    max_leaves=8,
)
PIECES = st.sampled_from(
    [
        *("<password>", "</password>", "<![CDATA[", "]]>", "{", "}", '"', "=", "&", ":", "%7B", "é", "\ud800"),
        *("--b\r\n", 'Content-Disposition: form-data; name="token"', "\r\n\r\n"),
        *("a", "token", "password", "query ", "eyJ"),
    ]
)
BODIES = (
    st.binary()
    | st.lists(PIECES).map(lambda pieces: "".join(pieces).encode("utf-8", "surrogatepass"))
    | JSON.map(lambda value: json.dumps(value).encode())
    | JSON.map(lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"))
)
TYPES = st.sampled_from(
    ["", "application/json", "text/xml", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b"]
)


@settings(suppress_health_check=[HealthCheck.too_slow])  # on a machine that is busy
@given(body=BODIES, other=BODIES, content_type=TYPES)
def test_any_body_is_filtered_once_and_compared(body: bytes, other: bytes, content_type: str) -> None:
    filters = Filters(json=["a"])
    headers = (("Content-Type", content_type),) if content_type else ()
    one, two = (
        filters.exchange(Exchange(Asked("POST", "https://a.example/", headers, sent), Answered(200, "", headers, sent)))
        for sent in (body, other)
    )

    assert filters.exchange(one) == one
    ours, theirs = key_of(one.asked), key_of(two.asked)
    assert (ours == theirs) is not bool(differences(ours, theirs))
    other_keys_of(one.asked, key_of)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"a": 1}', "json"),
        (b"[", "text"),
        (b"a=1&b", "form"),
        (b"a = 1", "text"),
        (b"plain", "text"),
        (b"<?xml version='1.0'?><a/>", "xml"),
        (b"<p>", "text"),
        (b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--\r\n', "parts"),
        (b"\xff=1", "text"),
    ],
)
def test_what_a_body_is_can_be_seen(body: bytes, kind: str) -> None:
    assert kind_of(body, "") == kind


def test_what_is_ignored_makes_no_difference_in_any_form() -> None:
    parts = b'--boundary\r\nContent-Disposition: form-data; name="a"\r\n\r\n%s\r\n--boundary--\r\n'
    for one, other in ((b'{"a": 1}', b'{"a": 2}'), (b"a=1", b"a=2"), (parts % b"1", parts % b"2")):
        assert meaning_of(one, "") != meaning_of(other, "")
        assert meaning_of(one, "", ["a"]) == meaning_of(other, "", ["a"])


@pytest.mark.parametrize("value", [{}, [], {"a": {"b": 1}}, {"a": None}, [1], [["a", "1", "2"]], "a"])
def test_what_no_form_can_have_was_none(value: Any) -> None:
    assert as_forms(json.dumps(value).encode()) == ()


def test_pairs_and_lists_may_have_been_a_form() -> None:
    assert as_forms(b'[["a","1"],["a",2]]')[0] == as_forms(b'{"a":["1",2]}')[0] == b"a=1&a=2"
