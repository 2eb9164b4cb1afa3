"""Finding, in bytecode, which arguments a call passes on.

A call ``inner(method, url, *args, timeout=5, **options)`` loads its arguments one by one and puts them together; its
instructions are followed with a model of the stack. If an instruction is not recognised, as on a later version of
Python, the call counts as unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import CO_VARARGS
from types import CodeType
from typing import Any, Final, NamedTuple, cast

from msgspec import Struct

from aiohttp_cache_di.engine.bases.bytecode import Step

__all__ = ["Handed", "Parameters", "handed_by"]

_METHOD_AND_URL: Final = ("method", "str_or_url")
# Instructions that do not change the model of the stack.
_IDLE: Final = frozenset({"PUSH_NULL", "LIST_TO_TUPLE", "CALL_INTRINSIC_1", "CACHE", "NOT_TAKEN"})


class _Name(Struct, frozen=True):
    """The value of a parameter or a local variable."""

    name: str


class _Constant(Struct, frozen=True):
    """A constant, and the index of the step that loads it."""

    value: Any
    loaded_at: int


class _Other(Struct, frozen=True):
    """Any other value."""


class Parameters(NamedTuple):
    """The names of the parameters of a method ``_request``, or of a function in its place.

    Attributes:
        positional: positional parameters, ``self`` included.
        rest: the one for further positional arguments (``*args``); "" for none.
        by_name: keyword-only parameters.
        options: the one for other keyword arguments (``**kwargs``).
    """

    positional: tuple[str, ...]
    rest: str
    by_name: tuple[str, ...]
    options: str

    @classmethod
    def of(cls, code: CodeType) -> Parameters:
        """The parameters of *code*, which must have a ``**kwargs``."""
        names, first, last = code.co_varnames, code.co_argcount, code.co_argcount + code.co_kwonlyargcount
        has_rest = bool(code.co_flags & CO_VARARGS)
        return cls(names[:first], names[last] if has_rest else "", names[first:last], names[last + has_rest])


class Handed(NamedTuple):
    """What one call passes on: ``*positional, **keywords, **options``."""

    positional: tuple[str, ...]
    keywords: Mapping[str, object]
    last: int
    """The index of the step that makes the call."""
    keys: frozenset[int]
    """The indices of the steps that load the names of keyword arguments."""

    def is_whole(
        self, parameters: Parameters, *, is_method: bool, telling: frozenset[str], harmless: frozenset[str]
    ) -> bool:
        """Whether all *parameters* that matter are passed on under their own names, and nothing else that matters.

        Args:
            is_method: a bound method is called, so that the session is not among the arguments.
            telling: the names of aiohttp's arguments that matter.
            harmless: the names of those that do not.
        """
        positional, rest, by_name, _ = parameters
        session = positional[:1] if not is_method else ()
        wanted = positional[1:] if positional else ()
        given = self.positional
        if given[: len(session)] != session:
            return False
        given = given[len(session) :]
        if rest:
            return given == (*wanted, rest) and self._are_named(by_name, telling, harmless)
        if given != wanted[: len(given)]:
            return False
        taken = {_METHOD_AND_URL[at]: name for at, name in enumerate(wanted[:2]) if at >= len(given)}
        if any(self.keywords.get(key) != _Name(name) for key, name in taken.items()):
            return False
        return self._are_named((*wanted[max(2, len(given)) :], *by_name), telling, harmless.union(taken))

    def _are_named(self, names: Sequence[str], telling: frozenset[str], others: frozenset[str]) -> bool:
        as_they_are = {name for name in names if self.keywords.get(name) == _Name(name)}
        return telling.intersection(names) <= as_they_are and self.keywords.keys() <= as_they_are | others


def handed_by(steps: Sequence[Step], index: int, options: str) -> Handed | None:
    """What the call of the function that the step at *index* loads passes on; None if that cannot be told.

    Args:
        options: the name of the ``**kwargs`` parameter, which the call has to pass on unchanged.
    """
    stack: list[Any] = []
    keys: set[int] = set()
    for at in range(index + 1, len(steps)):
        step = steps[at]
        name, argument = step.name, step.argument
        if name == "CALL_FUNCTION_EX":
            return _whole(stack, options, at, keys)
        if step.is_load:
            stack.append(_Name(argument))
        elif name.startswith(("LOAD_CONST", "LOAD_SMALL_INT")):
            stack.append(_Constant(argument, at))
        elif name.startswith(("LOAD_GLOBAL", "LOAD_DEREF")):
            stack.append(_Other())
        elif name.startswith("LOAD_ATTR") and stack:
            stack[-1] = _Other()
        elif not _gather(name, argument, stack, keys):
            return None
    return None


def _gather(name: str, argument: Any, stack: list[Any], keys: set[int]) -> bool:
    """Model a step that puts arguments together; return whether it was recognised."""
    if name in _IDLE:
        return True
    match name:
        case "DICT_MERGE" | "LIST_EXTEND":
            needed = 2
        case "BUILD_MAP":
            needed = 2 * argument
        case "BUILD_CONST_KEY_MAP":
            needed = argument + 1
        case _:
            needed = argument
    if not isinstance(needed, int) or needed > len(stack):
        return False
    parts = stack[len(stack) - needed :]
    del stack[len(stack) - needed :]
    match name:
        case "BUILD_TUPLE" | "BUILD_LIST":
            stack.append(parts)
        case "LIST_EXTEND" if isinstance(parts[0], list) and isinstance(parts[1], _Name):
            stack.append([*cast("list[object]", parts[0]), parts[1]])
        case "DICT_MERGE" if isinstance(parts[0], dict):
            stack.append(tuple(parts))
        case "BUILD_MAP" if all(isinstance(each, _Constant) for each in parts[::2]):
            keys.update(each.loaded_at for each in parts[::2])
            stack.append({key.value: value for key, value in zip(parts[::2], parts[1::2], strict=True)})
        case "BUILD_CONST_KEY_MAP" if isinstance(parts[-1], _Constant):
            keys.add(parts[-1].loaded_at)
            stack.append(dict(zip(parts[-1].value, parts[:-1], strict=True)))
        case _:
            return False
    return True


def _whole(stack: list[Any], options: str, last: int, keys: set[int]) -> Handed | None:
    if len(stack) != 2 or not issubclass(type(stack[1]), tuple):
        return None
    first, (keywords, merged) = stack
    given: list[Any] = first if issubclass(type(first), list) else [] if _is_nothing(first) else [first]
    if merged != _Name(options) or not all(isinstance(each, _Name) for each in given):
        return None
    return Handed(tuple(each.name for each in given), keywords, last, frozenset(keys))


def _is_nothing(value: Any) -> bool:
    return isinstance(value, _Constant) and value.value == ()
