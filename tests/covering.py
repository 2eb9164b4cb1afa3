"""Measure the coverage of a test's cases for as long as they reach something new.

Until CPython 3.14, coverage takes as long as the tests themselves, whatever they run. Most tests here have many cases:
every kind of client, store or header. Once a few of them, one after the other, have reached no line and no branch that
had not been reached before, the cases that follow run without being measured. So what is reported is at most what was
reached.
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any, Final, cast

import pytest

__all__ = ["IN_VAIN", "Measured"]

IN_VAIN: Final = 2


class Measured:
    """Decides for each test whether it is measured; a plugin of pytest, beside pytest-cov."""

    def __init__(self) -> None:
        self._in_vain = Counter[str]()
        self._before = 0

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Tell pytest-cov if this case need not be measured."""
        reached = reached_so_far()
        if reached is None:
            return
        self._before = reached
        if self._in_vain[_test(item)] >= IN_VAIN:
            item.add_marker("no_cover")

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> None:
        """Count the case if it has reached nothing new."""
        reached = reached_so_far()
        if reached is not None and item.get_closest_marker("no_cover") is None:
            self._in_vain[_test(item)] = 0 if reached > self._before else self._in_vain[_test(item)] + 1


def reached_so_far() -> int | None:
    """How many branches of the package have been reached; None if nothing is measured, or in another way."""
    # Of the tracer, this is the only part that is not documented; without it, every case is measured.
    tracer: Any = sys.gettrace()
    data = getattr(tracer, "data", None)
    return sum(map(len, cast("dict[str, set[int]]", data).values())) if isinstance(data, dict) else None


def _test(item: pytest.Item) -> str:
    return item.nodeid.partition("[")[0]
