"""Durations and sizes as people write them (``5m``, ``1h30m``, ``64MiB``), and the words for none."""

from __future__ import annotations

import math
import re
from typing import Final

from aiohttp_cache_di.lazy import compiled_later

__all__ = ["format_duration", "format_size", "means_none", "parse_duration", "parse_size"]

_UNIT_S: Final = {"w": 604800.0, "d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_UNIT_BYTES: Final = {
    "b": 1,
    "kb": 1000,
    "mb": 1000**2,
    "gb": 1000**3,
    "kib": 1024,
    "mib": 1024**2,
    "gib": 1024**3,
}
_DURATION_PART: Final = compiled_later(r"(\d+(?:\.\d+)?)(ms|[wdhms])", re.ASCII)
_SIZE: Final = compiled_later(r"(\d+(?:\.\d+)?)\s*([kmg]?i?b)?", re.ASCII | re.IGNORECASE)
_NONE_WORDS: Final = frozenset({"none", "null", "off"})
_NUMBER: Final = compiled_later(r"[+-]?\d+(?:\.\d+)?", re.ASCII)


def means_none(text: str) -> bool:
    """Whether *text* is a word for None: ``none``, ``null`` or ``off``."""
    return text.strip().lower() in _NONE_WORDS


def parse_duration(text: str) -> float:
    """Read a duration in seconds: a plain number, or numbers with units from weeks to milliseconds (``1h30m``).

    Units have to go from the largest to the smallest, each at most once, so that a typing error is noticed.

    Raises:
        ValueError: *text* is not a duration.
    """
    compact = text.replace(" ", "").lower()
    if _NUMBER.fullmatch(compact):
        return float(compact)
    position, seconds, last_unit_s = 0, 0.0, math.inf
    while position < len(compact):
        part = _DURATION_PART.match(compact, position)
        if part is None or _UNIT_S[part[2]] >= last_unit_s:
            raise ValueError("not a duration")
        last_unit_s = _UNIT_S[part[2]]
        seconds += float(part[1]) * last_unit_s
        position = part.end()
    if position == 0:
        raise ValueError("not a duration")
    return seconds


def parse_size(text: str) -> int:
    """Read a size in bytes: a plain number, or one with a unit (``64MiB``, ``1.5 GB``).

    Raises:
        ValueError: *text* is not a size, or not a whole number of bytes.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None or (found[2] or "b").lower() not in _UNIT_BYTES:
        raise ValueError("not a size")
    size = float(found[1]) * _UNIT_BYTES[(found[2] or "b").lower()]
    if not size.is_integer():
        raise ValueError("not a whole number of bytes")
    return int(size)


def format_duration(seconds: float) -> str:
    """Write *seconds* in the form that `parse_duration` reads: ``1h30m``, ``250ms``."""
    if seconds < 0 or round(seconds, 3) != seconds:
        return f"{seconds:.9f}".rstrip("0").rstrip(".")
    rest_ms = round(seconds * 1000)
    parts: list[str] = []
    for unit, unit_s in _UNIT_S.items():
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
