"""The commands of docs/operations.md are commands: each one runs, and ends as the page says."""

from __future__ import annotations

import asyncio
import re
import shlex
from pathlib import Path

import pytest
from msgspec.structs import replace

from aiohttp_cache_di.backends.sqlite import SQLiteBackend
from aiohttp_cache_di.cli.main import main
from tests.backends.entries import make_entry
from tests.integrations.origin import running_origin

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
COMMANDS = list(dict.fromkeys(re.findall(r"^\|[^|]*\| `aiohttp-cache ([^`]*)` \|", PAGE, re.MULTILINE)))
URL = "https://api.example.org/items"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache with a response of the page's host."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND", "sqlite")
    monkeypatch.setenv("AIOHTTP_CACHE_SQLITE__PATH", "cache.sqlite")

    async def fill() -> None:
        backend = SQLiteBackend("cache.sqlite")
        await backend.write(replace(make_entry("a" * 40), url=URL))
        await backend.close()

    asyncio.run(fill())


def test_the_page_has_a_runbook() -> None:
    assert len(COMMANDS) >= 12


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_runbook_does_what_it_says(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with running_origin() as origin:
        if command.startswith("warm"):  # the one command that asks the origin
            command = command.replace("https://api.example.org", origin.url)
        assert main(shlex.split(command)) == 0
    said = capsys.readouterr()
    assert said.out
    assert said.err == ""
    if "only-if-cached" in command:
        assert "only: yes" in said.out or "Serve" in said.out
    if "--dry-run" in command:
        assert said.out.startswith("1 entries")
