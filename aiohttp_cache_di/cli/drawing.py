"""Tables and progress bars on a terminal, drawn by rich (extra ``cli``) if it is installed.

Without a terminal or without rich the output is plain text, and rich is not imported. rich respects NO_COLOR, the width
of the terminal, and what it is capable of.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Final, TypeAlias

__all__ = ["Advance", "drawn", "progress"]

Advance: TypeAlias = Callable[[int], None]
"""A function to call with the number of items that are done since the last call."""


SEPARATOR: Final = "   "  # as wide as what rich puts between two columns
LEAST_LAST: Final = 8  # the least characters into which a URL may be broken


def drawn(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> list[str] | None:
    """The lines of a table for the terminal, the first row being its head; None if plain text is to be printed.

    It also is if the table does not fit: rich would cut values off, and leave out the last column.

    Args:
        right: the indexes of right-aligned columns.
    """
    if not _is_terminal(sys.stdout):
        return None
    rich = _rich("rich.console", "rich.table", "rich.text", "rich.box")
    if rich is None:
        return None
    consoles, tables, texts, boxes = rich
    console = consoles.Console()
    if _narrowest(rows) > console.width:
        return None
    is_utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    table = tables.Table(box=boxes.SIMPLE_HEAD if is_utf8 else boxes.ASCII2, pad_edge=False, header_style="bold")
    head, *others = rows
    for number, title in enumerate(head):
        is_last = number == len(head) - 1
        justify = "right" if number in right else "left"
        table.add_column(texts.Text(title), justify=justify, no_wrap=not is_last, overflow="fold")
    for row in others:
        table.add_row(*map(texts.Text, row))  # literal text: stored values are not markup of rich
    with console.capture() as capture:
        console.print(table)
    said: str = capture.get()
    return [line.rstrip() for line in said.split("\n") if line.strip()]


def _narrowest(rows: Sequence[Sequence[str]]) -> int:
    """The characters that a table of *rows* needs; only the cells of its last column may be broken."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return sum(widths[:-1]) + len(SEPARATOR) * (len(widths) - 1) + min(widths[-1], LEAST_LAST)


@contextmanager
def progress(what: str, total: int | None = None, *, quiet: bool = False, counts: bool = False) -> Generator[Advance]:
    """Show the progress of *what* on standard error; yields the function to call after each step.

    Args:
        total: the number of items, None if unknown.
        quiet: draw nothing, as for scripts.
        counts: on a terminal without rich, count in plain text.
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
    """Import modules of rich; None if it is not installed."""
    try:
        return [import_module(name) for name in names]
    except ImportError:
        return None
