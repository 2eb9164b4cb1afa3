"""The scripts: what a second run needs, and what is said of an upstream that is dead."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integrations.origin import running_origin

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parent.parent.parent
DEAD = "http://127.0.0.1:1/"  # no one listens at port 1, which takes privileges


def _ran(module: str, *given: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", f"examples.{module}", *given],
        cwd=folder,
        env={**os.environ, "XDG_CACHE_HOME": str(folder), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def _complaint(ran: subprocess.CompletedProcess[str]) -> str:
    """What was said of the run, but for a word of a storage that a busy machine has kept waiting."""
    lines = ran.stderr.splitlines(keepends=True)
    return "".join(line for line in lines if "has failed (read: timeout)" not in line)


def _run(url: str, folder: Path) -> str:
    ran = _ran("script", url, folder=folder)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    return ran.stdout


def test_the_second_run_is_answered_from_the_users_cache_directory(tmp_path: Path) -> None:
    with running_origin() as origin:
        assert _run(f"{origin.url}/page", tmp_path) == f"200 1 bytes from the origin: {origin.url}/page\n"
        assert _run(f"{origin.url}/page", tmp_path) == f"200 1 bytes from the cache: {origin.url}/page\n"
        assert origin.hits == 1
    (database,) = tmp_path.rglob("*.sqlite")
    assert database.stat().st_mode & 0o777 == 0o600


def test_an_upstream_that_is_dead_is_named_and_the_other_urls_are_fetched(tmp_path: Path) -> None:
    with running_origin() as origin:
        ran = _ran("script", DEAD, f"{origin.url}/page", folder=tmp_path)
    assert ran.returncode == 1
    assert _complaint(ran).startswith("ClientConnectorError: Cannot connect to host 127.0.0.1:1 ")
    assert _complaint(ran).count("\n") == 1
    assert ran.stdout == f"200 1 bytes from the origin: {origin.url}/page\n"


@pytest.mark.parametrize(
    ("given", "said"), [([DEAD, "{ a }"], "ClientConnectorError: Cannot connect to host 127.0.0.1:1 "), ([], "usage: ")]
)
def test_the_graphql_client_says_in_a_line_what_is_wrong(given: list[str], said: str, tmp_path: Path) -> None:
    ran = _ran("graphql_client", *given, folder=tmp_path)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert _complaint(ran).startswith(said)
    assert _complaint(ran).count("\n") == 1
