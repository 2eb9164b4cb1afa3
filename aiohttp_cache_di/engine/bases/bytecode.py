"""The instructions of a function, as `arguments` and `results` read them.

What differs between versions of Python without a difference in meaning is made alike here. An instruction that is not
recognised by those modules, as on a later version of Python, makes a function count as unknown.
"""

from __future__ import annotations

import dis
import re
from collections.abc import Iterator
from types import CodeType
from typing import Any, Final, NamedTuple

__all__ = ["AWAIT", "Step", "steps_of"]

AWAIT: Final = "AWAIT"
"""The name of the step that stands for all instructions of an ``await``."""


class Step(NamedTuple):
    """One instruction, or one half of an instruction for two variables, or an ``await``.

    Attributes:
        effect: by how much the stack grows.
        is_target: whether another instruction may jump here.
    """

    name: str
    argument: Any
    offset: int
    effect: int
    is_target: bool

    @property
    def is_load(self) -> bool:
        """Whether it loads a parameter or a local variable."""
        return self.name.startswith("LOAD_FAST")

    @property
    def is_attribute(self) -> bool:
        """Whether it reads or changes an attribute."""
        return self.name.startswith(("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER", "STORE_ATTR", "DELETE_ATTR"))


def steps_of(code: CodeType) -> list[Step]:
    """The instructions of *code*: those of an ``await`` as one step, one for two variables as two steps."""
    return list(_steps(code))


def _steps(code: CodeType) -> Iterator[Step]:
    until = -1
    waiting = False
    for each in dis.get_instructions(code):
        if each.opname == "EXTENDED_ARG":
            continue
        if waiting and each.opname == "SEND":
            waiting, until = False, each.argval
        if waiting or each.offset < until or (each.offset == until and each.opname == "END_SEND"):
            continue
        if each.opname == "GET_AWAITABLE":
            waiting = True
            yield Step(AWAIT, None, each.offset, 0, each.is_jump_target)
            continue
        is_target = each.is_jump_target and each.offset != until  # the await itself jumps there
        argument: Any = each.argval
        if each.opname == "KW_NAMES" and each.arg is not None:  # Python 3.11's `dis` does not look them up
            argument = code.co_consts[each.arg]
        if "_FAST_" in each.opname and issubclass(type(argument), tuple):
            kinds: list[str] = re.findall(r"(?:LOAD|STORE)_FAST", each.opname)
            for kind, name in zip(kinds, argument, strict=True):
                yield Step(kind, name, each.offset, 1 if kind == "LOAD_FAST" else -1, is_target)
        else:
            effect = dis.stack_effect(each.opcode, each.arg, jump=False)
            yield Step(each.opname, argument, each.offset, effect, is_target)
