"""Mark the tests of this directory as fuzzers, and lift their time limit when a number of examples is set."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.fuzzing import EXAMPLES

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Add the marker ``fuzz``, and no timeout if a number of examples is set."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.fuzz)
            if EXAMPLES:
                item.add_marker(pytest.mark.timeout(0))
