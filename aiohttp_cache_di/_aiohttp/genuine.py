"""Whether aiohttp's classes are as aiohttp made them: an instrument or a test may have put methods of its own there."""

from __future__ import annotations

import sys
from types import FunctionType
from typing import Any, Final

__all__ = ["is_genuine"]

_looked_at: Final[dict[type, dict[str, Any]]] = {}


def is_genuine(owner: type) -> bool:
    """Whether all methods of *owner* are of the module that defines it, and do what is known of them."""
    contents = vars(owner)
    if _looked_at.get(owner) == contents:  # the same objects as before
        return True
    module = sys.modules.get(owner.__module__)
    if module is None or not all(_is_of(value, vars(module)) for value in contents.values()):
        return False
    _looked_at[owner] = dict(contents)
    return True


def _is_of(value: object, names: dict[str, Any]) -> bool:
    if isinstance(value, property):
        return all(_is_of(part, names) for part in (value.fget, value.fset) if part is not None)
    if isinstance(value, staticmethod | classmethod):
        return _is_of(value.__func__, names)
    if isinstance(value, FunctionType):
        return type(value) is FunctionType and value.__globals__ is names
    return not callable(value) or isinstance(value, type)
