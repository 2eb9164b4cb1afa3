"""A project of a user's, with tests that run in a process of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Project", "Run"]

WITHIN_S = 60
CONFIG = "[pytest]\nfilterwarnings = error\nasyncio_default_fixture_loop_scope = function\n"


@dataclass(frozen=True)
class Run:
    """What pytest has said."""

    code: int
    said: str

    def passed(self, count: int) -> Run:
        """Assert that *count* tests have passed, and nothing else has happened."""
        assert self.code == 0, self.said
        assert re.search(rf"^{count} passed in ", self.said, re.MULTILINE), self.said
        return self

    def failed(self, *words: str) -> Run:
        """Assert that a test has failed, saying *words*."""
        assert self.code == 1, self.said
        for word in words:
            assert word in self.said, self.said
        return self


class Project:
    """A directory with *files*, by their relative paths."""

    def __init__(self, directory: Path, files: Mapping[str, str]) -> None:
        self.directory = directory
        self.write({"pytest.ini": CONFIG, **files})

    def write(self, files: Mapping[str, str]) -> None:
        """Put *files* there."""
        for name, text in files.items():
            path = self.directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def read(self, name: str) -> str:
        """The text of the file *name*."""
        return (self.directory / name).read_text(encoding="utf-8")

    def run(self, *arguments: str, plugin: str | None = "aiohttp_cache_di_pytest", **variables: str) -> Run:
        """Run the tests, or what *arguments* say of them.

        Args:
            plugin: the only one that is loaded; "" for none, None for all that are installed.
        """
        if plugin is not None:
            variables["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
            arguments = (*(("-p", plugin) if plugin else ()), *arguments)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--color=no", *arguments],
            cwd=self.directory,
            env={**kept, "PYTHONDONTWRITEBYTECODE": "1", **variables},
            capture_output=True,
            text=True,
            check=False,
            timeout=WITHIN_S,
        )
        return Run(done.returncode, done.stdout + done.stderr)
