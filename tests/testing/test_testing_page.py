"""The page about testing: its files are a project whose tests pass, with warnings as errors and no network."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.testing.projects import Project

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"
FILES = dict(
    re.findall(r"```(?:python|yaml)\n# ([\w/.]+)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL),
)


def test_the_files_of_the_page_are_a_project_whose_tests_pass(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    project = Project(tmp_path, FILES)
    noise = [
        f"-W{one}" for one in pytestconfig.getoption("pythonwarnings") or ()
    ]  # of old versions, in make test-lowest

    project.run("-p", "no:recording", "--block-network", *noise, plugin=None).passed(8)


def test_every_block_of_python_on_the_page_is_one_of_its_files() -> None:
    blocks = re.findall(r"```python\n(.*)", PAGE.read_text(encoding="utf-8"))

    assert len(blocks) == len([name for name in FILES if name.endswith(".py")]) == 7
