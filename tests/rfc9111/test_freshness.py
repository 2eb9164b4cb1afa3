from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiohttp_cache_di.rfc9111.directives import response_directives
from aiohttp_cache_di.rfc9111.freshness import (
    age_value_s,
    current_age_s,
    date_at,
    explicit_lifetime_s,
    heuristic_lifetime_s,
    initial_age_s,
    last_modified_at,
    whole_s,
)
from tests.messages import NOW, Fields, a_stored, date, fields_of


def stated_s(fields: Fields, *, shared: bool = False) -> float | None:
    headers = fields_of(fields)
    return explicit_lifetime_s(headers, response_directives(headers), received_at=NOW, shared=shared)


def guessed_s(fields: Fields, *, url: str = "http://example.org/", with_query: bool = False) -> float:
    return heuristic_lifetime_s(
        fields_of(fields), url=url, received_at=NOW, fraction=0.1, max_s=7 * 86400, with_query=with_query
    )


def test_without_a_usable_date_the_time_of_receipt_counts() -> None:
    assert date_at(fields_of({"Date": date(-5)}), received_at=NOW) == NOW - 5
    assert date_at(fields_of({}), received_at=NOW) == NOW
    assert date_at(fields_of({"Date": "foo"}), received_at=NOW) == NOW
    assert date_at(fields_of([("Date", date(-5)), ("Date", date(-9))]), received_at=NOW) == NOW


def test_last_modified_must_be_a_date() -> None:
    assert last_modified_at(fields_of({"Last-Modified": date(-5)}), now=NOW) == NOW - 5
    assert last_modified_at(fields_of({"Last-Modified": "0"}), now=NOW) is None


def test_s_maxage_is_ignored_by_a_private_cache() -> None:
    fields = {"Cache-Control": "s-maxage=10, max-age=60"}
    assert stated_s(fields) == 60
    assert stated_s(fields, shared=True) == 10
    assert stated_s({"Cache-Control": "s-maxage=10"}) is None


def test_max_age_wins_over_expires() -> None:
    assert stated_s({"Cache-Control": "max-age=60", "Expires": date(3600)}) == 60
    assert stated_s({"Cache-Control": "max-age=60", "Expires": date(-3600)}) == 60
    assert stated_s({"Cache-Control": "max-age=0", "Expires": date(3600)}) == 0
    assert stated_s({"Cache-Control": "max-age=x", "Expires": date(3600)}) == 0


def test_expires_counts_from_date() -> None:
    assert stated_s({"Expires": date(60), "Date": date()}) == 60
    assert stated_s({"Expires": date(60), "Date": date(-40)}) == 100
    assert stated_s({"Expires": date(60)}) == 60
    assert stated_s({"Expires": date(60), "Date": "foo"}) == 60
    assert stated_s({"Expires": date(-60), "Date": date()}) == 0


@pytest.mark.parametrize("value", ["0", "-1", "", "foo", "Thu, 18 Aug 2050 02:01:18 UTC", "60"])
def test_an_expires_that_is_no_date_has_passed(value: str) -> None:
    assert stated_s({"Expires": value}) == 0


def test_repeated_expires_have_passed() -> None:
    assert stated_s([("Expires", date(60)), ("Expires", date(3600))]) == 0


def test_without_a_stated_lifetime_there_is_none() -> None:
    assert stated_s({}) is None
    assert stated_s({"Cache-Control": "public"}) is None


@pytest.mark.parametrize(
    ("lines", "seconds"),
    [
        ([], 0),
        (["0"], 0),
        (["30"], 30),
        ([" 30 "], 30),
        (["30, 60"], 30),
        (["0, 60"], 0),
        (["30", "60"], 30),
        (["foo, 60"], 0),
        (["foo"], 0),
        (["30a"], 0),
        (["30.5"], 0),
        (["-30"], 0),
        (['"30"'], 0),
        ([""], 0),
        ([", 30"], 30),
        (["2147483647"], 2**31 - 1),
        (["2147483648"], 2**31),
        (["9" * 40], 2**31),
    ],
)
def test_age_is_the_first_member_if_it_is_a_number(lines: list[str], seconds: int) -> None:
    assert age_value_s(fields_of([("Age", line) for line in lines])) == seconds


def test_apparent_age_counts_where_age_is_smaller() -> None:
    headers = fields_of({"Date": date(-50), "Age": "20"})
    assert initial_age_s(headers, requested_at=NOW, received_at=NOW) == 50


def test_a_response_of_this_second_has_not_aged() -> None:
    headers = fields_of({"Date": date()})
    assert initial_age_s(headers, requested_at=NOW + 0.9, received_at=NOW + 0.9) == 0
    assert initial_age_s(headers, requested_at=NOW + 1.1, received_at=NOW + 1.1) == 1


def test_response_delay_is_added_to_age() -> None:
    headers = fields_of({"Date": date(), "Age": "20"})
    assert initial_age_s(headers, requested_at=NOW - 5, received_at=NOW) == 25


def test_a_date_in_the_future_adds_nothing() -> None:
    assert initial_age_s(fields_of({"Date": date(50)}), requested_at=NOW, received_at=NOW) == 0


def test_a_clock_set_back_during_the_request_adds_nothing() -> None:
    assert initial_age_s(fields_of({"Date": date()}), requested_at=NOW + 100, received_at=NOW) == 0


def test_age_grows_in_the_store_and_never_shrinks_below_its_start() -> None:
    stored = a_stored({"Age": "20"})
    assert current_age_s(stored, now=NOW + 7) == 27
    assert current_age_s(stored, now=NOW - 7) == 20


@given(
    st.floats(min_value=-1e6, max_value=1e6),
    st.floats(min_value=0, max_value=1e6),
    st.integers(0, 2**33),
    st.floats(0, 1e3),
)
def test_age_is_monotone_in_now(offset_s: float, later_s: float, age: int, delay_s: float) -> None:
    stored = a_stored({"Age": str(age)}, delay_s=delay_s)
    early, late = current_age_s(stored, now=NOW + offset_s), current_age_s(stored, now=NOW + offset_s + later_s)
    assert 0 <= early <= late


def test_the_heuristic_is_a_tenth_of_the_time_since_modification() -> None:
    assert guessed_s({"Last-Modified": date(-1000), "Date": date()}) == 100
    assert guessed_s({"Last-Modified": date(-1000)}) == 100


def test_the_heuristic_is_bounded() -> None:
    assert guessed_s({"Last-Modified": "Sun, 06 Nov 1994 08:49:37 GMT"}) == 7 * 86400
    assert guessed_s({"Last-Modified": date(1000)}) == 0


def test_nothing_is_guessed_without_a_modification_date() -> None:
    assert guessed_s({}) == 0
    assert guessed_s({"Last-Modified": "foo"}) == 0


def test_nothing_is_guessed_for_a_query_unless_asked_for() -> None:
    fields = {"Last-Modified": date(-1000)}
    assert guessed_s(fields, url="http://example.org/?a=1") == 0
    assert guessed_s(fields, url="http://example.org/?a=1", with_query=True) == 100


def test_whole_seconds_are_rounded_down_and_bounded() -> None:
    assert whole_s(1.9) == 1
    assert whole_s(-0.5) == -1
    assert whole_s(float("inf")) == 2**31
    assert whole_s(float("-inf")) == -(2**31)


@given(st.text(), st.text(), st.text(), st.text())
def test_any_header_text_gives_a_lifetime_and_an_age(cache_control: str, expires: str, age: str, dated: str) -> None:
    fields = {"Cache-Control": cache_control, "Expires": expires, "Age": age, "Date": dated}
    lifetime_s = stated_s(fields)
    assert lifetime_s is not None
    assert lifetime_s >= 0
    assert initial_age_s(fields_of(fields), requested_at=NOW, received_at=NOW) >= 0
