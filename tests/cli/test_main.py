"""The command line, in this process and as the real command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import aiohttp_cache_di_command
from aiohttp_cache_di import CacheBackend, CacheSettings
from aiohttp_cache_di.cli.main import main
from aiohttp_cache_di.cli.running import Cache
from aiohttp_cache_di.settings.report import variables_table

pytestmark = pytest.mark.usefixtures("no_variables")


def run(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "aiohttp_cache_di", *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_command_shows_each_setting_and_where_it_came_from(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("AIOHTTP_CACHE_EXPIRE_AFTER=300\n")

    done = run(
        "settings",
        cwd=tmp_path,
        AIOHTTP_CACHE_BACKEND="redis",
        AIOHTTP_CACHE_REDIS__URL="redis://app:hunter2@cache:6379/1",
    )
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}

    assert (done.returncode, done.stderr) == (0, "")
    assert rows["AIOHTTP_CACHE_BACKEND"] == ["redis", "environment"]
    assert rows["AIOHTTP_CACHE_EXPIRE_AFTER"] == ["5m", ".env"]
    assert rows["AIOHTTP_CACHE_CACHE_CONTROL"] == ["true", "default"]
    assert rows["AIOHTTP_CACHE_REDIS__URL"] == ["redis://app:***@cache:6379/1", "environment"]
    assert "hunter2" not in done.stdout


def test_the_command_refuses_a_wrong_setting_without_a_traceback(tmp_path: Path) -> None:
    done = run("settings", cwd=tmp_path, AIOHTTP_CACHE_BACKEND="redsi")

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        "AIOHTTP_CACHE_BACKEND='redsi': "
        "it accepts memory, sqlite, redis, filesystem, dynamodb, mongodb or package.module:Class\n"
    )


def test_a_reader_that_has_gone_is_no_error(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "aiohttp_cache_di", "settings"],
        cwd=tmp_path,
        stdout=write_end,
        stderr=subprocess.PIPE,
        check=False,
        timeout=60,
    )
    os.close(write_end)

    assert (done.returncode, done.stderr) == (0, b"")


def test_a_list_as_json_is_printed_entry_by_entry(capsys: pytest.CaptureFixture[str]) -> None:
    printed: list[str] = []

    def entries(count: int) -> Iterator[dict[str, int]]:
        for number in range(count):
            printed.append(capsys.readouterr().out)
            yield {"number": number}

    backend = CacheBackend()
    for count in (0, 1, 3):
        printed.clear()
        Cache(backend, CacheSettings(backend="memory"), as_json=True).tell(entries(count), list)
        printed.append(capsys.readouterr().out)
        assert json.loads("".join(printed)) == [{"number": number} for number in range(count)]
    assert all(printed[1:])  # each before the next is asked for


def test_settings_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["settings", "--json"]) == 0

    rows = json.loads(capsys.readouterr().out)

    assert {"variable": "AIOHTTP_CACHE_BACKEND", "value": "sqlite", "source": "default"} in rows


def test_without_a_changed_setting_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["settings", "--changed", "--prefix", "WEATHER_CACHE_"]) == 0

    assert capsys.readouterr().out == "all settings have their defaults\n"


def test_changed_settings_alone_are_shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEATHER_CACHE_BACKEND", "memory")

    assert main(["settings", "--changed", "--prefix", "WEATHER_CACHE_"]) == 0

    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["VARIABLE", "VALUE", "FROM"],
        ["WEATHER_CACHE_BACKEND", "memory", "environment"],
    ]


def test_the_table_of_all_variables(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["settings", "--markdown"]) == 0

    assert capsys.readouterr().out == variables_table()


def test_the_table_does_not_depend_on_the_machine(tmp_path: Path) -> None:
    assert str(Path.home()) not in variables_table()


def test_a_missing_env_file_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["settings", "--env-file", "missing.env"]) == 2

    assert capsys.readouterr().err == "env_file='missing.env': there is no such file\n"


def test_no_command_is_refused_with_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([])

    assert caught.value.code == 2
    assert "usage: aiohttp-cache" in capsys.readouterr().err


def test_showing_settings_does_not_load_the_container() -> None:
    code = "import sys, aiohttp_cache_di.cli.main; sys.exit('dependency_injector' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_what_begins_the_program_is_there_before_the_cache_is_imported() -> None:
    code = "import sys, aiohttp_cache_di_command; sys.exit('aiohttp_cache_di' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_an_interrupt_while_the_cache_is_imported_ends_cleanly(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupted(ModuleType):
        def __getattr__(self, name: str) -> object:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "aiohttp_cache_di.cli.main", Interrupted("main"))

    assert aiohttp_cache_di_command.main() == 130
    assert capsys.readouterr().err == "\naiohttp-cache: interrupted\n"


def test_the_program_runs_the_command_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["aiohttp-cache", "settings", "--markdown"])

    assert aiohttp_cache_di_command.main() == 0
    assert capsys.readouterr().out == variables_table()
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"aiohttp-cache": "aiohttp_cache_di_command:main"}
