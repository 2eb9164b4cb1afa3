"""Arguments that nothing takes: refused, and the nearest one named; and what a function takes, if it says so."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from importlib import import_module
from types import MappingProxyType
from typing import Any, Final

from msgspec import Struct

from aiohttp_cache_di.errors import ConfigurationError

__all__ = [
    "Parameters",
    "PartsByName",
    "SpelledOut",
    "named_parameters",
    "parameters_below",
    "refuse_unknown",
    "require_kind",
    "warn_at_the_caller",
]

_BY_NAME: Final = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@lru_cache(maxsize=64)
def _taken_by(function: Callable[..., object]) -> tuple[frozenset[str], bool]:
    """What *function* has a name for, and whether it takes more than that by name, or may do so for all one can see."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # a descriptor that is not called itself, or a function of C
        return frozenset(), True
    named = {parameter.name for parameter in parameters if parameter.kind in _BY_NAME}
    return frozenset(named) - {"self"}, any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)


def named_parameters(function: Callable[..., object]) -> frozenset[str] | None:
    """The names of what *function* takes; None where it takes what it likes and hands it on.

    So does what an instrument puts in the place of a method (sentry-sdk 1.x: ``def init(*args, **kwargs)``): of what
    such a function takes nothing is known, and nothing may be refused in its name.
    """
    names, takes_more = _taken_by(function)
    return None if takes_more else names


_MEANT: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        **dict.fromkeys(("url", "uri", "dsn", "server"), ("address", "host", "endpoint_url")),
        **dict.fromkeys(("path", "db_path", "filename", "namespace"), ("cache_name",)),
        "backend": ("cache",),
        "match_headers": ("include_headers",),
        "ttl": ("expire_after",),
    }
)
"""Names that other libraries have for what is meant, which no spelling tells; the first one counts that is taken."""


def refuse_unknown(owner: str, given: Mapping[str, object], known: Iterable[str]) -> None:
    """Raise TypeError for the first option of *given* that is not *known*, naming it and its nearest neighbour."""
    names = frozenset(known)
    for name in given:
        if name not in names:
            from difflib import get_close_matches  # which takes longer to import than most of this package

            near = [meant for meant in _MEANT.get(name, ()) if meant in names]
            near = near or get_close_matches(name, sorted(names), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; it takes {', '.join(sorted(names))}"
            raise TypeError(f"{owner} got an unexpected option {name!r}{hint}")


def require_kind(owner: str, name: str, given: object, kind: type) -> None:
    """Raise ConfigurationError if what is *given* as the part *name* of *owner* is no *kind*."""
    if not isinstance(given, kind):  # whose repr may have a secret in it
        what = f"the class {given.__name__}" if isinstance(given, type) else f"of the type {type(given).__name__}"
        raise ConfigurationError(f"{name} of a {owner} is {what}; give a {kind.__name__}, or a provider that makes one")


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


class _Omitted:
    """The default of an option, which its docstring tells."""

    def __repr__(self) -> str:
        return "…"


class SpelledOut(inspect.Signature):
    """The ``__signature__`` of a class whose ``**kwargs`` are the keys of a TypedDict: they are parameters there.

    `help`, IPython and their like ask for it. It is made then: to know the types takes imports that nothing else needs.
    A class that is derived and has an ``__init__`` of its own has its own signature too. Where the types cannot be
    imported, as the driver that they are of is not installed, ``**kwargs`` are shown as they are written.

    It is a signature itself, that of the class it stands in: `functools.wraps` copies what stands in a class to the
    function that wraps it, where it is no descriptor.

    Args:
        options: module and name of the TypedDict, with a colon between them.
        leading: names of parameters that come first, of a base to which they are handed on.
    """

    def __init__(self, options: str, *, leading: tuple[str, ...] = ()) -> None:
        super().__init__()
        self._options, self._leading = options, leading

    def __set_name__(self, owner: type, name: str) -> None:
        self._owner = owner

    def __get__(self, instance: object, owner: type) -> inspect.Signature:
        own, theirs = inspect.getattr_static(self._owner, "__init__"), inspect.getattr_static(owner, "__init__")
        if instance is not None or own is not theirs:
            raise AttributeError("__signature__")
        return inspect.Signature(self._spelled_out())

    @property
    def parameters(self) -> MappingProxyType[str, inspect.Parameter]:
        """Those of the class it stands in, by name."""
        return MappingProxyType({each.name: each for each in self._spelled_out()})

    def replace(self, **changes: Any) -> Any:
        """A plain signature with *changes*."""
        return inspect.Signature(self._spelled_out()).replace(**changes)

    def __replace__(self, **changes: Any) -> Any:
        """As `replace`, for `copy.replace`."""
        return self.replace(**changes)

    def _spelled_out(self) -> list[inspect.Parameter]:
        own = inspect.getattr_static(self._owner, "__init__")
        try:  # the types themselves: by them FastAPI refuses ``Depends(CachedSession)`` where it is written
            named = list(inspect.signature(own, eval_str=True).parameters.values())[1:]
        except NameError:
            named = list(inspect.signature(own).parameters.values())[1:]
        found = {name: inspect.Parameter(name, _BY_NAME[0], default=None) for name in self._leading}
        found |= {each.name: each for each in named if each.kind in _BY_NAME}
        module, _, typed = self._options.partition(":")
        try:
            options: dict[str, object] = getattr(import_module(module), typed).__annotations__
        except ImportError:  # to which `help`, Sphinx and `unittest.mock` are no better prepared than to any other
            return [*found.values(), *(each for each in named if each.kind is each.VAR_KEYWORD)]
        for name, annotation in options.items():
            written = getattr(annotation, "__forward_arg__", annotation)
            found.setdefault(name, inspect.Parameter(name, _BY_NAME[1], default=_OMITTED, annotation=written))
        return list(found.values())


_OMITTED: Final = _Omitted()


class PartsByName(inspect.Signature):
    """The ``__signature__`` of a container's class, each of whose providers may be given by name.

    Args:
        provider: the type of a provider, which is given itself or what it gives.
    """

    def __init__(self, provider: str) -> None:
        super().__init__()
        self._provider = provider

    def __get__(self, instance: object, owner: Any) -> inspect.Signature:
        annotated: dict[str, str] = {}
        for base in reversed(owner.__mro__):
            annotated |= inspect.get_annotations(base)
        own = [(name, self._given(annotated.get(name))) for name in owner.providers]
        return inspect.Signature(
            [inspect.Parameter(name, _BY_NAME[1], default=_OMITTED, annotation=given) for name, given in own]
        )

    def _given(self, annotation: object) -> object:
        if not isinstance(annotation, str):
            return inspect.Parameter.empty
        return f"{annotation.removeprefix(f'{self._provider}[').removesuffix(']')} | {annotation}"


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
