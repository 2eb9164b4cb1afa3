"""Stale windows, the time after its lifetime in which a response may be used, in all forms that users may write."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TypeAlias

from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.units import means_none, parse_duration

__all__ = ["Window", "named_window", "window_s"]

Window: TypeAlias = float | bool | str | timedelta | None
"""A stale window as users write it: see `window_s`."""


def named_window(value: object) -> bool | None:
    """True for the text ``always``, False for a word for none such as ``none``; None for anything else."""
    if not isinstance(value, str):
        return None
    return True if value.strip().lower() == "always" else False if means_none(value) else None


def window_s(value: Window, *, option: str = "stale_if_error") -> float | None:
    """A stale window in seconds: ``inf`` for True (as long as the response is stored), None for False and None.

    Args:
        value: seconds, a timedelta, or a text: a duration (``"1h"``), ``"always"`` or ``"none"``.
        option: the name of the option, for messages.

    Raises:
        ConfigurationError: *value* is not a duration.
    """
    named = named_window(value)
    value = value if named is None else named
    if value is None or value is False:
        return None
    if value is True:
        return math.inf
    try:
        seconds = parse_duration(value) if isinstance(value, str) else _seconds(value)
    except (TypeError, ValueError) as exc:
        raise _refused_window(option, value) from exc
    if not seconds >= 0:  # NaN is neither
        raise _refused_window(option, value)
    return seconds


def _seconds(value: float | timedelta) -> float:
    return value.total_seconds() if isinstance(value, timedelta) else float(value)


def _refused_window(option: str, value: object) -> ConfigurationError:
    accepted = "a number of seconds, a text such as '1h', a timedelta, True for as long as it is stored, or None"
    return ConfigurationError(f"{option}={value!r}: use {accepted}")
