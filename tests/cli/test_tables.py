"""Ages, sizes and counts as people read them."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from aiohttp_cache_di.cli import tables
from aiohttp_cache_di.cli.tables import age_of, entries_of, left_of, plain, size_of

NOW = 1_800_000_000.0


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it be the same time all along."""
    monkeypatch.setattr(tables, "time", SimpleNamespace(time=lambda: NOW))


@pytest.mark.parametrize(
    ("offset_s", "shown"), [(90, "1m30s"), (-90, "-1m30s"), (math.inf, "for ever"), (-math.inf, "never")]
)
def test_what_is_left_of_a_lifetime_has_a_sign_once_it_is_over(offset_s: float, shown: str) -> None:
    assert left_of(NOW + offset_s) == shown


@pytest.mark.parametrize(("offset_s", "shown"), [(-90, "1m30s"), (5, "0s")])
def test_an_age_is_never_negative_though_clocks_differ(offset_s: float, shown: str) -> None:
    assert age_of(NOW + offset_s) == shown


@pytest.mark.parametrize(
    ("size_bytes", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (150 * 1024, "150 KiB"),
        (5 * 1024**3, "5.0 GiB"),
        (2000 * 1024**3, "2000 GiB"),
    ],
)
def test_a_size_has_the_unit_that_leaves_a_number_below_1024(size_bytes: float, shown: str) -> None:
    assert size_of(size_bytes) == shown


def test_one_entry_is_no_entries() -> None:
    assert [entries_of(count) for count in (0, 1, 2)] == ["0 entries", "1 entry", "2 entries"]


def test_what_is_not_printable_is_written_out() -> None:
    assert plain("a\x1b[31mé") == "a\\x1b[31mé"
