"""A request and the response to it, as they are recorded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["Answered", "Asked", "Exchange", "Fields", "value_of"]

Fields: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request."""

    method: str
    url: str
    headers: Fields = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Answered:
    """A response.

    Args:
        body: decoded, unless *is_coded*.
        is_coded: the body is still encoded, with a content coding that is not supported.
    """

    status: int
    reason: str = ""
    headers: Fields = ()
    body: bytes = b""
    is_coded: bool = False


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its response.

    Args:
        recorded_at: POSIX time; None if unknown.
    """

    asked: Asked
    answered: Answered
    recorded_at: float | None = None


def value_of(fields: Iterable[tuple[str, str]], name: str) -> str:
    """The value of the first field called *name* (lower case); "" if there is none."""
    return next((value for found, value in fields if found.lower() == name), "")
