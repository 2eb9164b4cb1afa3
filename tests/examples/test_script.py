"""The script: its second run needs no network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integrations.origin import running_origin

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parent.parent.parent


def _run(url: str, folder: Path) -> str:
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-m", "examples.script", url],
        cwd=ROOT,
        env={**os.environ, "XDG_CACHE_HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
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
