from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiohttp_cache_di.rfc9111.fields import (
    MAX_DELTA_S,
    combined,
    is_token,
    parse_delta_s,
    single,
    split_list,
    unquote,
)
from tests.messages import fields_of


def test_lines_are_joined_in_order() -> None:
    headers = fields_of([("X", "a"), ("Y", "z"), ("x", "b")])
    assert combined(headers, "X") == "a, b"
    assert combined(headers, "Y") == "z"
    assert combined(headers, "Z") is None


def test_a_single_field_that_is_repeated_has_no_value() -> None:
    assert single(fields_of([("Date", " a ")]), "Date") == "a"
    assert single(fields_of([("Date", "a"), ("Date", "a")]), "Date") is None


@pytest.mark.parametrize(
    ("value", "members"),
    [
        ("", ()),
        (" , ,", ()),
        ("a", ("a",)),
        ("a,b", ("a", "b")),
        (" a ,\tb, ,c ", ("a", "b", "c")),
        ('a="1,2", b', ('a="1,2"', "b")),
        (r'a="1\",2", b', (r'a="1\",2"', "b")),
        ('a="1, b', ('a="1', "b")),
    ],
)
def test_a_list_is_split_at_commas_outside_quotes(value: str, members: tuple[str, ...]) -> None:
    assert split_list(value) == members


@pytest.mark.parametrize(
    ("value", "meaning"),
    [
        ("a", "a"),
        ('"a b"', "a b"),
        (r'"a\"b\\"', 'a"b\\'),
        ('""', ""),
        ("", None),
        ("a b", None),
        ('"a', None),
        ('"a"b', None),
    ],
)
def test_tokens_and_quoted_strings_have_a_meaning(value: str, meaning: str | None) -> None:
    assert unquote(value) == meaning


def test_a_token_is_of_token_characters() -> None:
    assert is_token("max-age")
    assert not is_token("max age")
    assert not is_token("")
    assert not is_token("é")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("60", 60),
        ("0060", 60),
        ("2147483648", MAX_DELTA_S),
        ("99999999999", MAX_DELTA_S),
        ("9" * 5000, MAX_DELTA_S),
        ("0" * 5000 + "7", 7),
        ("", None),
        ("-1", None),
        ("+1", None),
        ("1.0", None),
        ("1 0", None),
        (" 1", None),
        ("1a", None),
        ("a1", None),
        ("1e3", None),
        ("1_000", None),
        ("٣", None),
        ("²", None),
    ],
)
def test_delta_seconds_are_digits_and_bounded(value: str, seconds: int | None) -> None:
    assert parse_delta_s(value) == seconds


@given(st.text())
def test_any_text_splits_into_members_without_surrounding_space(value: str) -> None:
    for member in split_list(value):
        assert member
        assert member == member.strip(" \t")


@given(st.text())
def test_delta_seconds_accept_only_ascii_digits(value: str) -> None:
    assert (parse_delta_s(value) is not None) == (value != "" and set(value) <= set("0123456789"))
