"""The layers of the package, as import contracts: they hold, and a violation does not go unseen."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
LINT_IMPORTS = "import sys; from importlinter.cli import lint_imports_command; lint_imports_command()"


def _lint(project: Path) -> subprocess.CompletedProcess[str]:
    # First on the path, so that the copy is looked at and not the installed package.
    path = os.pathsep.join([str(project), str(project / "integrations")])
    return subprocess.run(
        [sys.executable, "-c", LINT_IMPORTS, "--config", "pyproject.toml", "--no-cache"],
        cwd=project,
        env={**os.environ, "PYTHONPATH": path, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Copy what the contracts speak of, to be spoilt."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    unwanted = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "aiohttp_cache_di", tmp_path / "aiohttp_cache_di", ignore=unwanted)
    shutil.copytree(ROOT / "integrations", tmp_path / "integrations", ignore=unwanted)
    return tmp_path


def test_every_import_points_down_the_layers(project: Path) -> None:
    linted = _lint(project)
    assert linted.returncode == 0, linted.stdout + linted.stderr


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("aiohttp_cache_di/rfc9111/freshness.py", "import time", "The rules know no clock"),
        ("aiohttp_cache_di/policy/requests/request.py", "import asyncio", "The rules know no clock"),
        (
            "aiohttp_cache_di/policy/requests/request.py",
            "from aiohttp_cache_di import middleware",
            "Imports point down the layers",
        ),
        ("aiohttp_cache_di/errors.py", "import aiohttp_cache_di.session", "Imports point down the layers"),
        ("aiohttp_cache_di/entries/codec.py", "import pickle", "Nothing stored can run code"),
        ("aiohttp_cache_di/settings/model.py", "import dependency_injector.providers", "Only the container pays"),
        ("aiohttp_cache_di/containers/opening.py", "import fastapi", "Each framework is known to its adapter only"),
        (
            "aiohttp_cache_di/containers/opening.py",
            "import aiohttp_cache_di_web",
            "The package does not know its adapters",
        ),
        ("aiohttp_cache_di/misplaced.py", "", "Imports point down the layers"),
        ("aiohttp_cache_di/rfc9111/dates.py", "import aiohttp_cache_di.rfc9111.freshness", "No circle of imports"),
        (
            "aiohttp_cache_di/backends/redis/connections/wire.py",
            "import aiohttp_cache_di.backends.sqlite",
            "A store knows no other",
        ),
    ],
)
def test_a_planted_violation_is_caught(project: Path, module: str, line: str, contract: str) -> None:
    with (project / module).open("a") as source:
        source.write(f"\n{line}\n")
    linted = _lint(project)
    assert linted.returncode == 1, linted.stdout + linted.stderr
    broken = linted.stdout.partition("Broken contracts")[2]
    assert contract in broken, linted.stdout


def test_contributing_shows_the_layers_as_they_are_enforced() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    enforced = next(contract["layers"] for contract in contracts if contract["id"] == "layers")
    shown = (ROOT / "CONTRIBUTING.md").read_text().partition("```text\n")[2].partition("\n```")[0].splitlines()
    assert [line.partition("   ")[0].strip() for line in shown] == enforced
