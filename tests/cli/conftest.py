"""The command line, run in this process."""

from __future__ import annotations

import pytest

from aiohttp_cache_di.cli.main import main
from tests.cli.runs import Run


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line, and give its status and what it said."""

    def running(*arguments: str) -> tuple[int, str, str]:
        status = main(arguments)
        said = capsys.readouterr()
        return status, said.out, said.err

    return running
