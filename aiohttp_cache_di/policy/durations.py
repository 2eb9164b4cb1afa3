"""Lengths of time as people write them: ``5m``, ``1h30m``."""

from __future__ import annotations

import math
import re
from typing import Final

__all__ = ["UNIT_S", "parse_duration"]

UNIT_S: Final = {"w": 604800.0, "d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
"""Seconds by unit, from the largest to the smallest."""

_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|[wdhms])", re.ASCII)
_NUMBER: Final = re.compile(r"[+-]?\d+(?:\.\d+)?", re.ASCII)


def parse_duration(text: str) -> float:
    """Read a duration in seconds: a plain number, or numbers with units from weeks to milliseconds (``1h30m``).

    Units go from the largest to the smallest, each at most once, so that a typing error is not added up.

    Raises:
        ValueError: *text* is neither.
    """
    compact = text.replace(" ", "").lower()
    if _NUMBER.fullmatch(compact):
        return float(compact)
    position, seconds, last_unit_s = 0, 0.0, math.inf
    while position < len(compact):
        part = _PART.match(compact, position)
        if part is None or UNIT_S[part[2]] >= last_unit_s:
            raise ValueError("not a duration")
        last_unit_s = UNIT_S[part[2]]
        seconds += float(part[1]) * last_unit_s
        position = part.end()
    if position == 0:
        raise ValueError("not a duration")
    return seconds
