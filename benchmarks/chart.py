"""The chart of the README, drawn from results.json: ``python -m benchmarks.chart``."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

__all__ = ["draw"]

OURS, RELATIVE, HISHEL, FLOOR = "aiohttp-cache-di", "aiohttp-client-cache", "hishel", "floor"
COLOURS = {OURS: "#1a7f64", RELATIVE: "#c0733d", HISHEL: "#7d6bb0", FLOOR: "#9aa3ab"}
GROUPS: tuple[tuple[str, str, Mapping[str, str]], ...] = (
    ("Hit in memory", "memory", {FLOOR: FLOOR, OURS: OURS, RELATIVE: RELATIVE}),
    *(
        (f"Hit in {name}, {tasks}", f"{store}-{number}", {label: label for label in (FLOOR, OURS, RELATIVE, HISHEL)})
        for name, store in (("SQLite", "sqlite"), ("Redis", "redis"))
        for tasks, number in (("one at a time", 1), ("64 tasks", 64))
    ),
    ("Miss, SQLite, 32 tasks", "miss", {f"{name} sqlite": name for name in (OURS, RELATIVE, HISHEL)}),
)
LETTER = 8.0  # pixels per letter of a bold label, in the widest of the possible fonts
LEFT, BARS, RIGHT = round(max(len(title) for title, _, _ in GROUPS) * LETTER) + 20, 480, 90
WIDTH = LEFT + BARS + RIGHT
BAR, GAP, TOP = 13, 16, 56
LEAST_US = 1.0


def _text(x: float, y: float, text: str, *, anchor: str = "start", weight: str = "normal") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" font-weight="{weight}">{escape(text)}</text>'


def _duration(us: float) -> str:
    if us >= 1000:
        return f"{us / 1000:.1f} ms"
    return f"{us:.0f} µs" if us >= 10 else f"{us:.1f} µs"


def _bars(data: Mapping[str, Any]) -> Iterable[tuple[str, list[tuple[str, float]]]]:
    for title, scenario, subjects in GROUPS:
        figures = data["scenarios"].get(scenario, {})
        found = [(name, figures[label]["best"]["us"]) for label, name in subjects.items() if label in figures]
        if found:
            yield title, found


def draw(data: Mapping[str, Any]) -> str:
    """Draw the times of each implementation, on a logarithmic axis, as SVG."""
    groups = list(_bars(data))
    most_us = max(us for _, bars in groups for _, us in bars)
    scale = BARS / math.log10(most_us / LEAST_US)
    shapes: list[str] = []
    y = TOP
    for title, bars in groups:
        shapes.append(_text(LEFT - 10, y + len(bars) * BAR / 2 + 4, title, anchor="end", weight="600"))
        for name, us in bars:
            width = max(2.0, math.log10(us / LEAST_US) * scale)
            colour = COLOURS[name]
            shapes.append(f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR - 2}" rx="2" fill="{colour}"/>')
            shapes.append(_text(LEFT + width + 6, y + BAR - 3, _duration(us)))
            y += BAR
        y += GAP
    lines = [
        f'<line x1="{LEFT + power * scale:.1f}" y1="{TOP - 6}" x2="{LEFT + power * scale:.1f}" y2="{y - GAP}" '
        'stroke="#8888" stroke-dasharray="2 3"/>'
        for power in range(1 + int(math.log10(most_us / LEAST_US)))
    ]
    legend: list[str] = []
    x = 10
    for name, colour in COLOURS.items():
        legend += [f'<rect x="{x}" y="14" width="11" height="11" rx="2" fill="{colour}"/>', _text(x + 16, 24, name)]
        x += 40 + 7 * len(name)
    note = f"10 kB bodies, time per request, logarithmic; Python {data['python']}, {data['system']}"
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 14}" '
            'font-family="system-ui, sans-serif" font-size="12">',
            # With its own background, because the page may be dark when the system is not.
            "<style>text { fill: #24292f } .ground { fill: #ffffff } @media (prefers-color-scheme: dark) "
            "{ text { fill: #d0d7de } .ground { fill: #161b22 } }</style>",
            f'<rect class="ground" width="{WIDTH}" height="{y + 14}" rx="6"/>',
            *legend,
            *lines,
            *shapes,
            _text(10, y + 4, note),
            "</svg>\n",
        )
    )


if __name__ == "__main__":
    results = Path(__file__).parent / "results"
    (results / "chart.svg").write_text(draw(json.loads((results / "results.json").read_text())))
