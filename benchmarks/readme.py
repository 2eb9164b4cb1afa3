"""The tables of `README.md` beside this file, made from what a run has left: ``python -m benchmarks.readme``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks.plan import OURS, Found
from benchmarks.report import aims_markdown, from_json, judged_again, write_json

__all__ = ["PAGE", "RESULTS", "filled", "main"]

PAGE = Path(__file__).with_name("README.md")
RESULTS = Path(__file__).parent / "results" / "results.json"
NOTHING = "-"


def _us(found: Found, scenario: str, subject: str, *, median: bool = False) -> str:
    """A time in microseconds, with three digits."""
    measured = found[scenario].get(subject)
    if measured is None:
        return NOTHING
    value = (measured.median if median else measured.best)["us"]
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    return "\n".join([_row(head), f"|---|{'---:|' * (len(head) - 1)}", *map(_row, rows)])


def _entries(found: Found) -> str:
    counts = ("1,000", "100,000", "1,000,000")
    return _table(
        ["entries", *counts],
        [
            [title, *(_us(found, scenario, count) for count in counts)]
            for title, scenario in (
                ("memory, through the middleware", "entries-memory"),
                ("SQLite, one at a time", "entries-sqlite"),
            )
        ],
    )


def _bodies(found: Found) -> str:
    sizes = ("1,000 B", "10,000 B", "100,000 B", "1,000,000 B")
    return _table(
        ["body", "1 kB", "10 kB", "100 kB", "1 MB"],
        [
            [store, *(_us(found, "body", f"{store} {size}") for size in sizes)]
            for store in ("memory", "SQLite", "Redis")
        ],
    )


def _concurrency(found: Found) -> str:
    rows = [
        [title, *(_us(found, f"{store}-{tasks}", subject) for subject in (label, "floor") for tasks in (1, 64, 1000))]
        for title, store, label in (
            ("SQLite as installed", "sqlite", f"{OURS} as installed"),
            ("SQLite, from the file", "sqlite", OURS),
            ("Redis", "redis", OURS),
        )
    ]
    return _table(["per hit", "1 task", "64", "1,000", "floor: 1", "64", "1,000"], rows)


def _misses(found: Found) -> str:
    figures = found["miss"]
    rows = [
        [
            label.replace(OURS, "this package,"),
            f"{measured.best['us']:,.0f}",
            f"{measured.best['us'] - figures['httpx' if label.startswith('hishel') else 'aiohttp'].best['us']:,.0f}",
        ]
        for label, measured in figures.items()
    ]
    return _table(["", "per request", "added to aiohttp (hishel: to httpx)"], rows)


def _routes(found: Found) -> str:
    rows = [
        [label, f"{1e6 / measured.median['us']:,.0f}", f"{100 * (1 - measured.median['lost']):.0f} %"]
        for label, measured in found["fastapi"].items()
    ]
    return _table(["", "requests/s", "of the same app's constant route"], rows)


TABLES: dict[str, Callable[[Found], str]] = {
    "entries": _entries,
    "bodies": _bodies,
    "concurrency": _concurrency,
    "misses": _misses,
    "routes": _routes,
}


def filled(page: str, data: dict[str, Any]) -> str:
    """*page* with the figures of the run *data* in its tables."""
    found = from_json(data)
    tables = {"aims": aims_markdown(data)} | {name: make(found) for name, make in TABLES.items()}
    for name, table in tables.items():
        page, count = re.subn(rf"(<!-- {name} -->\n).*?(<!-- end -->)", rf"\g<1>{table}\n\g<2>", page, flags=re.DOTALL)
        if count != 1:
            raise ValueError(f"the page has {count} places for the table {name!r}, not one")
    return page


def main() -> None:
    """Judge the run anew, and put its figures into the page."""
    data = judged_again(json.loads(RESULTS.read_text()))
    write_json(RESULTS, data)
    PAGE.write_text(filled(PAGE.read_text(), data))


if __name__ == "__main__":
    main()
