"""Format text for people: aligned columns, sizes and ages with units, and no control characters."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence

from aiohttp_cache_di.cli.drawing import drawn
from aiohttp_cache_di.units import format_duration

__all__ = ["age_of", "columns", "entries_of", "left_of", "plain", "size_of"]


def columns(rows: Sequence[Sequence[str]], *, right: Iterable[int] = ()) -> list[str]:
    """The lines of a table, the first row being its head.

    Args:
        right: the indexes of right-aligned columns.
    """
    flush = set(right)
    lines = drawn(rows, flush)
    if lines is not None:
        return lines
    widths = [max(len(row[number]) for row in rows) for number in range(len(rows[0]))]
    return [
        "  ".join(
            f"{cell:>{width}}" if number in flush else f"{cell:{width}}"
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def plain(text: str) -> str:
    """*text* with escapes for characters that are not printable: a stored URL may contain terminal commands."""
    return text if text.isprintable() else "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def entries_of(count: int) -> str:
    """*count* with its noun."""
    return "1 entry" if count == 1 else f"{count} entries"


def size_of(size_bytes: float) -> str:
    """*size_bytes* in the unit that gives a number below 1024."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size_bytes < 1024 or unit == "GiB":
            break
        size_bytes /= 1024
    return f"{size_bytes:.0f} {unit}" if unit == "B" or size_bytes >= 100 else f"{size_bytes:.1f} {unit}"


def age_of(at: float) -> str:
    """The time since *at* (POSIX time)."""
    return format_duration(max(0, round(time.time() - at)))


def left_of(until: float) -> str:
    """The time left until *until* (POSIX time), negative if that has passed."""
    if until == math.inf:
        return "for ever"
    if until == -math.inf:
        return "never"
    left_s = round(until - time.time())
    return format_duration(left_s) if left_s >= 0 else f"-{format_duration(-left_s)}"
