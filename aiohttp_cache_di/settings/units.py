"""Durations and sizes as people write them: ``5m``, ``1h30m``, ``64MiB``."""

from __future__ import annotations

import re
from typing import Final

from aiohttp_cache_di.policy.durations import UNIT_S, parse_duration

__all__ = ["format_duration", "format_size", "parse_duration", "parse_size"]

_UNIT_BYTES: Final = {
    "b": 1,
    "kb": 1000,
    "mb": 1000**2,
    "gb": 1000**3,
    "kib": 1024,
    "mib": 1024**2,
    "gib": 1024**3,
}
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([kmg]?i?b)?", re.ASCII | re.IGNORECASE)


def parse_size(text: str) -> int:
    """Read a size in bytes: a plain number, or one with a unit (``64MiB``, ``1.5 GB``).

    Raises:
        ValueError: *text* is neither, or not a whole number of bytes.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None or (found[2] or "b").lower() not in _UNIT_BYTES:
        raise ValueError("not a size")
    size = float(found[1]) * _UNIT_BYTES[(found[2] or "b").lower()]
    if not size.is_integer():
        raise ValueError("not a whole number of bytes")
    return int(size)


def format_duration(seconds: float) -> str:
    """Write *seconds* so that `parse_duration` reads the same: ``1h30m``, ``0.25s`` as ``250ms``."""
    if seconds < 0 or round(seconds, 3) != seconds:
        return f"{seconds:.9f}".rstrip("0").rstrip(".")
    rest_ms = round(seconds * 1000)
    parts: list[str] = []
    for unit, unit_s in UNIT_S.items():
        count, rest_ms = divmod(rest_ms, round(unit_s * 1000))
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def format_size(size_bytes: int) -> str:
    """Write *size_bytes* in the largest binary unit that leaves a whole number: ``64MiB``."""
    for unit in ("GiB", "MiB", "KiB"):
        factor = _UNIT_BYTES[unit.lower()]
        if size_bytes and size_bytes % factor == 0:
            return f"{size_bytes // factor}{unit}"
    return f"{size_bytes}B"
