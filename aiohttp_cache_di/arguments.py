"""Check the arguments of callers: which names a function takes, and errors that suggest the name that was meant."""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final, TypeVar

from msgspec import Struct

from aiohttp_cache_di.errors import ConfigurationError

__all__ = [
    "Parameters",
    "expect_flag",
    "expect_keys",
    "is_switch",
    "named_parameters",
    "parameters_below",
    "refuse_unknown",
    "warn_at_the_caller",
]

T = TypeVar("T")

_BY_NAME: Final = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@lru_cache(maxsize=64)
def _taken_by(function: Callable[..., object]) -> tuple[frozenset[str], bool]:
    """The names of the parameters of *function*, and whether it takes or may take others (``**kwargs``)."""
    try:
        parameters = list(_signature(function).parameters.values())
    except (TypeError, ValueError):  # a descriptor that is not callable, or a function in C
        return frozenset(), True
    named = {parameter.name for parameter in parameters if parameter.kind in _BY_NAME}
    return frozenset(named) - {"self"}, any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)


def _signature(function: Callable[..., object]) -> inspect.Signature:
    """The signature of *function*, whose annotations may use names that are imported for type checkers only.

    CPython 3.14 evaluates annotations when they are read, which would raise NameError.
    """
    if sys.version_info >= (3, 14):
        from annotationlib import Format

        return inspect.signature(function, annotation_format=Format.STRING)
    return inspect.signature(function)


def named_parameters(function: Callable[..., object]) -> frozenset[str] | None:
    """The names of the parameters of *function*; None if it takes any (``**kwargs``), so that no name may be refused.

    Instrumentation replaces methods by such functions (sentry-sdk 1.x: ``def init(*args, **kwargs)``).
    """
    names, takes_more = _taken_by(function)
    return None if takes_more else names


_SYNONYMS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        **dict.fromkeys(("url", "uri", "dsn", "server"), ("address", "host", "endpoint_url")),
        **dict.fromkeys(("path", "db_path", "filename", "namespace"), ("cache_name",)),
        **dict.fromkeys(("expire", "expires", "lifetime", "max_age", "ttl"), ("expire_after",)),
        **dict.fromkeys(("force_refresh", "no_cache", "reload"), ("refresh",)),
        "backend": ("cache",),
        "match_headers": ("include_headers",),
        "max_size": ("max_bytes",),
        "old_data_on_error": ("stale_if_error",),
        "region": ("region_name",),
        "verify": ("ssl",),
    }
)
"""Our names for options that have other names in other libraries; the first that the function takes is suggested."""
SIMILARITY: Final = 0.72
"""How similar a name has to be to be suggested (`difflib`): timeout is not coalesce_timeout."""


def refuse_unknown(owner: str, given: Mapping[str, object], known: Iterable[str]) -> None:
    """Raise TypeError for the first name in *given* that is not *known*; the message suggests a known one."""
    names = frozenset(known)
    for name in given:
        if name not in names:
            from difflib import get_close_matches  # importing it takes longer than most of this package

            near = [meant for meant in _SYNONYMS.get(name, ()) if meant in names]
            near = near or get_close_matches(name, sorted(names), n=1, cutoff=SIMILARITY)
            hint = f"; did you mean {near[0]!r}?" if near else f"; it takes {', '.join(sorted(names))}"
            raise TypeError(f"{owner} got an unexpected option {name!r}{hint}")


class Parameters(Struct, frozen=True):
    """The names of the parameters of several functions together.

    Attributes:
        are_all: *names* is complete: none of the functions takes further names by ``**kwargs``.
    """

    names: frozenset[str]
    are_all: bool


def parameters_below(session_class: type, mixin: type) -> Parameters:
    """The parameters of the classes that follow *mixin* in the method resolution order of *session_class*.

    Classes before it have consumed their arguments already, even those that are named like an option of the cache.
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
    """Call *initialise*, and issue its warnings for the line that called our ``__init__``.

    Args:
        undo: called before a warning that is an error is raised.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        initialise()
    try:
        for one in caught:
            warnings.warn(one.message, one.category, stacklevel=3)
    except Warning:
        undo()
        raise


def is_switch(value: object) -> bool:
    """Whether *value* is a bool, or 0 or 1; a text such as "false" would be true."""
    return isinstance(value, int) and value in (0, 1)


def expect_flag(name: str, value: object) -> None:
    """Raise ConfigurationError unless *value* is a switch, see `is_switch`."""
    if not is_switch(value):
        raise ConfigurationError(f"{name}={value!r}: use True or False")


def expect_keys(keys: Iterable[T]) -> tuple[T, ...]:
    """*keys*, the keys of several sessions.

    Raises:
        ConfigurationError: it is one key, whose characters would be taken for keys, or not iterable.
    """
    if isinstance(keys, str | bytes) or not isinstance(keys, Iterable):
        raise ConfigurationError(f"keys={keys!r}: use a list of the keys of sessions, also for one")
    return tuple(keys)
