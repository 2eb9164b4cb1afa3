"""Parsing and formatting HTTP dates, in the three formats of RFC 9110 §5.6.7."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from aiohttp_cache_di.lazy import compiled_later

__all__ = ["format_http_date", "parse_http_date"]

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH_NUMBERS = {name.lower(): number for number, name in enumerate(_MONTHS, 1)}

_DAY = "(?:mon|tue|wed|thu|fri|sat|sun)"
_LONG_DAY = "(?:monday|tuesday|wednesday|thursday|friday|saturday|sunday)"
_MONTH = f"(?P<month>{'|'.join(_MONTH_NUMBERS)})"
_TIME = "(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"

# The formats are case-sensitive, but a cache SHOULD match them regardless of case (RFC 9111 §4.2).
_IMF_FIXDATE = compiled_later(f"{_DAY}, (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_TIME} gmt", re.I | re.A)
_RFC850 = compiled_later(f"{_LONG_DAY}, (?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_TIME} gmt", re.I | re.A)
_ASCTIME = compiled_later(f"{_DAY} {_MONTH} (?P<day>[0-9]{{2}}| [0-9]) {_TIME} (?P<year>[0-9]{{4}})", re.I | re.A)

_LONGEST = len("Wednesday, 06-Nov-94 08:49:37 GMT")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CENTURY_HORIZON_YEARS = 50  # RFC 9110 §5.6.7


def parse_http_date(value: str, *, now: float) -> float | None:
    """The POSIX time of an HTTP-date; None if *value* is not one.

    Accepts IMF-fixdate, the RFC 850 format and asctime's format, in upper and lower case. Zones other than GMT, other
    spacing and impossible dates are not accepted (RFC 9110 §5.6.7, RFC 9111 §4.2).

    Args:
        now: POSIX time, which decides the century of a two-digit year: a date is at most 50 years in the future.
    """
    if len(value) > _LONGEST:
        return None
    fixed = _parse_fixed(value)
    return fixed if fixed is not None else _parse_rfc850(value, now)


@lru_cache(maxsize=2048)
def _parse_fixed(value: str) -> float | None:
    match = _IMF_FIXDATE.fullmatch(value) or _ASCTIME.fullmatch(value)
    return None if match is None else _timestamp(match, int(match["year"]))


def _parse_rfc850(value: str, now: float) -> float | None:
    match = _RFC850.fullmatch(value)
    if match is None:
        return None
    today = _EPOCH + timedelta(seconds=now)
    year = today.year - today.year % 100 + int(match["year"])
    horizon = _same_moment(today, today.year + _CENTURY_HORIZON_YEARS)
    # The latest year with these two digits that is not beyond the horizon.
    for candidate in (year + 100, year, year - 100):
        at = _timestamp(match, candidate)
        if at is not None and at <= horizon:
            return at
    return None


def _same_moment(today: datetime, year: int) -> float:
    try:
        return (today.replace(year=year) - _EPOCH).total_seconds()
    except ValueError:  # 29 February
        return (today.replace(year=year, month=3, day=1) - _EPOCH).total_seconds()


def _timestamp(match: re.Match[str], year: int) -> float | None:
    second = int(match["second"])
    if second > 60:  # 60 is a leap second
        return None
    try:
        moment = datetime(
            year,
            _MONTH_NUMBERS[match["month"].lower()],
            int(match["day"]),
            int(match["hour"]),
            int(match["minute"]),
            tzinfo=UTC,
        )
    except ValueError:  # no such day or time: not a date
        return None
    return (moment - _EPOCH).total_seconds() + second


def format_http_date(at: float) -> str:
    """*at* (POSIX time, UTC) as IMF-fixdate, rounded down to the second."""
    moment = _EPOCH + timedelta(seconds=at // 1)
    return (
        f"{_DAYS[moment.weekday()]}, {moment.day:02d} {_MONTHS[moment.month - 1]} {moment.year:04d} "
        f"{moment.hour:02d}:{moment.minute:02d}:{moment.second:02d} GMT"
    )
