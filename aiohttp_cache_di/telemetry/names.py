"""What caches are called in metrics and by probes."""

from __future__ import annotations

from collections.abc import Container

__all__ = ["distinct"]


def distinct(name: str, taken: Container[str]) -> str:
    """*name*, or with a number if that is *taken*: caches may have the same one."""
    found, number = name, 1
    while found in taken:
        number += 1
        found = f"{name}-{number}"
    return found
