"""Durations and sizes in human form."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aiohttp_cache_di.units import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 30),
        ("0.5", 0.5),
        ("-1", -1),
        ("5m", 300),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("1.5H", 5400),
        ("2d", 172800),
        ("1w", 604800),
        ("250ms", 0.25),
        ("1m1s1ms", 61.001),
    ],
)
def test_a_duration_is_a_number_or_numbers_with_units(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "5x", "5 minutes", "m5", "1h5", "5m1h", "5m5m", "1e3", "nan", "inf", "٣"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("1024", 1024), ("64MiB", 64 * 1024**2), ("64 mib", 64 * 1024**2), ("1.5GB", 1_500_000_000), ("9B", 9)],
)
def test_a_size_is_a_number_of_bytes_or_has_a_unit(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "64M", "64Mi", "MiB", "-1", "1.5", "1.0001kB", "ten"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        parse_size(text)


@given(st.integers(0, 10**12))
@example(16616934)
def test_a_written_duration_reads_the_same(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds / 1000)) == pytest.approx(milliseconds / 1000)


@given(st.integers(0, 2**53))
def test_a_written_size_reads_the_same(size: int) -> None:
    assert parse_size(format_size(size)) == size


def test_a_duration_finer_than_milliseconds_is_written_as_a_number() -> None:
    assert format_duration(0.0001) == "0.0001"
    assert format_duration(10.0001) == "10.0001"


def test_what_is_no_length_of_time_is_written_as_a_number() -> None:
    assert format_duration(-1) == "-1"
