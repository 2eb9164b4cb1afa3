"""The names of caches in logs, metrics and probes."""

from __future__ import annotations

from collections.abc import Container
from pathlib import PurePath

__all__ = ["distinct", "short"]

SUFFIX = ".sqlite"


def short(name: str) -> str:
    """*name* without directories and suffix, for a cache that is named like its database file."""
    last = PurePath(name).name
    return last.removesuffix(SUFFIX) if last and last != name else name


def distinct(name: str, taken: Container[str]) -> str:
    """`short` of *name*, with a number if that is *taken* by another cache."""
    found, number = short(name), 1
    while found in taken:
        number += 1
        found = f"{short(name)}-{number}"
    return found
