from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiohttp_cache_di.rfc9111.storability import HOP_BY_HOP
from aiohttp_cache_di.rfc9111.validation import (
    conditions,
    entity_tag,
    has_validator,
    if_range_holds,
    is_not_modified,
    is_strong,
    listed_entity_tags,
    matches_strongly,
    matches_weakly,
    tag_before_coding,
    updated_headers,
)
from tests.messages import Fields, a_stored, date, fields_of


@pytest.mark.parametrize(
    ("lines", "tag"),
    [
        (['"a"'], '"a"'),
        (['W/"a"'], 'W/"a"'),
        (['""'], '""'),
        ([' "a" '], '"a"'),
        (['"a\\"'], '"a\\"'),
        (['"a,b"'], '"a,b"'),
        (["abc"], "abc"),
        ([], None),
        ([""], None),
        (['"a"', '"b"'], None),
        (['"a'], None),
        (["a b"], None),
        (["a,b"], None),
    ],
)
def test_an_entity_tag_is_kept_as_it_was_sent(lines: list[str], tag: str | None) -> None:
    assert entity_tag(fields_of([("ETag", line) for line in lines])) == tag


@pytest.mark.parametrize(
    ("value", "tags"),
    [
        ('"a"', ('"a"',)),
        ('"a", W/"b" ,"c"', ('"a"', 'W/"b"', '"c"')),
        ('"a,b", "c"', ('"a,b"', '"c"')),
        (', "a",', ('"a"',)),
        ('"a\\", "b"', ('"a\\"', '"b"')),
        ("abc, def", ("abc", "def")),
        ('"a" "b"', ()),
        ('"a', ()),
        ("", ()),
    ],
)
def test_a_list_of_entity_tags_is_read(value: str, tags: tuple[str, ...]) -> None:
    assert listed_entity_tags(value) == tags


def test_weak_comparison_ignores_weakness_and_strong_comparison_refuses_it() -> None:
    assert matches_weakly('W/"a"', '"a"')
    assert matches_weakly('"a"', '"a"')
    assert not matches_weakly('"a"', '"b"')
    assert matches_strongly('"a"', '"a"')
    assert not matches_strongly('W/"a"', 'W/"a"')
    assert not matches_strongly('W/"a"', '"a"')
    assert is_strong('"W/a"')


def test_a_validator_is_a_tag_or_a_date() -> None:
    assert has_validator(fields_of({"ETag": '"a"'}))
    assert has_validator(fields_of({"Last-Modified": date()}))
    assert not has_validator(fields_of({"Last-Modified": "yesterday"}))
    assert not has_validator(fields_of({}))


def test_both_validators_are_sent() -> None:
    stored = a_stored({"ETag": 'W/"a"', "Last-Modified": date(-60)})
    assert conditions(stored) == (("If-None-Match", 'W/"a"'), ("If-Modified-Since", date(-60)))


def test_tags_of_other_variants_are_offered_once_each() -> None:
    assert conditions(a_stored({"ETag": '"a"'}), ['"b"', '"a"']) == (("If-None-Match", '"a", "b"'),)
    assert conditions(None, ['"b"']) == (("If-None-Match", '"b"'),)


@pytest.mark.parametrize(
    ("tag", "coding", "before"),
    [
        ('"a-gzip"', "gzip", '"a"'),
        ('W/"a-gzip"', "GZIP", 'W/"a"'),
        ('"a-br"', "br", '"a"'),
        ('"a-gzip"', "br", None),
        ('"a-gzip"', None, None),
        ('"-gzip"', "gzip", None),
        ('"a"', "gzip", None),
        ("a-gzip", "gzip", None),
    ],
)
def test_the_tag_to_which_apache_has_appended_the_coding_is_offered_as_well(
    tag: str, coding: str | None, before: str | None
) -> None:
    stored = a_stored({"ETag": tag} if coding is None else {"ETag": tag, "Content-Encoding": coding})
    assert tag_before_coding(stored.headers) == before
    assert conditions(stored) == (("If-None-Match", tag if before is None else f"{tag}, {before}"),)


def test_no_more_tags_are_offered_than_a_head_has_room_for() -> None:
    stored = a_stored({"ETag": '"own"'})
    short, long = [f'"{number}"' for number in range(100)], [f'"{number:0400}"' for number in range(100)]
    ((_, offer),) = conditions(stored, short)
    assert offer.split(", ") == ['"own"', *short[:15]]
    ((_, offer),) = conditions(stored, long)
    assert offer.split(", ") == ['"own"', *long[:5]]
    assert len(offer) < 2100
    assert conditions(a_stored({"ETag": '"' + "x" * 3000 + '"', "Last-Modified": date(-60)})) == (
        ("If-Modified-Since", date(-60)),
    )


@pytest.mark.parametrize("control", ["\r\nX: y", "\n", "\0", "\x1f", "\x7f"])
def test_an_etag_with_a_control_character_is_ignored(control: str) -> None:
    for tag in (f'"a{control}"', f"a{control}", f'W/"{control}"'):
        assert entity_tag(fields_of({"ETag": tag})) is None


def test_a_tag_that_cannot_be_sent_as_it_came_is_not_offered() -> None:
    tag = b'"\xfc"'.decode("utf-8", "surrogateescape")
    stored = a_stored({"Last-Modified": date(-60)})
    stored = msgspec.structs.replace(stored, raw_headers=(*stored.raw_headers, (b"ETag", b'"\xfc"')))
    assert conditions(stored, ['"b"']) == (("If-None-Match", '"b"'), ("If-Modified-Since", date(-60)))
    assert conditions(None, [tag]) == ()


def test_without_a_validator_there_is_nothing_to_ask() -> None:
    assert conditions(a_stored({"Last-Modified": "foo"})) == ()


def not_modified(request: Fields, stored: Fields, *, dated: bool = True) -> bool | None:
    return is_not_modified(fields_of(request), a_stored(stored, dated=dated))


def test_no_condition_is_no_answer() -> None:
    assert not_modified({}, {"ETag": '"a"'}) is None


@pytest.mark.parametrize("listed", ['"a"', 'W/"a"', '"x", "a"', '"a" , "x"', "*", ' W/"x" ,W/"a"'])
def test_if_none_match_compares_weakly(listed: str) -> None:
    assert not_modified({"If-None-Match": listed}, {"ETag": '"a"'}) is True
    assert not_modified({"If-None-Match": listed}, {"ETag": 'W/"a"'}) is True


@pytest.mark.parametrize("listed", ['"b"', "a", '"a', "", '"A"'])
def test_if_none_match_of_other_tags_does_not_match(listed: str) -> None:
    assert not_modified({"If-None-Match": listed}, {"ETag": '"a"'}) is False


@pytest.mark.parametrize("sent", [b'"\xfc"', '"\xfc"'.encode()])
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_tag_beyond_ascii_matches_however_the_caller_has_read_it(sent: bytes, encoding: str) -> None:
    stored = msgspec.structs.replace(a_stored(), raw_headers=((b"ETag", sent),))
    read = sent.decode(encoding, "surrogateescape")
    assert is_not_modified(fields_of({"If-None-Match": read}), stored) is True
    assert is_not_modified(fields_of({"If-None-Match": '"\xf6"'}), stored) is False


def test_if_none_match_on_several_lines_is_one_list() -> None:
    assert is_not_modified(fields_of([("If-None-Match", '"x"'), ("If-None-Match", '"a"')]), a_stored({"ETag": '"a"'}))


def test_a_star_matches_even_without_a_tag() -> None:
    assert not_modified({"If-None-Match": "*"}, {}) is True
    assert not_modified({"If-None-Match": '"a"'}, {}) is False


def test_if_none_match_takes_the_place_of_if_modified_since() -> None:
    request = {"If-None-Match": '"b"', "If-Modified-Since": date()}
    assert not_modified(request, {"ETag": '"a"', "Last-Modified": date(-60)}) is False


@pytest.mark.parametrize(("since_s", "expected"), [(-61, False), (-60, True), (0, True)])
def test_if_modified_since_is_compared_with_last_modified(since_s: float, expected: bool) -> None:
    assert not_modified({"If-Modified-Since": date(since_s)}, {"Last-Modified": date(-60)}) is expected


@pytest.mark.parametrize(("since_s", "expected"), [(-1, False), (0, True)])
def test_if_modified_since_is_compared_with_date_or_receipt(since_s: float, expected: bool) -> None:
    assert not_modified({"If-Modified-Since": date(since_s)}, {}) is expected
    assert not_modified({"If-Modified-Since": date(since_s)}, {}, dated=False) is expected


def test_an_if_modified_since_that_is_no_date_is_ignored() -> None:
    assert not_modified({"If-Modified-Since": "yesterday"}, {"Last-Modified": date(-60)}) is None


@pytest.mark.parametrize(
    ("if_range", "stored", "holds"),
    [
        ('"a"', {"ETag": '"a"'}, True),
        ('"b"', {"ETag": '"a"'}, False),
        ('W/"a"', {"ETag": 'W/"a"'}, False),
        (date(-60), {"Last-Modified": date(-60)}, True),
        (date(-60), {"Last-Modified": date(-61)}, False),
        (date(0), {"Last-Modified": date(-60)}, False),
        (date(0), {"Last-Modified": date(0)}, False),
        ("foo", {"Last-Modified": "foo"}, False),
        ('"a"', {}, False),
    ],
)
def test_if_range_needs_a_strong_validator(if_range: str, stored: Fields, holds: bool) -> None:
    assert if_range_holds(fields_of({"If-Range": if_range}), a_stored(stored)) is holds


def test_no_if_range_lets_range_apply_and_two_do_not() -> None:
    stored = a_stored({"ETag": '"a"'})
    assert if_range_holds(fields_of({}), stored)
    assert not if_range_holds(fields_of([("If-Range", '"a"'), ("If-Range", '"a"')]), stored)


def lines(fields: Fields) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((name.encode(), value.encode()) for name, value in fields_of(fields).items())


def test_fields_of_a_304_replace_stored_ones() -> None:
    stored = lines([("X-A", "1"), ("x-a", "2"), ("X-B", "3"), ("Content-Type", "text/plain")])
    updated = updated_headers(stored, fields_of([("X-a", "9"), ("X-New", "8"), ("Content-Type", "a/b")]), HOP_BY_HOP)
    assert set(updated) == {(b"X-B", b"3"), (b"X-a", b"9"), (b"X-New", b"8"), (b"Content-Type", b"a/b")}


@pytest.mark.parametrize("name", ["Content-Length", "Content-Encoding", "Content-Range"])
def test_fields_that_describe_the_stored_bytes_stay(name: str) -> None:
    assert updated_headers(lines({name: "1"}), fields_of({name: "2"}), HOP_BY_HOP) == lines({name: "1"})
    assert updated_headers((), fields_of({name: "2"}), HOP_BY_HOP) == ()


def test_fields_that_must_not_be_stored_are_not_taken_from_a_304() -> None:
    assert updated_headers((), fields_of({"Connection": "close", "Keep-Alive": "x"}), HOP_BY_HOP) == ()


def test_the_old_age_and_date_go_even_without_new_ones() -> None:
    assert updated_headers(lines({"Age": "100", "Date": date(-100), "X": "1"}), fields_of({}), HOP_BY_HOP) == lines(
        {"X": "1"}
    )


def test_bytes_that_are_no_text_survive() -> None:
    assert updated_headers((), fields_of({"X": "\udcff"}), HOP_BY_HOP) == ((b"X", b"\xff"),)


@given(st.text(), st.text(), st.text())
def test_any_text_can_be_compared(tag: str, listed: str, since: str) -> None:
    headers = fields_of({"If-None-Match": listed, "If-Modified-Since": since, "If-Range": since})
    stored = a_stored({"X": "1"})
    assert is_not_modified(headers, stored) in (True, False, None)
    assert if_range_holds(headers, stored) is False
    found = entity_tag(fields_of({"ETag": tag}))
    assert found is None or listed_entity_tags(found) == (found,)
