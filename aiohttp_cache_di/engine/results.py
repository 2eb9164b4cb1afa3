"""What becomes of the result of a call, as far as the code of the function tells that made it.

A function gives it back as it is if each value that it returns is that result, or that of another such call, if it
raises nothing by itself, and if it does no more with the result than to read what cannot be changed. What is not
recognised, as on a later version of Python, is taken for a change.
"""

from __future__ import annotations

import dis
from collections.abc import Collection, Iterable, Iterator
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR
from types import CodeType
from typing import Any, Final

from msgspec import Struct

__all__ = ["gives_back"]

# Of a response; what they are cannot be changed.
_READABLE: Final = frozenset(
    {"status", "reason", "ok", "method", "url", "real_url", "host", "version", "headers", "raw_headers"}
    | {"content_type", "content_length", "charset", "closed", "from_cache"}
)
_AWAIT: Final = "AWAIT"
_MAKING: Final = ("CALL", "LOAD", "BUILD", "BINARY", "COMPARE", "FORMAT")
_IDLE: Final = frozenset({"NOP", "RESUME", "PRECALL"})
_ENDS: Final = ("RETURN", "RAISE", "RERAISE", "SEND", "YIELD", "PUSH_EXC_INFO", "FOR_ITER")


class _Step(Struct, frozen=True):
    name: str
    argument: Any
    offset: int
    effect: int
    is_target: bool


def gives_back(code: CodeType, calls: Collection[int]) -> bool:
    """Whether *code* gives back, as it is, what the calls at the offsets *calls* result in."""
    if code.co_flags & (CO_GENERATOR | CO_ASYNC_GENERATOR) or not calls:
        return False
    steps = list(_steps(code))
    is_async = bool(code.co_flags & CO_COROUTINE)
    found: set[int] = set()
    names: set[str] = set()
    for index, step in enumerate(steps):
        if step.name == "STORE_FAST" and (call := _call_before(steps, index, calls, is_async=is_async)) is not None:
            found.add(call)
            names.add(step.argument)
    kept = set(found)
    returned: set[int] = set()
    for index, step in enumerate(steps):
        if step.name == "RAISE_VARARGS" and step.argument:
            return False
        if step.name.startswith(("STORE_FAST", "DELETE_FAST")) and step.argument in names:
            if _call_before(steps, index, calls, is_async=is_async) is None:
                return False
        elif step.name.startswith("LOAD_FAST") and step.argument in names:
            if _is_read(steps, index):
                continue
            returned.add(index)  # and nothing else, as is found out below
        elif step.name == "RETURN_CONST" and (step.argument is not None or step.offset < min(calls)):
            return False
    for index, step in enumerate(steps):
        if step.name != "RETURN_VALUE":
            continue
        origin = _origin(steps, index)
        if origin is None:
            return False
        made = steps[origin]
        if origin in returned:
            returned.discard(origin)
            kept.add(-1)
        elif (call := _call_before(steps, origin + 1, calls, is_async=is_async)) is not None:
            found.add(call)
            kept.add(-1)
        elif made.name != "LOAD_CONST" or made.argument is not None or made.offset < min(calls):
            return False
    return not returned and found == set(calls) and -1 in kept


def _steps(code: CodeType) -> Iterator[_Step]:
    """Its steps, those that wait for a result as one, and those that are of two names as two."""
    until = -1
    waiting = False
    for step in dis.get_instructions(code):
        if step.opname == "EXTENDED_ARG":
            continue
        if waiting and step.opname == "SEND":
            waiting, until = False, step.argval
        if waiting or step.offset < until or (step.offset == until and step.opname == "END_SEND"):
            continue
        if step.opname == "GET_AWAITABLE":
            waiting = True
            yield _Step(_AWAIT, None, step.offset, 0, is_target=step.is_jump_target)
            continue
        yield from _parts(step, is_target=step.is_jump_target and step.offset != until)  # unless of the waiting


def _parts(step: dis.Instruction, *, is_target: bool) -> Iterable[_Step]:
    names = step.opname.split("_FAST_")
    if issubclass(type(step.argval), tuple) and "FAST" in step.opname:
        kinds = ["STORE" if part.startswith("STORE") else "LOAD" for part in (names[0], names[-1])]
        for kind, name in zip(kinds, step.argval, strict=True):
            yield _Step(f"{kind}_FAST", name, step.offset, 1 if kind == "LOAD" else -1, is_target)
        return
    effect = dis.stack_effect(step.opcode, step.arg, jump=False)
    yield _Step(step.opname, step.argval, step.offset, effect, is_target)


def _call_before(steps: list[_Step], index: int, calls: Collection[int], *, is_async: bool) -> int | None:
    """Which of *calls* has just resulted in what is on the stack before *index*."""
    at = index - 1 - is_async
    if at < 0 or (is_async and steps[index - 1].name != _AWAIT) or steps[at].offset not in calls:
        return None
    return steps[at].offset


def _is_read(steps: list[_Step], index: int) -> bool:
    after = steps[index + 1 : index + 2]
    if not after or not after[0].name.startswith(("LOAD_ATTR", "LOAD_METHOD")):
        return False
    is_method = after[0].name == "LOAD_METHOD" or after[0].effect > 0
    return after[0].argument == "release" if is_method else after[0].argument in _READABLE


def _origin(steps: list[_Step], index: int) -> int | None:
    """Which step made what is on top of the stack before *index*; None if that cannot be told."""
    depth = 0
    while index > 0 and not steps[index].is_target:
        index -= 1
        step = steps[index]
        if step.name.startswith(_ENDS) or "JUMP" in step.name:
            return None
        if step.name == "SWAP":
            last = step.argument - 1
            depth = last if depth == 0 else 0 if depth == last else depth
        elif depth == 0 and (step.name.startswith(_MAKING) or (step.effect >= 0 and step.name not in _IDLE)):
            return index
        else:
            depth -= step.effect
            if depth < 0:
                return None
    return None
