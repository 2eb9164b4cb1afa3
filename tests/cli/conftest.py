"""The command line, run in this process."""

from __future__ import annotations

import pytest

from aiohttp_cache_di.cli.main import main
from tests.cli.runs import Run


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """A function that runs the command line and returns its exit status, output and errors."""

    def running(*arguments: str) -> tuple[int, str, str]:
        status = main(arguments)
        said = capsys.readouterr()
        return status, said.out, said.err

    return running
