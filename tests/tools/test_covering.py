"""The cases of a test are measured until a few of them have reached nothing new."""

# tests may block
from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from examples.demo.services import PROJECT
from tests.covering import IN_VAIN

PLUGIN = """
from tests.covering import Measured

def pytest_configure(config):
    config.pluginmanager.register(Measured())
"""
MEASURED = """
def two_ways(number):
    if number == 2:
        return "new"
    return "usual"
"""
TESTS = """
import pytest
import measured

@pytest.mark.parametrize("number", range(9))
def test_cases(number, request):
    print("measured" if request.node.get_closest_marker("no_cover") is None else "not measured", end=";")
    measured.two_ways(number)

def test_another(request):
    print("measured" if request.node.get_closest_marker("no_cover") is None else "not measured", end=";")
"""


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="coverage takes no time there, and every case is measured")
def test_cases_are_measured_until_a_few_have_reached_nothing_new(tmp_path: Path) -> None:
    new = 2  # the last case that reaches something
    measured, rest = ["measured"] * (new + 1 + IN_VAIN), ["not measured"] * (9 - new - 1 - IN_VAIN)
    assert decided(tmp_path, "--cov=measured", "--cov-branch") == [*measured, *rest, "measured"]


def test_every_case_is_run_where_nothing_is_measured(tmp_path: Path) -> None:
    assert decided(tmp_path) == ["measured"] * 10


def decided(folder: Path, *options: str) -> list[str]:
    for name, text in {"conftest": PLUGIN, "measured": MEASURED, "test_it": TESTS}.items():
        (folder / f"{name}.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-s", "-q", "-p", "no:cacheprovider", "--rootdir", ".", *options]
    ran = subprocess.run(
        command, cwd=folder, env={"PYTHONPATH": f"{PROJECT}:."}, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return re.findall(r"(measured|not measured);", ran.stdout)
