"""The constraints for a run with the lowest versions that pyproject.toml allows."""

from __future__ import annotations

import pytest

from tools.lowest import lowest_versions


def test_each_dependency_is_pinned_to_its_lower_bound() -> None:
    pyproject = """
        [project]
        name = "ours"
        dependencies = ["first>=3.14,<4", "second[speed] >= 1"]
        [project.optional-dependencies]
        extra = ["third>=5.2"]
        all = ["ours[extra]"]
    """
    assert lowest_versions(pyproject) == {"first": "3.14", "second": "1", "third": "5.2"}


def test_a_dependency_without_a_lower_bound_is_refused() -> None:
    pyproject = '[project]\nname = "ours"\ndependencies = ["first<4"]'
    with pytest.raises(ValueError, match=r"'first<4' has no lower bound"):
        lowest_versions(pyproject)
