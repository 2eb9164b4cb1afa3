"""What a terminal shows beside text: tables and progress bars, drawn by rich (extra ``cli``) where it is installed.

They are for people. Where the output is no terminal, or rich is missing, there is plain text, and rich is not imported.
rich knows NO_COLOR, terminals that can do nothing, and how wide they are.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, TypeAlias

__all__ = ["Advance", "drawn", "progress"]

Advance: TypeAlias = Callable[[int], None]
"""Told how much more is done."""


def drawn(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> list[str] | None:
    """The lines of a table whose first row is its head, for the terminal that is there; None where plain text does.

    Args:
        right: numbers of the columns that are flush right.
    """
    if not _is_terminal(sys.stdout):
        return None
    rich = _rich("rich.console", "rich.table", "rich.text", "rich.box")
    if rich is None:
        return None
    consoles, tables, texts, boxes = rich
    console = consoles.Console()
    is_utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    table = tables.Table(box=boxes.SIMPLE_HEAD if is_utf8 else boxes.ASCII2, pad_edge=False, header_style="bold")
    head, *others = rows
    for number, title in enumerate(head):
        is_last = number == len(head) - 1
        justify = "right" if number in right else "left"
        table.add_column(texts.Text(title), justify=justify, no_wrap=not is_last, overflow="fold")
    for row in others:
        table.add_row(*map(texts.Text, row))  # as it is: what is stored is no markup
    with console.capture() as capture:
        console.print(table)
    said: str = capture.get()
    return [line.rstrip() for line in said.split("\n") if line.strip()]


@contextmanager
def progress(what: str, total: int | None = None, *, quiet: bool = False, counts: bool = False) -> Generator[Advance]:
    """Show on standard error how far *what* has come, while it lasts; gives what is to be told of each step.

    Args:
        total: how much there is to do, None where that is not known.
        quiet: draw nothing, as for scripts.
        counts: count in plain text where nothing can be drawn and there is a terminal.
    """
    is_terminal = _is_terminal(sys.stderr)
    rich = _rich("rich.progress", "rich.console") if is_terminal and not quiet else None
    if rich is not None:
        bars, consoles = rich
        with bars.Progress(console=consoles.Console(stderr=True), transient=True) as bar:
            task = bar.add_task(what, total=total)
            yield lambda done: bar.update(task, advance=done)
        return
    count = 0

    def tell(done: int) -> None:
        nonlocal count
        count += done
        if counts and is_terminal:
            print(f"\r{count} of {total}", end="", file=sys.stderr, flush=True)

    yield tell
    if counts and is_terminal:
        print(file=sys.stderr)


def _is_terminal(stream: Any) -> bool:
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"


def _rich(*names: str) -> list[Any] | None:
    """Modules of rich, which is imported here and only when something is drawn; None where it is missing."""
    try:
        return [import_module(name) for name in names]
    except ImportError:
        return None
