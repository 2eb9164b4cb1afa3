"""The methods ``_request`` of bases below the cache: what they do to a request, as far as their code tells.

Those that limit rates, count, or take times hand on what they were given::

    async def _request(self, *args, **kwargs):
        async with self._limiter:
            return await super()._request(*args, **kwargs)

Hits pass them by, and so they do those that give a request a timeout, or another argument that says nothing of what is
asked for. The same goes for what has been put in the place of such a method, or of aiohttp's own, and hands on to it::

    def limited(request):
        async def instrumented(*args, **kwargs):
            async with LIMITER:
                return await request(*args, **kwargs)
        return instrumented

What raises by itself, or gives back anything but what it was given, has a say in hits too. It, and what hands on in
another way, or to something that is not seen through itself, is asked each time.
"""

from __future__ import annotations

import dis
from collections.abc import Callable, Iterable
from functools import lru_cache
from inspect import CO_VARARGS, CO_VARKEYWORDS
from types import CodeType, FunctionType
from typing import Any, Final, NamedTuple

from aiohttp import ClientSession

from aiohttp_cache_di._aiohttp import called_by, genuine_request, own_request
from aiohttp_cache_di.arguments import named_parameters
from aiohttp_cache_di.engine.results import gives_back

__all__ = ["ADDING", "hands_on", "senders_below"]

# What runs before the cache is asked, so that its say is in the arguments, and what has nothing to do with requests.
_BEFORE: Final = frozenset(
    {"request", "get", "options", "head", "post", "put", "patch", "delete", "ws_connect", "close", "detach"}
    | {"disabled", "delete_expired_responses", "remove_expired_responses", "has_url", "delete_url", "ATTRS", "_request"}
)


def _is_special(name: str) -> bool:
    return name.startswith("__") and name.endswith("__") and name != "__getattribute__"


def _names_of(owner: type) -> frozenset[str]:
    return frozenset(name for name in dir(owner) if not _is_special(name))


ADDING: Final = (_names_of(ClientSession) | ClientSession.ATTRS | {"_send"}) - _BEFORE
"""Attributes of a session, by whichever name they are set or overridden, that may have a say in what is sent."""

_SETTINGS: Final = ADDING - {"closed", "loop", "_loop"}
# They say how long to wait and how to read, and nothing of who asks for what, or of what the caller is given.
_HARMLESS: Final = frozenset(
    {"timeout", "trace_request_ctx", "read_bufsize", "max_line_size", "max_field_size", "max_headers"}
)
_TELLING: Final = (named_parameters(own_request() or genuine_request()) or frozenset()) - _HARMLESS
_ITEM_STEPS: Final = frozenset({"STORE_SUBSCR", "BINARY_SUBSCR", "BINARY_OP", "DELETE_SUBSCR"})
# Steps that make one sequence of positional arguments.
_GATHERING: Final = frozenset(
    {"PUSH_NULL", "BUILD_TUPLE", "BUILD_LIST", "LIST_EXTEND", "LIST_TO_TUPLE", "CALL_INTRINSIC_1"}
)
_ITEM_METHODS: Final = frozenset({"get", "setdefault", "pop"})
_MAX_WRAPPERS: Final = 8  # one around the other
_LONGEST_VALUE: Final = 3
"""Steps that load the value of a keyword argument, for it to be seen through: a name and two attributes of it."""


def senders_below(session_class: type, own: frozenset[type]) -> list[Callable[..., Any]]:
    """The methods ``_request`` that stand between our classes and aiohttp's, so that ours calls them.

    Args:
        own: our classes of sessions.
    """
    bases = session_class.__mro__[:-1]
    first = max(index for index, base in enumerate(bases) if base in own) + 1
    return [vars(base)["_request"] for base in bases[first:] if base is not ClientSession and "_request" in vars(base)]


def hands_on(sender: Callable[..., Any]) -> bool:
    """Whether a method ``_request`` hands on what it was given, but for arguments that make no difference.

    It hands on to the next base, or to a function that it has in its hands: aiohttp's own method, or one that hands on.
    """
    return _is_seen_through(sender, 0)


def _is_seen_through(sender: object, depth: int) -> bool:
    if type(sender) is not FunctionType or depth > _MAX_WRAPPERS:
        return False
    own = own_request()
    inner = frozenset(
        name
        for name, function in called_by(sender).items()
        if function is own or (function is not sender and _is_seen_through(function, depth + 1))
    )
    return _hands_on(sender.__code__, inner)


class _Step(NamedTuple):
    name: str
    argument: Any
    offset: int

    @property
    def is_harmless_name(self) -> bool:
        return self.name.startswith("LOAD_CONST") and isinstance(self.argument, str) and self.argument in _HARMLESS


@lru_cache(maxsize=64)
def _hands_on(code: CodeType, inner: frozenset[str]) -> bool:
    """As `hands_on`, of the code alone.

    Args:
        inner: the names that it has for functions to which it may hand on.
    """
    if not code.co_flags & CO_VARKEYWORDS:
        return False
    last = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & CO_VARARGS)
    *arguments, options = code.co_varnames[: last + 1]
    positional = arguments[: code.co_argcount] + arguments[last - 1 :] * bool(code.co_flags & CO_VARARGS)
    taken = {*arguments, options} - _HARMLESS
    if not taken.isdisjoint(code.co_cellvars):
        return False
    if not _SETTINGS.isdisjoint(code.co_names) or not _TELLING.isdisjoint(_texts_in(code)):
        return False
    steps = [_Step(step.opname, step.argval, step.offset) for step in dis.get_instructions(code)]
    called: set[int] = set()
    calls = uses = merges = 0
    for index, (name, argument, _) in enumerate(steps):
        names = _all(argument)
        if name.startswith(("STORE_FAST", "DELETE_FAST")) and not taken.isdisjoint(names):
            return False
        if name.startswith("LOAD_FAST") and options in names:
            uses += names.count(options) - _is_item(steps, index, options)
        if name.startswith(("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER")) and argument == "_request":
            calls += _is_called_with(steps, index, positional[code.co_argcount > 0 :], options)
            called |= _call_after(steps, index)
        elif name.startswith(("LOAD_DEREF", "LOAD_GLOBAL")) and argument in inner:
            calls += _is_called_with(steps, index, positional, options)
            called |= _call_after(steps, index)
        merges += name in {"DICT_MERGE", "DICT_UPDATE"}
        if name.startswith("BUILD_MAP") and argument != 0 and not (argument == 1 and _is_one_keyword(steps, index)):
            return False
        if name.startswith("BUILD_CONST_KEY_MAP"):
            return False
    return calls == uses > 0 and merges <= calls and gives_back(code, called)


def _call_after(steps: list[_Step], index: int) -> set[int]:
    return set([step.offset for step in steps[index:] if step.name == "CALL_FUNCTION_EX"][:1])


def _is_called_with(steps: list[_Step], index: int, wanted: list[str], options: str) -> bool:
    """Whether what is loaded at *index* is called with the arguments *wanted*, as they are and in their order."""
    names: list[str] = []
    for step in steps[index + 1 :]:
        if step.name.startswith("LOAD_FAST"):
            names += _all(step.argument)
            if options in names:
                return names[: names.index(options)] == wanted
        elif step.name not in _GATHERING:
            return names == wanted and (step.name.startswith("BUILD_MAP") or step.is_harmless_name)
    return False


def _is_item(steps: list[_Step], index: int, options: str) -> bool:
    """Whether *options*, which are loaded at *index*, are asked for an item that makes no difference, or given one."""
    after = steps[index + 1 : index + 3]
    if len(after) < 2 or _all(steps[index].argument)[-1] != options:
        return False
    if steps[index - 1].is_harmless_name and after[0].name == "CONTAINS_OP":
        return True
    if after[0].is_harmless_name:
        return after[1].name in _ITEM_STEPS
    return (
        after[0].name.startswith(("LOAD_ATTR", "LOAD_METHOD"))
        and after[0].argument in _ITEM_METHODS
        and after[1].is_harmless_name
    )


def _is_one_keyword(steps: list[_Step], index: int) -> bool:
    """Whether the mapping that is built at *index* is of one argument that makes no difference, and a plain value."""
    for back in range(2, _LONGEST_VALUE + 2):
        value = steps[max(index - back + 1, 0) : index]
        if index >= back and steps[index - back].is_harmless_name:
            return all(step.name.startswith("LOAD_") for step in value)
    return False


def _texts_in(code: CodeType) -> Iterable[str]:
    for constant in code.co_consts:
        yield from (part for part in _all(constant) if isinstance(part, str))


def _all(argument: Any) -> tuple[Any, ...]:
    """Its parts: some instructions have several names, and some constants several texts."""
    parts: tuple[Any, ...] = (argument,)
    if issubclass(type(argument), tuple):
        parts = argument
    return parts
