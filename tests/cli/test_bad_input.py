"""What cannot be meant, and stores that are not what was meant: each is said, with the value and the way out."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from aiohttp_cache_di.backends.base import CacheBackend
from tests.cli.runs import Run

WRONG = {
    "ls --host https://a.test/items": "host 'https://a.test/items': that is a URL; use its host alone, 'a.test', or",
    "ls --tag=": "--tag '': use text that is not blank",
    "ls --host *.a.test": "select by match: '*.a.test/*'",
    "ls --host a.test/items": "that is no host",
    "ls --host a.test:http": "that is no host",
    "ls --match /v1/*": "--match '/v1/*' would match no URL: begin it with a host, or with * for any",
    "ls --match ^https?://a.test/": "patterns are shell globs, not regular expressions",
    "ls --url ftp://a.test/": "use an absolute URL",
    "purge --host https://a.test/items": "that is a URL",
    "purge --match /v1/*": "--match '/v1/*' would match no URL: begin it with a host, or with * for any",
    "purge --all --host a.test --yes": "use all, or a part, and not both",
    "purge --all --expired --dry-run": "use all, or a part, and not both",
    "copy --to-prefix NEW_CACHE_ --host https://a.test/items": "that is a URL",
    "explain http://a.test/ --header no-colon": "--header 'no-colon': use 'Name: value'",
    "explain http://a.test/ --header a\0b:c": "use 'Name: value'",
    "explain http://a.test/ --header a:b\0c": "use 'Name: value'",
    "explain http://a.test/ --method <>": "--method '<>': use a method of HTTP, such as GET",
    "explain nonsense": "explain 'nonsense': use an absolute URL, such as https://api.example.org/items",
    "explain ftp://a.test/": "use an absolute URL",
    "show a.test/items": "neither a URL, such as https://api.example.org/items, nor the beginning of a key",
    "show zz": "nor the beginning of a key",
    "show ftp://a.test/": "use an absolute URL",
    "ls --older-than nan": "--older-than 'nan': use a number of seconds from 0",
    "ls --older-than=-1": "--older-than '-1': use a number of seconds from 0",
    f"ls --older-than {'9' * 400}": "use a number of seconds from 0",
    "ls --larger-than=-1": "--larger-than '-1': use a number of bytes from 0",
    "ls --larger-than nan": "use a number of bytes from 0",
    "prune --max-age nan": "--max-age 'nan': use a number of seconds from 0",
    "prune --max-age=-1": "--max-age '-1'",
    "prune --max-size=-1": "--max-size '-1': use bytes",
    "prune --max-size nan": "--max-size 'nan': use bytes",
    "ls --limit=-1": "argument --limit: '-1': use a whole number from 0 to 999999999",
    "ls --limit nan": "argument --limit: 'nan': use a whole number",
    f"stats --limit {'9' * 5000}": "use a whole number from 0",
    "warm http://a.test/ --concurrency 0": "argument --concurrency: '0': use a whole number from 1 to 999999999",
    "warm http://a.test/ --concurrency=-2": "argument --concurrency: '-2': use a whole number from 1",
    "warm http://a.test/ --concurrency 1.5": "argument --concurrency: '1.5': use a whole number",
    "warm http://a.test/ --concurrency ²": "argument --concurrency: '²': use a whole number",
    "copy --to-prefix NEW_CACHE_": "no variable begins with it; set NEW_CACHE_BACKEND at least",
    "copy --to-prefix=AIOHTTP_CACHE_": "that is the cache itself",
    "copy --to-prefix=aiohttp_cache_": "that is the cache itself",
}


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> Path:
    """A file that is there, which the variables name; and a home of its own."""
    for name in [name for name in os.environ if name.startswith(("AIOHTTP_CACHE_", "NEW_CACHE_"))]:
        monkeypatch.delenv(name)
    place = tmp_path / "cache.sqlite"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AIOHTTP_CACHE_SQLITE__PATH", str(place))
    assert run("check")[0] == 0
    return place


@pytest.mark.parametrize("given", WRONG, ids=lambda given: given[:40])
def test_what_cannot_be_meant_ends_with_2_and_the_way_out(given: str, run: Run, tmp_path: Path) -> None:
    try:
        status, said, error = run(*given.split())
    except SystemExit as refused:  # as argparse refuses what has no meaning by itself
        status, said, error = int(str(refused.code)), "", WRONG[given]
    assert (status, said, WRONG[given] in error) == (2, "", True), error
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("given", ["explain nonsense", "explain http://a.test/ --method <>", "show ftp://a.test/"])
def test_what_cannot_be_meant_is_said_before_there_is_a_store(
    given: str, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_SQLITE__PATH", str(tmp_path / "none.sqlite"))
    status, said, error = run(*given.split())
    assert (status, said) == (2, "")
    assert "nothing is stored" not in error


@pytest.mark.parametrize("command", ["check", "warm http://127.0.0.1:1/"])
def test_a_prefix_that_no_variable_has_makes_no_new_file(
    command: str, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    status, said, error = run(*command.split(), "--prefix", "TYPO_CACHE_")
    assert (status, said) == (2, "")
    assert "--prefix 'TYPO_CACHE_': no variable begins with it" in error
    assert "set TYPO_CACHE_BACKEND at least" in error
    assert not (tmp_path / "home").exists()

    monkeypatch.setenv("TYPO_CACHE_BACKEND", "sqlite")
    assert run("check", "--prefix", "TYPO_CACHE_")[0] == 0
    monkeypatch.delenv("TYPO_CACHE_BACKEND")
    assert run("check", "--prefix", "TYPO_CACHE_")[0] == 0  # the file is there, as a container with this prefix has it


def test_a_prefix_counts_before_the_command_and_after_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATES_CACHE_EXPIRE_AFTER", "5m")
    monkeypatch.setenv("GEO_CACHE_EXPIRE_AFTER", "7m")

    before, after = (
        run(*("--prefix", "RATES_CACHE_")[:n], "settings", *("--prefix", "RATES_CACHE_")[n:]) for n in (2, 0)
    )
    assert before == after
    assert before[0] == 0
    assert "RATES_CACHE_EXPIRE_AFTER" in before[1]
    assert "GEO_CACHE_EXPIRE_AFTER" in run("--prefix", "RATES_CACHE_", "settings", "--prefix", "GEO_CACHE_")[1]


def test_what_argparse_refuses_names_the_value_and_what_is_taken(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for given in [given for given, said in WRONG.items() if said.startswith("argument ")]:
        with pytest.raises(SystemExit, match="2"):
            run(*given.split())
        assert WRONG[given] in capsys.readouterr().err


@pytest.mark.parametrize("prefix", ["bad prefix", "A=B", "_", "1\0"])
@pytest.mark.parametrize("command", ["settings", "check", "ls", "warm http://a.test/"])
def test_a_prefix_that_no_variable_can_have_is_refused(prefix: str, command: str, run: Run, tmp_path: Path) -> None:
    status, said, error = run(*command.split(), "--prefix", prefix)
    assert (status, said) == (2, "")
    assert f"prefix={prefix!r}" in error
    assert run("copy", "--to-prefix", prefix)[0] == 2
    assert not (tmp_path / "home").exists()


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no place to write to: what should be directories are files."""
    (tmp_path / "file").touch()
    own = tmp_path / "tmp" / f"aiohttp-cache-di-{os.getuid()}"
    own.parent.mkdir()
    own.touch()
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "file"))
    monkeypatch.setenv("TMPDIR", str(own.parent))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.delenv("AIOHTTP_CACHE_SQLITE__PATH")


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize("backend", ["sqlite", "filesystem"])
@pytest.mark.parametrize("required", ["false", "true"])
def test_memory_that_stands_in_for_a_file_is_no_store_that_works(
    backend: str, required: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND", backend)
    monkeypatch.setenv("AIOHTTP_CACHE_REQUIRE_STORE", required)
    reason = f"responses are kept in the memory of this process; AIOHTTP_CACHE_{backend.upper()}__PATH names another"
    status, said, error = run("check")
    assert (status, said, reason in error, error.count("\n")) == (1, "", True, 1)
    status, said, error = run("check", "--json")
    told = json.loads(said)
    assert (status, told["ok"], reason in told["reason"], error) == (1, False, True, "")
    for command in ("ls", "stats", "purge --all --yes", "warm http://a.test/", "explain http://a.test/"):
        status, said, error = run(*command.split())
        assert (status, said, reason in error) == (1, "", True)


def test_memory_that_is_meant_is_tried_and_cannot_be_looked_into(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in (("SQLITE__PATH", ":memory:"), ("BACKEND", "memory")):
        monkeypatch.setenv(f"AIOHTTP_CACHE_{variable}", value)
        assert run("check")[0] == 0
        for command in ("ls", "stats", "explain http://a.test/", "warm http://a.test/"):
            status, said, error = run(*command.split())
            assert (status, said, f"AIOHTTP_CACHE_{variable}={value}" in error) == (2, "", True)


@pytest.mark.usefixtures("nowhere")
def test_nothing_is_copied_into_memory(store: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_SQLITE__PATH", str(store))
    monkeypatch.setenv("NEW_CACHE_BACKEND", "sqlite")
    status, said, error = run("copy", "--to-prefix", "NEW_CACHE_")
    assert (status, said, "kept in the memory of this process" in error) == (1, "", True)
    monkeypatch.setenv("NEW_CACHE_SQLITE__PATH", ":memory:")
    assert run("copy", "--to-prefix", "NEW_CACHE_")[0] == 2


def test_ctrl_c_while_an_answer_is_waited_for_ends_with_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

        def read(self) -> str:
            raise KeyboardInterrupt

        readline = read

    monkeypatch.setattr("sys.stdin", Terminal())
    for command in ("purge --all", "warm --file -"):
        status, _, error = run(*command.split())
        assert (status, error) == (130, "\naiohttp-cache: interrupted\n")


def test_what_a_driver_raises_is_one_line_without_a_secret(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def usage(self: CacheBackend) -> None:
        raise RuntimeError("redis://:hunter2@host is gone\nat line 3")

    monkeypatch.setattr(CacheBackend, "usage", usage)
    status, said, error = run("stats")
    assert (status, said, error.count("\n"), "hunter2" in error) == (1, "", 1, False)
    assert "cache.sqlite fails: RuntimeError" in error


LOOKS = ["ls", "stats", "show http://a.test/", "explain http://a.test/", "purge --all --dry-run", "ls --json"]


def files_beside(store: Path) -> dict[str, bytes]:
    """The files in the directory of *store*, but for SQLite's own, which it makes for its readers."""
    return {each.name: each.read_bytes() for each in store.parent.iterdir() if not each.name.endswith(("-shm", "-wal"))}


@pytest.mark.parametrize("command", LOOKS)
def test_a_look_at_a_damaged_file_says_so_and_changes_nothing(run: Run, store: Path, command: str) -> None:
    """It was set aside, as a service does that goes on with a new one."""
    store.write_bytes(b"garbage" * 1000)
    before = files_beside(store)
    status, _, error = run(*command.split())
    assert status == 1
    assert error.count("\n") == 1
    assert f"{store} " in error
    assert "DamagedError: the file is damaged: file is not a database" in error
    assert files_beside(store) == before


@pytest.mark.parametrize("command", LOOKS)
def test_a_look_at_a_file_of_another_version_drops_nothing(run: Run, store: Path, command: str) -> None:
    with closing(sqlite3.connect(store, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = DELETE")
        other.execute('UPDATE "aiohttp_cache_di" SET version = version + 1')
    before = files_beside(store)
    status, _, error = run(*command.split())
    assert (status, error.count("\n")) == (1, 1)
    assert f"{store} has no tables of this version, and is opened to be read only" in error
    assert files_beside(store) == before


@pytest.mark.parametrize("command", LOOKS[:2])
def test_a_look_at_a_file_changes_nothing_in_it(run: Run, store: Path, command: str) -> None:
    before = files_beside(store)
    assert run(*command.split())[0] == 0
    assert files_beside(store) == before


def test_a_file_that_was_damaged_is_told_where_it_is_to_be_changed(run: Run, store: Path) -> None:
    store.write_bytes(b"garbage" * 1000)
    status, _, error = run("prune", "--json")
    assert (status, error) == (
        0,
        f"warning: The cache file {store} was damaged; it is kept as {store}.corrupt-1 and a new one is begun\n"
        "warning: 1 of what is stored could not be read: damaged, foreign, made by another serializer, or signed "
        "with another key; purges by tag that are among it are not seen here\n",
    )


FULL = (1, "aiohttp-cache: the output cannot be written: No space left on device\n")


@pytest.mark.parametrize(
    ("streams", "command", "unbuffered", "ends"),
    [
        (">&-", "stats", "", (0, "")),
        ("<&-", "warm --file -", "", (2, "aiohttp-cache: --file -: it cannot be read (there is no standard input)\n")),
        (">/dev/full", "settings", "", FULL),
        (">/dev/full", "stats", "", FULL),
        (">/dev/full", "settings", "1", FULL),  # written at once, as is of much output
        (">/dev/full", "ls --json", "1", FULL),
    ],
)
def test_streams_that_are_not_there_or_full_are_no_traceback(
    streams: str, command: str, unbuffered: str, ends: tuple[int, str]
) -> None:
    if "full" in streams and not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    program = ["sh", "-c", f'exec "$@" {streams}', "sh", sys.executable, "-m", "aiohttp_cache_di", *command.split()]
    variables = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    ended = subprocess.run(program, env=variables, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stderr) == ends


def test_a_directory_that_may_not_be_looked_at_is_no_traceback(tmp_path: Path) -> None:
    if os.getuid() == 0:
        pytest.skip("root may look at everything")
    (tmp_path / "closed").mkdir(mode=0)
    variables = {**os.environ, "AIOHTTP_CACHE_SQLITE__PATH": str(tmp_path / "closed" / "cache.sqlite")}
    program = [sys.executable, "-m", "aiohttp_cache_di", "ls"]
    ended = subprocess.run(program, env=variables, capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, "Traceback" in ended.stderr) == (1, False)
