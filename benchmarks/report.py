"""The results of a run as tables and as JSON."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Iterable
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.aims import AIMS, Found
from benchmarks.plan import Scenario
from benchmarks.rounds import Measured

__all__ = ["aims_markdown", "aims_table", "as_json", "from_json", "judged_again", "scenario_table", "write_json"]

PACKAGES = ("aiohttp", "aiohttp-client-cache", "hishel", "httpx", "aiosqlite", "redis", "fastapi", "uvicorn")
UNITS = {
    "us": ("µs", 1.0),
    "answered_us": ("µs until answered", 1.0),
    "cpu_us": ("µs CPU", 1.0),
    "constant_us": ("µs constant", 1.0),
}


def _shown(name: str, value: float) -> str:
    unit, scale = UNITS.get(name, (name, 1.0))
    return f"{value * scale:,.{0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2}f} {unit}"


def scenario_table(scenario: Scenario, found: Found) -> str:
    """A table of a scenario: the best and the median of each subject, and the ratio of its time to the first one's."""
    figures = found[scenario.name]
    first = next(iter(figures.values())).best.get("us")
    lines = [f"{scenario.title}  [{scenario.name}]"]
    for label, measured in figures.items():
        best = ", ".join(_shown(name, value) for name, value in measured.best.items())
        median = ", ".join(_shown(name, value) for name, value in measured.median.items())
        ratio = f"{measured.best['us'] / first:8.2f}x" if first else " " * 9
        lines.append(f"  {label:<42} {ratio}  best {best}  (median {median})")
    return "\n".join(lines)


def _values(found: Found) -> Iterable[dict[str, Any]]:
    for aim in AIMS:
        try:
            value = aim.value(found)
        except KeyError:  # its scenario was not run
            continue
        yield {
            "item": aim.item,
            "text": aim.text,
            "value": value,
            "bound": aim.bound,
            "at_least": aim.at_least,
            "unit": aim.unit,
            "reached": aim.is_reached(value),
        }


def aims_table(found: Found) -> str:
    """A table of the aims, as text."""
    lines = [f"{'aim':<62}{'measured':>14}{'aimed at':>14}"]
    for aim in _values(found):
        bound = f"{'≥' if aim['at_least'] else '≤'} {_number(aim['bound'])}{aim['unit']}"
        value = f"{_number(aim['value'])}{aim['unit']}"
        verdict = "reached" if aim["reached"] else "NOT REACHED"
        lines.append(f"{aim['item']:>2}  {aim['text']:<58}{value:>14}{bound:>14}  {verdict}")
    return "\n".join(lines)


def aims_markdown(data: dict[str, Any]) -> str:
    """A table of the aims in the JSON of a run, as Markdown."""
    lines = ["| | aim | measured | aimed at | |", "|---|---|---:|---:|---|"]
    for aim in data["aims"]:
        bound = f"{'≥' if aim['at_least'] else '≤'} {_number(aim['bound'])}{aim['unit']}"
        value = f"{_number(aim['value'])}{aim['unit']}"
        verdict = "reached" if aim["reached"] else "**not reached**"
        lines.append(f"| {aim['item']} | {aim['text']} | {value} | {bound} | {verdict} |")
    return "\n".join(lines)


def _number(value: float) -> str:
    if not math.isfinite(value):
        return str(value)
    text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def as_json(found: Found, *, is_quick: bool, took_s: float) -> dict[str, Any]:
    """All figures, with the machine, the versions of packages and the duration of the run in seconds."""
    versions: dict[str, str] = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "quick": is_quick,
        "took_s": round(took_s),
        "load_average": os.getloadavg()[1],
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
        "versions": versions,
        "scenarios": {
            name: {label: asdict(measured) for label, measured in figures.items()} for name, figures in found.items()
        },
        "aims": list(_values(found)),
    }


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write *data* with a line for each value, so that two runs can be compared by diff."""
    path.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n")


def from_json(data: dict[str, Any]) -> Found:
    """The figures in the JSON of a run."""
    return {
        name: {label: Measured(**measured) for label, measured in figures.items()}
        for name, figures in data["scenarios"].items()
    }


def judged_again(data: dict[str, Any]) -> dict[str, Any]:
    """*data*, the JSON of a run, compared with the current aims."""
    return {**data, "aims": list(_values(from_json(data)))}
