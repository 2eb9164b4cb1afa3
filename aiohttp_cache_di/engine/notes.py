"""Logging errors that cost a hit or a copy and do not concern the caller: each kind once per minute at most."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from typing import Final

from aiohttp_cache_di.entries.tags import TooManyTagsError
from aiohttp_cache_di.errors import ConfigurationError

__all__ = [
    "UnusableResultError",
    "note_failure",
    "note_question_failure",
    "note_too_many_tags",
    "note_users_failure",
    "users_function",
    "what_failed",
]

logger: logging.Logger = logging.getLogger(__name__)

LOG_INTERVAL_S = 60.0
OF_QUESTIONS: Final = "A function that says whose a request is, what its key is or which rules apply to it,"
_noted: dict[str, float] = {}


class UnusableResultError(ConfigurationError):
    """A user's function has returned an object of a wrong type; the text does not tell its value."""

    def __init__(self, function: str, result: object, expected: str) -> None:
        super().__init__(f"{function} has returned an object of type {type(result).__name__}; {expected}")


def note_failure(error: Exception, failed: Callable[[str], object]) -> None:
    """Count an error by which a copy was lost, by *failed*, and log its kind once in a while. Raises nothing."""
    kind = type(error).__name__
    with contextlib.suppress(Exception):
        failed(kind)
    # The error's own text may hold a part of the body.
    told = "A body could not be stored (%s in %s); the caller gets it all the same"
    _warn_once_in_a_while(f"body {kind}", told, kind, _place(error))


def note_users_failure(error: Exception, function: str, consequence: str, *, of: str = "") -> None:
    """Log once in a while that a user's function has failed, rather than the store. Raises nothing.

    Args:
        function: its name; see `users_function`.
        consequence: what happens to the response.
        of: method and URL of the request, without secrets.
    """
    what = what_failed(error)
    what = what if isinstance(error, UnusableResultError) else f"{what} in {_place(error)}"
    told = "%s has failed (%s)%s; %s"
    kind = type(error).__name__
    _warn_once_in_a_while(f"{function} {kind}", told, function, what, f" for {of}" if of else "", consequence)


def what_failed(error: Exception) -> str:
    """What a user's function has done wrong, in words that name no user: the text of most errors may."""
    return str(error) if isinstance(error, UnusableResultError) else type(error).__name__


def note_question_failure(error: Exception) -> None:
    """Do as `note_users_failure`, for a function that takes part in making the question of a request."""
    note_users_failure(error, OF_QUESTIONS, "such requests go to the origin and are not stored")


def note_too_many_tags(error: TooManyTagsError, of: str) -> None:
    """Log once in a while that a response is not stored because it has too many tags. Raises nothing.

    Args:
        of: method and URL of the request, without secrets.
    """
    _warn_once_in_a_while("tags", "The response to %s is handed on and not stored: %s", of, error)


def users_function(option: str, function: object) -> str:
    """The name in logs of the user's *function* that was given as *option*."""
    name = getattr(function, "__qualname__", "") or type(function).__qualname__
    return f"{option} ({getattr(function, '__module__', None) or '?'}.{name})"


def _warn_once_in_a_while(kind: str, text: str, *arguments: object) -> None:
    """Log *text*, unless an error of this *kind* has been logged within `LOG_INTERVAL_S`. Raises nothing."""
    with contextlib.suppress(Exception):
        now = time.monotonic()
        if now - _noted.get(kind, -LOG_INTERVAL_S) >= LOG_INTERVAL_S:
            _noted[kind] = now
            told = f"{text}. Errors of this kind are not logged again for %d s"
            logger.warning(told, *arguments, LOG_INTERVAL_S)


def _place(error: BaseException) -> str:
    """The function and the line where *error* was raised."""
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    return "?" if at is None else f"{at.tb_frame.f_code.co_qualname}, line {at.tb_lineno}"
