"""Errors that cost a copy or a hit, and nothing else: logged once in a while, and forgotten."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from typing import TypeAlias

__all__ = ["Failed", "note_failure", "note_users_failure"]

logger: logging.Logger = logging.getLogger(__name__)

Failed: TypeAlias = Callable[[str], None]
"""Called with the kind of an error of ours that cost a copy, to count it."""

LOG_INTERVAL_S = 60.0
_noted: dict[str, float] = {}


def note_failure(error: Exception, failed: Failed | None) -> None:
    """Count an error of ours that cost a copy, and log one of its kind once in a while. Raises nothing."""
    kind = type(error).__name__
    with contextlib.suppress(Exception):
        if failed is not None:
            failed(kind)
    with contextlib.suppress(Exception):
        if _is_time_for(f"body {kind}"):
            # The error's own text may hold a part of the body.
            logger.warning(
                "A body could not be kept (%s in %s); its reader is not concerned. None of this kind will be logged "
                "for %d s",
                kind,
                _place(error),
                LOG_INTERVAL_S,
            )


def note_users_failure(error: Exception) -> None:
    """Log once in a while that a function of the user's failed, which says of a request whose it is or what its key is.

    The store has nothing to do with it. Raises nothing.
    """
    kind = type(error).__name__
    with contextlib.suppress(Exception):
        if _is_time_for(f"function {kind}"):
            # The error's own text may name a user.
            logger.warning(
                "A function that says whose a request is, or what its key is, has failed (%s in %s); such requests go "
                "to the origin and are not stored. None of this kind will be logged for %d s",
                kind,
                _place(error),
                LOG_INTERVAL_S,
            )


def _is_time_for(kind: str) -> bool:
    """Whether none of this *kind* has been logged for a while."""
    now = time.monotonic()
    is_time = now - _noted.get(kind, -LOG_INTERVAL_S) >= LOG_INTERVAL_S
    if is_time:
        _noted[kind] = now
    return is_time


def _place(error: BaseException) -> str:
    """Where *error* was raised."""
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    return "?" if at is None else f"{at.tb_frame.f_code.co_qualname}, line {at.tb_lineno}"
