"""The arguments that a call hands on, as far as the code of the caller shows them.

A call ``inner(method, url, *args, timeout=5, **options)`` loads its arguments one by one and puts them together; its
steps are gone through with a stack of what they load. What is not recognised, as on a later version of Python, is no
call that is seen through.
"""

from __future__ import annotations

import dis
import re
from collections.abc import Mapping, Sequence
from inspect import CO_VARARGS
from types import CodeType
from typing import Any, Final, NamedTuple, cast

__all__ = ["Handed", "Parameters", "Step", "handed_by", "steps_of"]

_METHOD_AND_URL: Final = ("method", "str_or_url")
# Steps that leave what is loaded as it is.
_IDLE: Final = frozenset({"PUSH_NULL", "LIST_TO_TUPLE", "CALL_INTRINSIC_1", "CACHE", "EXTENDED_ARG", "NOT_TAKEN"})


class Step(NamedTuple):
    """One instruction, with one variable at most."""

    name: str
    argument: Any
    offset: int

    @property
    def is_load(self) -> bool:
        """Whether it loads a parameter or a local variable."""
        return self.name.startswith("LOAD_FAST")

    @property
    def is_attribute(self) -> bool:
        """Whether it deals with an attribute."""
        return self.name.startswith(("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER", "STORE_ATTR", "DELETE_ATTR"))


def steps_of(code: CodeType) -> list[Step]:
    """The steps of *code*; those of two variables count as two."""
    found: list[Step] = []
    for each in dis.get_instructions(code):
        if isinstance(each.argval, tuple) and "_FAST_" in each.opname:
            kinds = re.findall(r"(?:LOAD|STORE)_FAST", each.opname)
            found += [Step(kind, name, each.offset) for kind, name in zip(kinds, each.argval, strict=True)]
        else:
            found.append(Step(each.opname, each.argval, each.offset))
    return found


class _Name(NamedTuple):
    """The value of a parameter or a local variable."""

    name: str


class _Constant(NamedTuple):
    """A constant, and which step loads it."""

    value: Any
    loaded_at: int


class _Other(NamedTuple):
    """Any other value."""


class Parameters(NamedTuple):
    """The parameters of a method ``_request``, or of a function in its place.

    Attributes:
        positional: by position, the session among them.
        rest: of further positional arguments; "" for none.
        by_name: by name alone.
        options: of all other arguments.
    """

    positional: tuple[str, ...]
    rest: str
    by_name: tuple[str, ...]
    options: str

    @classmethod
    def of(cls, code: CodeType) -> Parameters:
        """Those of *code*, which takes all other arguments too."""
        names, first, last = code.co_varnames, code.co_argcount, code.co_argcount + code.co_kwonlyargcount
        has_rest = bool(code.co_flags & CO_VARARGS)
        return cls(names[:first], names[last] if has_rest else "", names[first:last], names[last + has_rest])


class Handed(NamedTuple):
    """What one call hands on: ``*positional, **keywords, **options``."""

    positional: tuple[str, ...]
    keywords: Mapping[str, object]
    last: int
    """The index of the step that makes the call."""
    keys: frozenset[int]
    """The indices of the steps that load the names of keyword arguments."""

    def is_whole(
        self, parameters: Parameters, *, is_method: bool, telling: frozenset[str], harmless: frozenset[str]
    ) -> bool:
        """Whether all *parameters* are handed on that matter, each under its name, and no other argument that may.

        Args:
            is_method: the session is given by Python itself.
            telling: names of arguments that matter to aiohttp.
            harmless: names of those that do not.
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
    """What the call hands on whose function the step at *index* loads; None where that is not seen.

    Args:
        options: the name of all other arguments, which the call takes as they are.
    """
    stack: list[Any] = []
    keys: set[int] = set()
    for at in range(index + 1, len(steps)):
        name, argument, _ = step = steps[at]
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
    """Do what a step does that puts arguments together; whether it is one."""
    if name in _IDLE:
        return True
    if name == "DICT_MERGE" and len(stack) > 1 and isinstance(stack[-2], dict):
        stack[-2:] = [(stack[-2], stack[-1])]
        return True
    if name in ("BUILD_TUPLE", "BUILD_LIST"):
        stack[len(stack) - argument :] = [stack[len(stack) - argument :]]
        return True
    if name == "LIST_EXTEND" and len(stack) > 1:
        rest, gathered = stack.pop(), stack[-1]
        if isinstance(rest, _Name) and isinstance(gathered, list):
            cast("list[object]", gathered).append(rest)
            return True
        return False
    pairs: list[tuple[Any, Any]]
    if name == "BUILD_MAP":
        parts = stack[len(stack) - 2 * argument :]
        del stack[len(stack) - 2 * argument :]
        pairs = list(zip(parts[::2], parts[1::2], strict=True))
    elif name == "BUILD_CONST_KEY_MAP" and stack and isinstance(stack[-1], _Constant):
        names = stack.pop()
        values = stack[len(stack) - argument :]
        del stack[len(stack) - argument :]
        pairs = [(_Constant(each, names.loaded_at), value) for each, value in zip(names.value, values, strict=True)]
    else:
        return False
    stack.append(dict[str, object]())
    for key, value in pairs:
        if not isinstance(key, _Constant):
            return False
        keys.add(key.loaded_at)
        stack[-1][key.value] = value
    return True


def _whole(stack: list[Any], options: str, last: int, keys: set[int]) -> Handed | None:
    if len(stack) != 2 or not isinstance(stack[1], tuple) or stack[1][1:] != (_Name(options),):
        return None
    positional = stack[0] if isinstance(stack[0], list) else [] if _is_nothing(stack[0]) else [stack[0]]
    if not all(isinstance(each, _Name) for each in positional):
        return None
    names = tuple(each.name for each in positional)
    return Handed(names, cast("dict[str, object]", stack[1][0]), last, frozenset(keys))


def _is_nothing(value: object) -> bool:
    return isinstance(value, _Constant) and value.value == ()
