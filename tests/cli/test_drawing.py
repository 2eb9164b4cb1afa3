"""Tables and progress bars for people: drawn at a terminal where rich is installed, and plain text anywhere else."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest

from aiohttp_cache_di.cli.drawing import drawn, progress
from aiohttp_cache_di.cli.tables import columns

ROWS = [("SIZE", "URL"), ("4 B", "http://a.test/[red]x[/red]"), ("12 B", "http://a.test/" + "y" * 200)]
PLAIN = ["SIZE  URL", " 4 B  http://a.test/[red]x[/red]", "12 B  http://a.test/" + "y" * 200]


class Terminal(io.StringIO):
    """Takes what is drawn."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 80 columns that can do what most can."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")


def without_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("rich.console", "rich.table", "rich.text", "rich.box", "rich.progress"):
        monkeypatch.setitem(sys.modules, name, None)


def test_a_table_is_drawn_at_a_terminal_and_fits_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", Terminal())
    lines = columns(ROWS, right=(0,))
    assert any("\x1b[1m" in line for line in lines)
    assert any("http://a.test/[red]x[/red]" in line for line in lines)
    assert sum(line.count("y") for line in lines) == 200
    assert max(len(line) for line in lines if "\x1b" not in line) <= 80


@pytest.mark.parametrize("columns_of_terminal", [10, 30, 50])
def test_a_table_that_does_not_fit_is_plain_text_in_which_nothing_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, columns_of_terminal: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns_of_terminal))
    monkeypatch.setattr("sys.stdout", Terminal())
    row = ("GET", "200", "1023 KiB", "28m10s", "-18m10s", "27a6301efba1", "http://a.test/one")

    lines = columns([("METHOD", "STATUS", "SIZE", "AGE", "FRESH FOR", "KEY", "URL"), row])

    assert len(lines) == 2
    assert all(cell in lines[1] for cell in row)


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with progress("warming", 2) as advance:
        advance(2)
    assert "\x1b[3" not in terminal.getvalue()


@pytest.mark.parametrize("what", ["no terminal", "no rich", "dumb"])
def test_text_is_plain_anywhere_else(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    monkeypatch.setattr("sys.stdout", io.StringIO() if what == "no terminal" else Terminal())
    if what == "no rich":
        without_rich(monkeypatch)
    if what == "dumb":
        monkeypatch.setenv("TERM", "dumb")
    assert drawn(ROWS, (0,)) is None
    assert columns(ROWS, right=(0,)) == PLAIN


def test_a_bar_is_gone_when_it_is_over_also_by_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)

    def interrupted() -> None:
        with progress("warming", 2) as advance:
            advance(1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    said = terminal.getvalue()
    assert "warming" in said
    assert said.rindex("\x1b[?25h") > said.rindex("\x1b[?25l")  # the cursor is back


def test_for_scripts_and_where_there_is_no_terminal_nothing_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    for terminal, quiet in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr("sys.stderr", terminal)
        with progress("copying", 2, quiet=quiet) as advance:
            advance(2)
        assert terminal.getvalue() == ""


def test_without_rich_requests_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    without_rich(monkeypatch)
    with progress("warming", 2, counts=True) as advance:
        advance(1)
        advance(1)
    assert terminal.getvalue() == "\r1 of 2\r2 of 2\n"


def test_rich_is_not_imported_where_nothing_is_drawn() -> None:
    code = """
import sys
from aiohttp_cache_di.cli.main import main
main(["settings"])
from aiohttp_cache_di.cli.tables import columns
columns([("A",), ("b",)])
sys.exit(any(name.partition(".")[0] == "rich" for name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
