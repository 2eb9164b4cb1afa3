"""A few tests that fail are run once more; what fails again, or is more than a few, fails the run."""

# tests may block
from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from examples.demo.services import PROJECT

ONCE = """
import pathlib
seen = pathlib.Path(__file__).parent / "seen"
def test_a_busy_machine():
    there = seen.exists()
    seen.touch()
    assert there
def test_right(): pass
"""
WRONG = "def test_wrong(): assert 0\n"
MANY = "import pytest\n@pytest.mark.parametrize('n', range(4))\ndef test_wrong(n): assert 0\n"
BROKEN = "import no_such_module\n"
UNUSED = "def test_right(): pass\n"


@pytest.mark.parametrize(
    ("text", "status", "runs", "said"),
    [
        (UNUSED, 0, 1, ""),
        (ONCE, 0, 2, "they passed now"),
        (WRONG, 1, 2, "they failed again"),
        (MANY, 1, 1, ""),
        (BROKEN, 2, 1, ""),
    ],
    ids=["all pass", "one fails once", "one is wrong", "many are wrong", "it cannot be collected"],
)
def test_what_fails_is_run_once_more(tmp_path: Path, text: str, status: int, runs: int, said: str) -> None:
    (tmp_path / "test_it.py").write_text(text)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    command = (sys.executable, "-m", "tools.tested", "a run", "-p", "no:randomly", "-c", str(tmp_path / "pytest.ini"))
    environment = {**os.environ, "PYTEST_ADDOPTS": "", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    ended = subprocess.run(
        (*command, str(tmp_path)), cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == status, ended.stdout + ended.stderr
    assert len(re.findall(r" in \d+\.\d\ds", ended.stdout)) == runs
    assert said in ended.stdout
