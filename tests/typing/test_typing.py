"""The types that users see, as both type checkers understand them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ACCEPTED = Path(__file__).with_name("accepted.py")
REFUSED = Path(__file__).with_name("refused.txt")  # no .py, so that the checks of this project do not stop at it

TIMEOUT_S = 110  # of one run, which takes seconds: less than the suite allows a test


def mypy(directory: Path) -> str:
    """What mypy says of the programs in *directory*."""
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", str(ROOT / "pyproject.toml")]
    return run([*command, str(directory / "accepted.py"), str(directory / "refused.py")])


def pyright(directory: Path) -> str:
    """What pyright says of the programs in *directory*."""
    settings = directory / "pyrightconfig.json"
    settings.write_text(f'{{"typeCheckingMode": "strict", "extraPaths": ["{ROOT}", "{ROOT}/integrations"]}}')
    return run([sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--project", str(settings)])


def run(command: list[str]) -> str:
    """The output of *command*."""
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=TIMEOUT_S).stdout


CHECKERS = {"mypy": mypy, "pyright": pyright}


@pytest.mark.parametrize("name", CHECKERS)
def test_a_program_may_write_what_is_accepted_and_must_not_write_what_is_refused(name: str, tmp_path: Path) -> None:
    if find_spec(name) is None or (name == "pyright" and shutil.which("node") is None and find_spec("nodeenv") is None):
        pytest.skip(f"{name} is not installed")
    shutil.copy(ACCEPTED, tmp_path / "accepted.py")
    refused = REFUSED.read_text(encoding="utf-8")
    (tmp_path / "refused.py").write_text(refused, encoding="utf-8")

    said = CHECKERS[name](tmp_path)

    complained = {int(line) for line in re.findall(r"refused\.py:(\d+)[^\n]*error", said)}
    expected = {number for number, line in enumerate(refused.splitlines(), 1) if "# refused" in line}
    assert expected, "nothing is refused"
    assert complained == expected, f"{sorted(complained ^ expected)}\n{said[-20_000:]}"
    assert not re.findall(r"accepted\.py:\d+[^\n]*error[^\n]*", said)
