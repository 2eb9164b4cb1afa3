"""Arguments that nothing takes: refused, and the nearest one named; and what a function takes, if it says so."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Final

from msgspec import Struct

__all__ = ["Parameters", "named_parameters", "parameters_below", "refuse_unknown", "warn_at_the_caller"]

_BY_NAME: Final = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@lru_cache(maxsize=64)
def _taken_by(function: Callable[..., object]) -> tuple[frozenset[str], bool]:
    """What *function* has a name for, and whether it takes more than that by name."""
    parameters = list(inspect.signature(function).parameters.values())
    named = {parameter.name for parameter in parameters if parameter.kind in _BY_NAME}
    return frozenset(named) - {"self"}, any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)


def named_parameters(function: Callable[..., object]) -> frozenset[str] | None:
    """The names of what *function* takes; None where it takes what it likes and hands it on.

    So does what an instrument puts in the place of a method (sentry-sdk 1.x: ``def init(*args, **kwargs)``): of what
    such a function takes nothing is known, and nothing may be refused in its name.
    """
    names, takes_more = _taken_by(function)
    return None if takes_more else names


def refuse_unknown(owner: str, given: Mapping[str, object], known: Iterable[str]) -> None:
    """Raise TypeError for the first option of *given* that is not *known*, naming it and its nearest neighbour."""
    names = frozenset(known)
    for name in given:
        if name not in names:
            from difflib import get_close_matches  # which takes longer to import than most of this package

            near = get_close_matches(name, sorted(names), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; it takes {', '.join(sorted(names))}"
            raise TypeError(f"{owner} got an unexpected option {name!r}{hint}")


class Parameters(Struct, frozen=True):
    """The names of arguments that some functions take together; they are not all where one takes what it likes."""

    names: frozenset[str]
    are_all: bool


def parameters_below(session_class: type, mixin: type) -> Parameters:
    """The arguments that the bases below *mixin* take.

    Classes above it have taken theirs when the mixin is asked, though they be named like an option of the cache.
    """
    bases = session_class.__mro__[:-1]
    names, are_all = set[str](), True
    for base in bases[bases.index(mixin) + 1 :]:
        init = vars(base).get("__init__")
        if init is None:
            continue
        named, takes_more = _taken_by(init)
        names |= named
        are_all = are_all and not takes_more
    return Parameters(frozenset(names), are_all)


def warn_at_the_caller(initialise: Callable[[], None], *, undo: Callable[[], None]) -> None:
    """Let the warnings of aiohttp's initialiser name the line that calls ours, as they would name one that calls it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        initialise()
    try:
        for one in caught:
            warnings.warn(one.message, one.category, stacklevel=3)
    except Warning:
        undo()
        raise
