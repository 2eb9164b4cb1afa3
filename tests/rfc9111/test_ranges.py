from __future__ import annotations

from typing import cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiohttp_cache_di.entries.filed import FiledBody, with_body
from aiohttp_cache_di.rfc9111.messages import StoredResponse
from aiohttp_cache_di.rfc9111.ranges import (
    ContentRange,
    RangeSpec,
    Slice,
    Unsatisfiable,
    combine,
    content_range,
    held_from_start,
    may_combine,
    parse_content_range,
    parse_range,
    select_range,
)
from tests.messages import Fields, a_stored, fields_of

BODY = b"0123456789"


def part(first: int, last: int, complete: str = "10", *, tag: str = '"a"', body: bytes | None = None) -> StoredResponse:
    return a_stored(
        {"ETag": tag, "Content-Range": f"bytes {first}-{last}/{complete}"},
        status=206,
        body=BODY[first : last + 1] if body is None else body,
    )


@pytest.mark.parametrize(
    ("value", "spec"),
    [
        ("bytes=0-4", RangeSpec(0, 4)),
        ("bytes=3-", RangeSpec(3)),
        ("bytes=-3", RangeSpec(suffix=3)),
        ("BYTES=0-4", RangeSpec(0, 4)),
        (" bytes= 0-4 ,", RangeSpec(0, 4)),
        ("bytes=0-4,6-7", None),
        ("bytes=4-0", None),
        ("bytes=-", None),
        ("bytes=", None),
        ("bytes", None),
        ("bytes=a-b", None),
        ("bytes=0-4-5", None),
        ("bytes=--4", None),
        ("items=0-4", None),
        ("bytes=0 - 4", None),
        ("bytes=" + "9" * 5000 + "-", None),
        ("", None),
    ],
)
def test_a_single_range_of_bytes_is_read(value: str, spec: RangeSpec | None) -> None:
    assert parse_range(value) == spec


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("bytes 0-4/10", ContentRange(0, 4, 10)),
        ("bytes 0-4/*", ContentRange(0, 4, None)),
        ("Bytes 9-9/10", ContentRange(9, 9, 10)),
        ("bytes 0-10/10", None),
        ("bytes 4-0/10", None),
        ("bytes */10", None),
        ("bytes=0-4/10", None),
        ("items 0-4/10", None),
        ("", None),
    ],
)
def test_a_content_range_must_hold_together(value: str, expected: ContentRange | None) -> None:
    assert parse_content_range(value) == expected


def test_content_range_is_written() -> None:
    assert content_range(0, 4, 10) == "bytes 0-4/10"
    assert content_range(0, 4, None) == "bytes 0-4/*"
    assert content_range(None, None, 10) == "bytes */10"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("bytes=0-4", Slice(0, 4, 10, 0)),
        ("bytes=4-", Slice(4, 9, 10, 0)),
        ("bytes=4-99", Slice(4, 9, 10, 0)),
        ("bytes=-3", Slice(7, 9, 10, 0)),
        ("bytes=-99", Slice(0, 9, 10, 0)),
        ("bytes=10-", Unsatisfiable(10)),
        ("bytes=-0", Unsatisfiable(10)),
        ("bytes=0-1,3-4", None),
        ("foo=0-1", None),
    ],
)
def test_a_complete_response_answers_a_single_range(value: str, expected: Slice | Unsatisfiable | None) -> None:
    assert select_range(value, a_stored(body=BODY)) == expected


def test_an_empty_response_satisfies_no_range() -> None:
    assert select_range("bytes=0-", a_stored(body=b"")) == Unsatisfiable(0)
    assert select_range("bytes=-5", a_stored(body=b"")) == Unsatisfiable(0)


def test_a_decoded_body_is_not_sliced() -> None:
    assert select_range("bytes=0-4", a_stored({"Content-Encoding": "gzip"}, body=BODY)) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("bytes=2-5", Slice(2, 5, 10, 2)),
        ("bytes=3-4", Slice(3, 4, 10, 2)),
        ("bytes=1-4", None),
        ("bytes=3-6", None),
        ("bytes=3-", None),
        ("bytes=-3", None),
        ("bytes=20-", Unsatisfiable(10)),
    ],
)
def test_a_part_answers_only_what_it_holds(value: str, expected: Slice | Unsatisfiable | None) -> None:
    assert select_range(value, part(2, 5)) == expected


def test_a_part_up_to_the_end_answers_open_ranges() -> None:
    assert select_range("bytes=6-", part(5, 9)) == Slice(6, 9, 10, 5)
    assert select_range("bytes=-5", part(5, 9)) == Slice(5, 9, 10, 5)
    assert select_range("bytes=6-99", part(5, 9)) == Slice(6, 9, 10, 5)


def test_a_part_of_unknown_whole_answers_only_closed_ranges() -> None:
    assert select_range("bytes=5-6", part(5, 9, "*")) == Slice(5, 6, None, 5)
    assert select_range("bytes=6-", part(5, 9, "*")) is None
    assert select_range("bytes=-2", part(5, 9, "*")) is None


def test_a_part_that_is_not_as_long_as_it_claims_answers_nothing() -> None:
    assert select_range("bytes=2-3", part(2, 5, body=b"x")) is None
    assert select_range("bytes=2-3", a_stored(status=206)) is None


def new_part(first: int, last: int, complete: str = "10", tag: str = '"a"') -> Fields:
    return {"ETag": tag, "Content-Range": f"bytes {first}-{last}/{complete}"}


@pytest.mark.parametrize(
    ("stored", "fields", "may"),
    [
        (part(0, 4), new_part(5, 9), True),
        (part(5, 9), new_part(0, 4), True),
        (part(0, 4), new_part(3, 6), True),
        (part(0, 4), new_part(5, 6, "*"), True),
        (part(0, 4), new_part(6, 9), False),
        (part(6, 9), new_part(0, 4), False),
        (part(0, 4), new_part(5, 9, "11"), False),
        (part(0, 4), new_part(5, 9, tag='"b"'), False),
        (part(0, 4, tag='W/"a"'), new_part(5, 9, tag='W/"a"'), False),
        (part(0, 4), {"Content-Range": "bytes 5-9/10"}, False),
        (part(0, 4), {"ETag": '"a"'}, False),
        (part(0, 4), {**dict(new_part(5, 9)), "Content-Encoding": "gzip"}, False),
        (a_stored({"ETag": '"a"'}), new_part(5, 9), False),
    ],
)
def test_parts_are_joined_only_when_they_are_of_one_state_and_touch(
    stored: StoredResponse, fields: Fields, may: bool
) -> None:
    assert may_combine(stored, fields_of(fields)) is may


@pytest.mark.parametrize(
    ("described", "body", "held"),
    [
        ("bytes 0-4/10", b"01234", 5),
        ("bytes 1-4/10", b"1234", None),
        ("bytes 0-4/*", b"01234", None),
        ("bytes 0-4/5", b"01234", None),
        ("bytes 0-4/10", b"0123", None),
        ("bytes */10", b"01234", None),
    ],
)
def test_what_a_part_holds_from_the_start_is_known_if_more_is_known_to_follow(
    described: str, body: bytes, held: int | None
) -> None:
    assert held_from_start(a_stored({"Content-Range": described}, status=206, body=body)) == held
    assert held_from_start(a_stored({"Content-Range": described}, body=body)) is None


def test_a_part_in_a_file_is_not_at_hand_to_be_completed() -> None:
    class InFile:
        length = 5

    part = with_body(a_stored({"Content-Range": "bytes 0-4/10"}, status=206), cast("FiledBody", InFile()))
    assert held_from_start(part) is None


def test_two_halves_make_a_whole() -> None:
    whole = combine(part(0, 4), part(5, 9))
    assert (whole.status, whole.body) == (200, BODY)
    assert "Content-Range" not in whole.headers
    assert whole.headers["Content-Length"] == "10"


def test_parts_make_a_larger_part() -> None:
    larger = combine(part(4, 6), part(2, 5))
    assert (larger.status, larger.body) == (206, b"23456")
    assert larger.headers["Content-Range"] == "bytes 2-6/10"
    assert larger.headers["Content-Length"] == "5"


def test_a_whole_keeps_the_fields_that_the_new_part_left_out() -> None:
    old = a_stored(
        {"ETag": '"a"', "Content-Range": "bytes 0-4/10", "Content-Type": "a/b", "X-A": "1", "Age": "5"},
        status=206,
        body=BODY[:5],
    )
    new = a_stored({"ETag": '"a"', "Content-Range": "bytes 5-9/10", "x-a": "2"}, status=206, body=BODY[5:])
    whole = combine(old, new)
    assert (whole.headers["Content-Type"], whole.headers.getall("X-A")) == ("a/b", ["2"])
    assert "Age" not in whole.headers
    assert len(whole.headers.getall("Date")) == 1


def test_a_new_part_that_does_not_fit_stays_alone() -> None:
    new = part(7, 9)
    assert combine(part(0, 4), new) is new
    short = part(5, 9, body=b"x")
    assert combine(part(0, 4), short) is short
    full = a_stored()
    assert combine(part(0, 4), full) is full


def test_header_fields_of_a_joined_response_are_the_new_ones() -> None:
    new = msgspec.structs.replace(part(5, 9), raw_headers=(*part(5, 9).raw_headers, (b"X-New", b"1")))
    assert combine(part(0, 4), new).headers["X-New"] == "1"


SPANS = st.tuples(st.integers(0, 9), st.integers(0, 9)).map(sorted)


@given(SPANS, SPANS)
def test_joined_parts_hold_the_bytes_of_the_representation(one: list[int], other: list[int]) -> None:
    joined = combine(part(one[0], one[1]), part(other[0], other[1]))
    if joined.status == 200:
        assert joined.body == BODY
    else:
        held = parse_content_range(joined.headers["Content-Range"])
        assert held is not None
        assert joined.body == BODY[held.first : held.last + 1]
        assert held.first <= other[0]
        assert held.last >= other[1]


@given(st.text(), st.binary(max_size=20))
def test_any_range_text_selects_bytes_that_exist_or_nothing(value: str, body: bytes) -> None:
    selected = select_range(f"bytes={value}", a_stored(body=body))
    if isinstance(selected, Slice):
        assert 0 <= selected.first <= selected.last < len(body)


@given(st.integers(0, 30), st.integers(0, 30), st.binary(max_size=20))
def test_a_closed_range_is_the_slice_that_python_takes(first: int, last: int, body: bytes) -> None:
    selected = select_range(f"bytes={first}-{last}", a_stored(body=body))
    if last < first:
        assert selected is None
    elif first >= len(body):
        assert selected == Unsatisfiable(len(body))
    else:
        assert isinstance(selected, Slice)
        assert body[selected.first : selected.last + 1] == body[first : last + 1]
