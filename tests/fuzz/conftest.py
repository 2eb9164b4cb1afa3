"""Marks what is here as fuzzers, and gives them time when they are asked to take it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.fuzzing import EXAMPLES

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the fuzzers."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.fuzz)
            if EXAMPLES:
                item.add_marker(pytest.mark.timeout(0))
