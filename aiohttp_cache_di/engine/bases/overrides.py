"""The methods ``_request`` of base classes below the cache: whether they only pass requests on, as their code tells.

Methods that limit rates, count, or measure times pass on what they were given::

    async def _request(self, *args, **kwargs):
        async with self._limiter:
            return await super()._request(*args, **kwargs)

Hits skip them. They also skip methods that set a timeout or another argument that does not change what is asked for,
that use up arguments of their own, or that raise before they send anything: such methods only concern requests that go
to the origin. The same applies to a function that replaces such a method, or aiohttp's own, and calls it::

    def limited(request):
        async def instrumented(*args, **kwargs):
            async with LIMITER:
                return await request(*args, **kwargs)
        return instrumented

A method that raises because of a response, or returns something else, takes part in hits too. It is called for every
request, and so is one that passes arguments on in another way, or to a function whose code cannot be analysed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from inspect import CO_VARKEYWORDS
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final

from aiohttp import ClientSession

from aiohttp_cache_di._aiohttp import called_by, own_request, request_parameters

if TYPE_CHECKING:
    from aiohttp_cache_di.engine.bases.arguments import Handed, Parameters
    from aiohttp_cache_di.engine.bases.bytecode import Step

__all__ = ["ADDING", "hands_on", "overrides_below", "taken_by"]

# Methods that run before the cache is asked, so that their effect is in the arguments, or that do not affect requests.
_BEFORE: Final = frozenset(
    {"request", "get", "options", "head", "post", "put", "patch", "delete", "ws_connect", "close", "detach"}
    | {"disabled", "delete_expired_responses", "remove_expired_responses", "has_url", "delete_url", "ATTRS", "_request"}
)


def _is_special(name: str) -> bool:
    return name.startswith("__") and name.endswith("__") and name != "__getattribute__"


def _names_of(owner: type) -> frozenset[str]:
    return frozenset(name for name in dir(owner) if not _is_special(name))


ADDING: Final = (_names_of(ClientSession) | ClientSession.ATTRS | {"_send"}) - _BEFORE
"""Attributes of a session that, if set or overridden, may change what is sent."""

_SETTINGS: Final = ADDING - {"closed", "loop", "_loop"}
# Arguments that neither change what is asked for, nor in whose name, nor the response.
_HARMLESS: Final = frozenset(
    {"timeout", "trace_request_ctx", "read_bufsize", "max_line_size", "max_field_size", "max_headers"}
)
# All others: they may change what is asked for, or in whose name.
_TELLING: Final = (request_parameters() or frozenset()) - _HARMLESS
_ITEM_STEPS: Final = frozenset({"STORE_SUBSCR", "BINARY_SUBSCR", "BINARY_OP", "DELETE_SUBSCR"})
_ITEM_METHODS: Final = frozenset({"get", "setdefault", "pop"})
_MAX_WRAPPERS: Final = 8  # nested around each other


def overrides_below(session_class: type, own: frozenset[type]) -> list[Callable[..., Any]]:
    """The methods ``_request`` of the classes between those of this package and aiohttp's in the MRO.

    Args:
        own: the session classes of this package.
    """
    bases = session_class.__mro__[:-1]
    first = max(index for index, base in enumerate(bases) if base in own) + 1
    return [vars(base)["_request"] for base in bases[first:] if base is not ClientSession and "_request" in vars(base)]


def hands_on(override: Callable[..., Any]) -> bool:
    """Whether a method ``_request`` passes on what it was given, apart from arguments that make no difference.

    It may pass it to the next base class, or to a function that it refers to: aiohttp's own method, or another one that
    passes it on.
    """
    return taken_by(override) is not None


def taken_by(override: object, depth: int = 0) -> frozenset[str] | None:
    """The names of arguments that *override* uses up itself, if it passes on the rest (`hands_on`); else None."""
    if type(override) is not FunctionType or depth > _MAX_WRAPPERS:
        return None
    own, inner, taken = own_request(), set[str](), frozenset[str]()
    for name, function in called_by(override).items():
        found = frozenset[str]() if function is own else None
        if function is not own and function is not override:
            found = taken_by(function, depth + 1)
        if found is not None:
            inner.add(name)
            taken |= found
    code, names = override.__code__, override.__globals__
    modules = frozenset(name for name in code.co_names if isinstance(names.get(name), ModuleType))
    sessions = frozenset(name for name in code.co_names if names.get(name) is ClientSession)
    own_taken = _taken(code, frozenset(inner), modules, sessions)
    return None if own_taken is None else taken | own_taken


@lru_cache(maxsize=64)
def _taken(
    code: CodeType, inner: frozenset[str], modules: frozenset[str], sessions: frozenset[str]
) -> frozenset[str] | None:
    """As `taken_by`, for code alone.

    Args:
        inner: the names by which the code refers to functions that it may pass requests to.
        modules: the names by which it refers to modules.
        sessions: the names by which it refers to `aiohttp.ClientSession`.
    """
    if not code.co_flags & CO_VARKEYWORDS:
        return None
    # Imported here, because few sessions have such base classes.
    from aiohttp_cache_di.engine.bases.arguments import Parameters
    from aiohttp_cache_di.engine.bases.bytecode import steps_of
    from aiohttp_cache_di.engine.bases.results import gives_back

    parameters = Parameters.of(code)
    options = parameters.options
    steps = steps_of(code)
    calls = list(_calls(steps, parameters, inner, sessions))
    if not calls or not _are_left_alone(code, steps, parameters, calls):
        return None
    uses = sum(each.is_load and each.argument == options for each in steps)
    items = [index for index in range(len(steps)) if _is_item(steps, index, options)]
    if uses != len(calls) + len(items):
        return None
    results = gives_back(code, steps, {steps[call.last].offset for call in calls})
    if results is None or not all(_is_harmless(steps, index, results | modules) for index in range(len(steps))):
        return None
    names = {name for name in (*parameters.positional[3:], *parameters.by_name) if name not in _TELLING}
    popped = {steps[index + 2].argument for index in items if steps[index + 1].argument == "pop"}
    return frozenset(names | popped) - _HARMLESS


def _calls(
    steps: list[Step], parameters: Parameters, inner: frozenset[str], sessions: frozenset[str]
) -> Iterable[Handed]:
    """The calls that pass on, unchanged, all arguments that matter."""
    from aiohttp_cache_di.engine.bases.arguments import handed_by

    for index, step in enumerate(steps):
        name, argument = step.name, step.argument
        is_method = step.is_attribute and argument == "_request"
        if is_method or (name.startswith(("LOAD_DEREF", "LOAD_GLOBAL")) and argument in inner):
            is_method = is_method and not (index and steps[index - 1].argument in sessions)
            call = handed_by(steps, index, parameters.options)
            if call is not None and call.is_whole(
                parameters, is_method=is_method, telling=_TELLING, harmless=_HARMLESS
            ):
                yield call


def _are_left_alone(code: CodeType, steps: list[Step], parameters: Parameters, calls: list[Handed]) -> bool:
    """Whether arguments that matter are not changed, and not named except where they are passed on."""
    positional, rest, by_name, options = parameters
    matter = {*positional, rest, *by_name, options} - _HARMLESS
    changeable = _TELLING.intersection((*positional[3:], *by_name))
    handed = sum(len(changeable & call.keywords.keys()) + len(changeable & {*call.positional}) for call in calls)
    if not matter.isdisjoint(code.co_cellvars):
        return False
    uses = 0
    keys = frozenset[int]().union(*(call.keys for call in calls))
    for index, step in enumerate(steps):
        name, argument = step.name, step.argument
        if name.startswith(("STORE_FAST", "DELETE_FAST")) and argument in matter:
            return False
        uses += step.is_load and argument in changeable
        if (
            ("CONST" in name or name == "KW_NAMES")
            and index not in keys
            and not _TELLING.isdisjoint(_texts_in(argument))
        ):
            return False
    return uses == handed


def _is_harmless(steps: list[Step], index: int, owners: frozenset[str]) -> bool:
    """Whether the step at *index* does not use a setting of the session.

    Args:
        owners: names of objects that are not sessions.
    """
    step = steps[index]
    return not step.is_attribute or step.argument not in _SETTINGS or steps[index - 1].argument in owners


def _is_item(steps: list[Step], index: int, options: str) -> bool:
    """Whether *options* are loaded at *index* to read or set an argument that makes no difference."""
    after = steps[index + 1 : index + 3]
    step = steps[index]
    if len(after) < 2 or not step.is_load or step.argument != options:
        return False
    if _is_name(steps[index - 1], is_given=False) and after[0].name == "CONTAINS_OP":
        return True
    if after[1].name in _ITEM_STEPS:
        return _is_name(after[0], is_given=after[1].name == "STORE_SUBSCR")
    return (
        after[0].name.startswith(("LOAD_ATTR", "LOAD_METHOD"))
        and after[0].argument in _ITEM_METHODS
        and _is_name(after[1], is_given=after[0].argument == "setdefault")
    )


def _is_name(step: Step, *, is_given: bool) -> bool:
    """Whether *step* loads the name of an argument that makes no difference; if not *is_given*, also of one of its own.

    Args:
        is_given: the argument is set, rather than read.
    """
    is_name = step.name.startswith("LOAD_CONST") and isinstance(step.argument, str)
    return is_name and (step.argument in _HARMLESS or not (is_given or step.argument in _TELLING))


def _texts_in(constant: object) -> Iterable[str]:
    parts: Any = constant if issubclass(type(constant), tuple | frozenset) else (constant,)
    yield from (part for part in parts if isinstance(part, str))
