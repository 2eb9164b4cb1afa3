"""The page about applications: its examples are real."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "applications.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_an_example_of_the_page_runs(number: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)

    module = ModuleType(f"block_{number}")  # by whose name dependency-injector finds what it wires
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(BLOCKS[number], f"{PAGE.name}[{number}]", "exec"), vars(module))  # noqa: S102  # ours


def test_the_page_has_examples() -> None:
    assert len(BLOCKS) == 7
