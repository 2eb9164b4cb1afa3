"""Compare hits and misses on several interpreters: ``python -m benchmarks.interpreters PYTHON …``.

Each PYTHON is the path of an interpreter with this package and the group ``bench`` installed, followed by ``+uvloop``
to run on uvloop. The others are compared with the first by CPU time. The interpreter of this command runs the origin
and the servers. The build of an interpreter may matter as much as its version.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks.rounds import Subject, measure
from benchmarks.services import Services

__all__ = ["KINDS", "RESULTS", "main"]

RESULTS = Path(__file__).parent / "results" / "interpreters.json"
HITS, MISSES = {"urls": 200, "target_s": 0.1}, {"requests": 250, "tasks": 32}
KINDS: Mapping[str, tuple[str, Subject, Mapping[str, Any]]] = {
    "hit in memory": ("hits", Subject("", "ours"), HITS),
    "hit in memory, middleware only": ("hits", Subject("", "ours-middleware"), HITS),
    "hit in SQLite, as installed": ("hits", Subject("", "ours", {"store": "sqlite"}), HITS),
    "hit in SQLite, from the file, 64 tasks": (
        "hits",
        Subject("", "ours", {"store": "sqlite", "near_tier": False}),
        {**HITS, "tasks": 64},
    ),
    "aiohttp alone, 32 tasks": ("misses", Subject("", "aiohttp"), MISSES),
    "miss, memory, 32 tasks": ("misses", Subject("", "ours"), MISSES),
    "miss, SQLite, 32 tasks": ("misses", Subject("", "ours", {"store": "sqlite"}), MISSES),
}
"""Workload, subject and parameters, by title."""

ROUNDS = 12
_NAME = """import platform, sys
gil = getattr(sys, "_is_gil_enabled", lambda: True)()
build = "" if "t" not in getattr(sys, "abiflags", "") else "t with the GIL" if gil else "t"
print(platform.python_version() + build)"""


def _named(python: str) -> tuple[str, str, bool]:
    """The label and the path of an interpreter, and whether it runs on uvloop."""
    path, _, loop = python.partition("+")
    name = subprocess.run([path, "-c", _NAME], check=True, capture_output=True, text=True).stdout.strip()
    return f"{name}, uvloop" if loop else name, path, bool(loop)


def main() -> None:
    """Measure, and write the figures to a file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.interpreters", description=__doc__)
    parser.add_argument("pythons", nargs="+", metavar="PYTHON")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the figures go")
    arguments = parser.parse_args()
    interpreters = [_named(python) for python in arguments.pythons]
    found: dict[str, dict[str, Any]] = {}
    with Services() as services:
        for title, (workload, subject, parameters) in KINDS.items():
            subjects = [
                replace(subject, label=label, python=path, uvloop=uvloop) for label, path, uvloop in interpreters
            ]
            figures = measure(subjects, workload, parameters, ROUNDS, services.place)
            found[title] = {label: asdict(measured) for label, measured in figures.items()}
            services.clear()
            print(
                title, {label: round(measured.median["cpu_us"], 2) for label, measured in figures.items()}, flush=True
            )
    arguments.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
