"""The commands of docs/operations.md are commands: each one runs, and ends as the page says."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
from pathlib import Path
from typing import cast

import pytest
from msgspec.structs import replace

from aiohttp_cache_di.backends.sqlite import SQLiteBackend
from aiohttp_cache_di.cli.main import main
from aiohttp_cache_di.entries.info import EntryInfo
from tests.backends.entries import make_entry
from tests.cli.runs import Run
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


FIELDS = dict(re.findall(r"^\| `(\w+)` \| ((?:a list of |the same, each with )?`\w+`[^\n]*) \|$", PAGE, re.MULTILINE))
"""What ``--json`` of each command gives, as the page has it."""

ASKED = {
    "settings": "",
    "check": "",
    "stats": "",
    "explain": URL,
    "purge": "--dry-run --all",
    "prune": "",
    "copy": "--to-prefix NEW_CACHE_",
}


def _names_in(told: object) -> set[str]:
    if isinstance(told, dict):
        named = cast("dict[str, object]", told)
        return set(named).union(*map(_names_in, named.values()))
    return set[str]().union(*map(_names_in, cast("list[object]", told))) if isinstance(told, list) else set()


@pytest.mark.parametrize("command", [*ASKED, "warm"])
def test_the_page_has_each_field_of_the_json(
    command: str, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NEW_CACHE_SQLITE__PATH", str(tmp_path / "new.sqlite"))
    with running_origin() as origin:
        arguments = shlex.split(ASKED[command]) if command in ASKED else [f"{origin.url}/a"]
        status, said, _ = run(command, *arguments, "--json")
    of_entries = {"url", *json.loads(run("ls", "--json")[1])[0]} if command == "explain" else set[str]()
    documented = set(re.findall(r"`([a-z_]+)`", FIELDS[command].partition("; from an older")[0]))
    assert status == 0
    assert _names_in(json.loads(said)) - of_entries == documented - of_entries - {"ls", "stored", "failed"} | (
        {"stored"} if command == "explain" else set()
    )


def test_the_json_of_entries_has_the_fields_of_entry_info(run: Run) -> None:
    documented = set(EntryInfo.__struct_fields__) - {"tagging"}
    assert all(f"`{name}`" in PAGE for name in documented)
    assert set(json.loads(run("ls", "--json")[1])[0]) == documented
    assert set(json.loads(run("show", URL, "--json")[1])[0]) == {*documented, "headers"}


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
        assert said.out.startswith("1 entry")
