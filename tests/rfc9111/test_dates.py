from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiohttp_cache_di.rfc9111.dates import format_http_date, parse_http_date
from tests.messages import NOW

AT = datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    "value",
    ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"],
)
def test_the_three_forms_name_one_time(value: str) -> None:
    assert parse_http_date(value, now=NOW) == AT


@pytest.mark.parametrize(
    "value",
    [
        "sun, 06 nov 1994 08:49:37 gmt",
        "SUN, 06 NOV 1994 08:49:37 GMT",
        "sunday, 06-nov-94 08:49:37 gmt",
        "sun nov  6 08:49:37 1994",
    ],
)
def test_the_case_of_a_date_makes_no_difference(value: str) -> None:
    assert parse_http_date(value, now=NOW) == AT


@pytest.mark.parametrize(
    "value",
    [
        "",
        "0",
        "-1",
        "now",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 PST",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        "Sun, 06 Nov 1994 08:49:37 GMT+1",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 94 08:49:37 GMT",
        "Sun, 06 Nov 1994 8:49:37 GMT",
        "Sun, 06 Nov 1994 08:49 GMT",
        "Sun, 06 Nov 1994 08.49.37 GMT",
        "Sun 06 Nov 1994 08:49:37 GMT",
        "Sun,  06 Nov 1994 08:49:37 GMT",
        "Sun, 06  Nov 1994 08:49:37 GMT",
        "Sun, 06-Nov-1994 08:49:37 GMT",
        "06 Nov 1994 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 31 Nov 1994 08:49:37 GMT",
        "Sun, 30 Feb 1994 08:49:37 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:00 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 06 November 1994 08:49:37 GMT",
        "Sunday, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06-Nov-94 08:49:37 GMT",
        "Sunday, 06-Nov-1994 08:49:37 GMT",
        "Sunday, 31-Feb-94 08:49:37 GMT",
        "Sun Nov 6 08:49:37 1994",
        "Sun Nov 06 08:49:37 1994 GMT",
        "1994-11-06T08:49:37Z",
        "Sun, 06 Nov 1994 08:49:37 GMT\n",
        "Sun, ٠٦ Nov 1994 08:49:37 GMT",
    ],
)
def test_nothing_else_is_a_date(value: str) -> None:
    assert parse_http_date(value, now=NOW) is None


def test_a_leap_second_is_a_time() -> None:
    at = datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()
    assert parse_http_date("Sat, 31 Dec 2016 23:59:60 GMT", now=NOW) == at + 1


@pytest.mark.parametrize(("digits", "year"), [("27", 2027), ("76", 2076), ("78", 1978), ("94", 1994), ("00", 2000)])
def test_a_two_digit_year_is_at_most_50_years_ahead(digits: str, year: int) -> None:
    expected = datetime(year, 6, 1, tzinfo=UTC).timestamp()
    assert parse_http_date(f"Monday, 01-Jun-{digits} 00:00:00 GMT", now=NOW) == expected


def test_a_two_digit_year_may_lie_in_the_next_century() -> None:
    now = datetime(2090, 1, 1, tzinfo=UTC).timestamp()
    expected = datetime(2101, 6, 1, tzinfo=UTC).timestamp()
    assert parse_http_date("Monday, 01-Jun-01 00:00:00 GMT", now=now) == expected


def test_the_horizon_of_a_29_february_exists() -> None:
    now = datetime(2028, 2, 29, tzinfo=UTC).timestamp()
    expected = datetime(2078, 2, 28, tzinfo=UTC).timestamp()
    assert parse_http_date("Monday, 28-Feb-78 00:00:00 GMT", now=now) == expected


@given(st.integers(min_value=0, max_value=4_102_444_800))
def test_what_is_formatted_is_read_again(at: int) -> None:
    assert parse_http_date(format_http_date(at), now=NOW) == at


def test_a_fraction_of_a_second_is_rounded_down() -> None:
    assert format_http_date(AT + 0.999) == "Sun, 06 Nov 1994 08:49:37 GMT"


@given(st.text())
def test_any_text_is_a_date_or_none(value: str) -> None:
    parsed = parse_http_date(value, now=NOW)
    assert parsed is None or isinstance(parsed, float)


VALID = ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]


@given(st.sampled_from(VALID), st.integers(0, 40), st.integers(0, 2), st.text(max_size=2))
def test_a_damaged_date_is_none_or_another_date(value: str, place: int, removed: int, inserted: str) -> None:
    damaged = value[:place] + inserted + value[place + removed :]
    at = parse_http_date(damaged, now=NOW)
    if at is None or damaged.lower() == value.lower():
        return
    moment = datetime.fromtimestamp(at, UTC)
    # Whatever is accepted is, but for the name of the day, a date that this very time has.
    forms = {
        moment.strftime(", %d %b %Y %H:%M:%S GMT"),
        moment.strftime(", %d-%b-%y %H:%M:%S GMT"),
        moment.strftime(f" %b {moment.day:2d} %H:%M:%S %Y"),
        moment.strftime(" %b %d %H:%M:%S %Y"),
    }
    assert damaged.lower().endswith(tuple(form.lower() for form in forms)) or ":60" in damaged
