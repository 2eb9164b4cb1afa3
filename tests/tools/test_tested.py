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
from tools.tested import MEMORY, has_room

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
PLACE = "def test_place(tmp_path): print(f'in <{tmp_path}>')\n"
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
    ended = run_tested(tmp_path, text)
    assert ended.returncode == status, ended.stdout + ended.stderr
    assert len(re.findall(r" in \d+\.\d\ds", ended.stdout)) == runs
    assert said in ended.stdout


@pytest.mark.parametrize("options", [(), ("--in-memory",)], ids=["on disk", "in memory"])
def test_files_of_tests_are_where_there_is_room_and_those_in_memory_do_not_stay(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    ended = run_tested(tmp_path, PLACE, "-s", *options)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    place = Path(re.findall(r"in <(.*)>", ended.stdout)[0])
    is_in_memory = place.is_relative_to(MEMORY)
    assert is_in_memory is (bool(options) and has_room(MEMORY))
    assert place.exists() is not is_in_memory


def test_too_small_a_place_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert not has_room(tmp_path / "not there")
    monkeypatch.setattr("tools.tested.ENOUGH_BYTES", 1)
    assert has_room(tmp_path)
    monkeypatch.setattr("tools.tested.ENOUGH_BYTES", 1 << 62)
    assert not has_room(tmp_path)


def run_tested(directory: Path, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the tests in *text* by `tools.tested`."""
    (directory / "test_it.py").write_text(text)
    (directory / "pytest.ini").write_text("[pytest]\n")
    command = (sys.executable, "-m", "tools.tested", "a run", "-p", "no:randomly", "-c", str(directory / "pytest.ini"))
    environment = {**os.environ, "PYTEST_ADDOPTS": "", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(
        (*command, str(directory), *options),
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
