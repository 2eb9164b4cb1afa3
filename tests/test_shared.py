"""What happens to a server that the whole test run shares and that no longer answers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.shared import revive, shared
from tests.valkey import ValkeyServer

ROOT = Path(__file__).parent.parent


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[ValkeyServer, ValkeyServer]]:
    """Two servers that are shared as one, like those of a cluster."""
    places = [tmp_path / "first", tmp_path / "second"]
    for place in places:
        place.mkdir()
    with ValkeyServer(places[0]) as first, ValkeyServer(places[1]) as second, shared("two", [first, second]):
        yield first, second


def test_only_a_server_that_does_not_answer_is_restarted_and_named(two: tuple[ValkeyServer, ValkeyServer]) -> None:
    first, second = two
    pids = first.pid, second.pid
    assert revive() == ""
    second.pause()
    said = revive(within_s=0.1)
    assert said.startswith(f"two: valkey at {second.url} does not answer; it is restarted.")
    assert first.url not in said
    assert (first.pid, second.answers()) == (pids[0], True)
    assert second.pid != pids[1]


def test_a_server_that_has_ended_is_restarted_and_said_to_have_ended(two: tuple[ValkeyServer, ValkeyServer]) -> None:
    first, _ = two
    assert first.process is not None
    first.process.kill()
    first.process.wait()
    assert "does not answer and has ended with status -9; it is restarted." in revive(within_s=0.1)
    assert first.answers()


TESTS = """
def test_one(valkey):
    valkey.pause()
    raise AssertionError("a failure of its own")

def test_another(valkey):
    assert valkey.answers()
"""


def test_the_report_of_a_failed_test_names_the_server_and_the_next_test_has_it_again(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    plugins = [
        "-p",
        "tests.conftest",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(ROOT),
        "-c",
        str(ROOT / "pyproject.toml"),
    ]
    command = [sys.executable, "-m", "pytest", "-q", *plugins, "--basetemp", str(tmp_path / "made"), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert "1 failed, 1 passed" in done.stdout
    assert "valkey: valkey at redis://127.0.0.1:" in done.stdout
    assert "does not answer; it is restarted." in done.stdout
