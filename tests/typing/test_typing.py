"""The types that users see, as both type checkers understand them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ACCEPTED = Path(__file__).with_name("accepted.py")

REFUSED = """
from aiohttp_cache_di import CachedSession
from aiohttp_cache_di.backends import CacheBackend


async def requests(session: CachedSession) -> None:
    await session.get("https://example.org/", expire_afer=60)  # refused: misspelt
    await session.get("https://example.org/", expire_after=[60])  # refused: no lifetime
    await session.get("https://example.org/", refresh="yes")  # refused: no bool
    await session.post("https://example.org/", headers=1)  # refused: aiohttp's own options are typed too
    async with session.get("https://example.org/") as response:
        response.from_cash  # refused: misspelt
    CacheBackend(max_entrys=1)  # refused: misspelt
    CacheBackend(expire_after=object())  # refused: no lifetime
"""


def mypy(path: Path) -> str:
    """What mypy says of *path*."""
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", str(ROOT / "pyproject.toml"), str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT).stdout


def pyright(path: Path) -> str:
    """What pyright says of *path*."""
    settings = path.parent / "pyrightconfig.json"
    if path != ACCEPTED:
        settings.write_text(f'{{"typeCheckingMode": "strict", "extraPaths": ["{ROOT}"]}}')
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable]
    command += [str(path)] if path == ACCEPTED else ["--project", str(settings)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT).stdout


@pytest.fixture(params=[mypy, pyright], ids=["mypy", "pyright"])
def check(request: pytest.FixtureRequest) -> Callable[[Path], str]:
    """One of the type checkers, where it is installed."""
    name: str = request.param.__name__
    if find_spec(name) is None or (name == "pyright" and shutil.which("node") is None and find_spec("nodeenv") is None):
        pytest.skip(f"{name} is not installed")
    checker: Callable[[Path], str] = request.param
    return checker


def test_what_a_program_may_write_is_accepted(check: Callable[[Path], str]) -> None:
    said = check(ACCEPTED)
    assert "error" not in said.replace("0 errors", ""), said


def test_what_a_program_must_not_write_is_refused(check: Callable[[Path], str], tmp_path: Path) -> None:
    path = tmp_path / "refused.py"
    path.write_text(REFUSED)
    said = check(path)
    complained = {int(line) for line in re.findall(r"refused\.py:(\d+)[^\n]*error", said)}
    expected = {number for number, line in enumerate(REFUSED.splitlines(), 1) if "# refused" in line}
    assert complained == expected, said
