"""Arguments that nothing takes: refused, and the nearest one named; and what a function takes, if it says so."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache

__all__ = ["named_parameters", "refuse_unknown"]


@lru_cache(maxsize=64)
def named_parameters(function: Callable[..., object]) -> frozenset[str] | None:
    """The names of what *function* takes; None where it takes what it likes and hands it on.

    So does what an instrument puts in the place of a method (sentry-sdk 1.x: ``def init(*args, **kwargs)``): of what
    such a function takes nothing is known, and nothing may be refused in its name.
    """
    parameters = inspect.signature(function).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return None
    return frozenset(parameters) - {"self", "args"}


def refuse_unknown(owner: str, given: Mapping[str, object], known: Iterable[str]) -> None:
    """Raise TypeError for the first option of *given* that is not *known*, naming it and its nearest neighbour."""
    names = frozenset(known)
    for name in given:
        if name not in names:
            from difflib import get_close_matches  # which takes longer to import than most of this package

            near = get_close_matches(name, sorted(names), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; it takes {', '.join(sorted(names))}"
            raise TypeError(f"{owner} got an unexpected option {name!r}{hint}")
