"""What caches are called in logs, in metrics and by probes."""

from __future__ import annotations

from collections.abc import Container
from pathlib import PurePath

__all__ = ["distinct", "short"]

SUFFIX = ".sqlite"


def short(name: str) -> str:
    """*name*, without the directories of a cache that is called like its file."""
    last = PurePath(name).name
    return last.removesuffix(SUFFIX) if last and last != name else name


def distinct(name: str, taken: Container[str]) -> str:
    """*name* in short, with a number if that is *taken*: caches may have the same one."""
    found, number = short(name), 1
    while found in taken:
        number += 1
        found = f"{short(name)}-{number}"
    return found
