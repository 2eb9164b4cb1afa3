"""Entries made from aiohttp's responses."""

from __future__ import annotations

from aiohttp_cache_di.entries.build import kept_lines

LINES = ((b"Content-Type", b"text/plain"), (b"Set-Cookie", b"a=b"))


def test_lines_of_which_none_is_dropped_are_kept_as_they_are() -> None:
    assert kept_lines(LINES, frozenset({"connection"})) is LINES


def test_lines_are_dropped_by_their_names_in_any_case() -> None:
    assert kept_lines(LINES, frozenset({"set-cookie"})) == LINES[:1]


def test_fields_are_added_behind() -> None:
    assert kept_lines(LINES, frozenset(), add=(("Date", "now"),)) == (*LINES, (b"Date", b"now"))
