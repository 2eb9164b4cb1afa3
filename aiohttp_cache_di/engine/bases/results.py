"""Finding, in bytecode, whether a function returns the result of a call unchanged.

It does if every value that it returns is the result of such a call, if it raises no error of its own after the call,
and if it only reads immutable attributes of the result. An instruction that is not recognised, as on a later version of
Python, counts as a change.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR
from types import CodeType
from typing import Final

from aiohttp_cache_di.engine.bases.bytecode import AWAIT, Step

__all__ = ["gives_back"]

# Attributes of a response whose values cannot be changed.
_READABLE: Final = frozenset(
    {"status", "reason", "ok", "method", "url", "real_url", "host", "version", "headers", "raw_headers"}
    | {"content_type", "content_length", "charset", "closed", "from_cache"}
)
_MAKING: Final = ("CALL", "LOAD", "BUILD", "BINARY", "COMPARE", "FORMAT")
_IDLE: Final = frozenset({"NOP", "RESUME", "PRECALL"})
_ENDS: Final = ("RETURN", "RAISE", "RERAISE", "SEND", "YIELD", "PUSH_EXC_INFO", "FOR_ITER")


def gives_back(code: CodeType, steps: Sequence[Step], calls: Collection[int]) -> frozenset[str] | None:
    """The names of variables for results of the calls at the offsets *calls*; None unless it returns those unchanged.

    The result of each call has to be returned at once or stored in a variable.

    Args:
        steps: those of *code*.
    """
    if code.co_flags & (CO_GENERATOR | CO_ASYNC_GENERATOR) or not calls:
        return None
    found = _Found(steps, calls, is_async=bool(code.co_flags & CO_COROUTINE))
    loads = found.loads()
    made = None if loads is None else found.returned()
    if loads is None or made is None or not made:
        return None
    at_once = frozenset(call for at in made - loads if (call := found.call_before(at + 1)) is not None)
    return found.names if loads <= made and found.kept | at_once == frozenset(calls) else None


class _Found:
    """What a function does with the results of some calls.

    Args:
        steps: the steps of its code.
        calls: the offsets of the calls.
        is_async: the results are awaited.
    """

    def __init__(self, steps: Sequence[Step], calls: Collection[int], *, is_async: bool) -> None:
        self._steps = steps
        self._calls = calls
        self._is_async = is_async
        stored = {index: self.call_before(index) for index, step in enumerate(steps) if step.name == "STORE_FAST"}
        self.kept = frozenset(call for call in stored.values() if call is not None)
        """The calls whose results are stored in variables."""
        self.names = frozenset(steps[index].argument for index, call in stored.items() if call is not None)
        """The names of these variables."""

    def call_before(self, index: int) -> int | None:
        """The call whose result is on top of the stack before *index*; None if it is something else."""
        at = index - 1 - self._is_async
        is_waited_for = not self._is_async or self._steps[index - 1].name == AWAIT
        is_one = at >= 0 and is_waited_for and self._steps[at].offset in self._calls
        return self._steps[at].offset if is_one else None

    def loads(self) -> frozenset[int] | None:
        """The steps that load results for more than reading; None if a result may be replaced, or an error raised."""
        found: set[int] = set()
        for index, step in enumerate(self._steps):
            if step.name == "RAISE_VARARGS" and step.argument and self._comes_after(step):
                return None
            if step.name.startswith(("STORE_FAST", "DELETE_FAST")) and step.argument in self.names:
                is_first = _is_none(self._steps[index - 1]) and not self._comes_after(step)
                if self.call_before(index) is None and not is_first:
                    return None
            elif step.name.startswith("LOAD_FAST") and step.argument in self.names and not _is_read(self._steps, index):
                found.add(index)
        return frozenset(found)

    def returned(self) -> frozenset[int] | None:
        """The steps that make the returned results; None if another value may be returned, except None after a call."""
        found: set[int] = set()
        for index, step in enumerate(self._steps):
            if step.name == "RETURN_CONST" and (step.argument is not None or step.offset < min(self._calls)):
                return None
            if step.name != "RETURN_VALUE":
                continue
            origin = _origin(self._steps, index)
            if origin is None:
                return None
            made = self._steps[origin]
            if self.call_before(origin + 1) is not None or (
                made.name.startswith("LOAD_FAST") and made.argument in self.names
            ):
                found.add(origin)
            elif not _is_none(made) or made.offset < min(self._calls):
                return None
        return frozenset(found)

    def _comes_after(self, step: Step) -> bool:
        """Whether *step* may run after one of the calls: it is behind a call, or in a loop with one."""
        first = min(self._calls)
        if step.offset > first:
            return True
        back = ((each.argument, each.offset) for each in self._steps if "JUMP_BACKWARD" in each.name)
        return any(isinstance(target, int) and target <= step.offset and first < at for target, at in back)


def _is_none(step: Step) -> bool:
    return step.name == "LOAD_CONST" and step.argument is None


def _is_read(steps: Sequence[Step], index: int) -> bool:
    after = steps[index + 1 : index + 2]
    if not after or not after[0].name.startswith(("LOAD_ATTR", "LOAD_METHOD")):
        return False
    is_method = after[0].name == "LOAD_METHOD" or after[0].effect > 0
    return after[0].argument == "release" if is_method else after[0].argument in _READABLE


def _origin(steps: Sequence[Step], index: int) -> int | None:
    """The step that made the value on top of the stack before *index*; None if that cannot be told."""
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
