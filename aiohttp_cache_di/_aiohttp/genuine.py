"""Whether aiohttp's classes are unpatched: an instrumentation or a test may have replaced some of their methods."""

from __future__ import annotations

import sys
from types import FunctionType, GetSetDescriptorType, MemberDescriptorType
from typing import Any, Final

from aiohttp_cache_di.signatures import OptionsSignature

__all__ = ["is_genuine"]

_HARMLESS: Final = (GetSetDescriptorType, MemberDescriptorType, OptionsSignature)
_looked_at: Final[dict[type, dict[str, Any]]] = {}


def is_genuine(owner: type) -> bool:
    """Whether all methods of *owner* are defined in the module of that class."""
    contents: Any = vars(owner)
    if _looked_at.get(owner) == contents:  # the attributes are the same objects as before
        return True
    module = sys.modules.get(owner.__module__)
    if module is None or not all(_is_of(value, vars(module)) for value in contents.values()):
        return False
    _looked_at[owner] = dict(contents)
    return True


def _is_of(value: object, names: dict[str, Any]) -> bool:
    if type(value) is property:
        return all(_is_of(part, names) for part in (value.fget, value.fset) if part is not None)
    kind: type = type(value)  # not __class__, which a wrapper may fake
    function: Any = value
    if kind is staticmethod or kind is classmethod:
        function = function.__func__
    if issubclass(type(function), FunctionType):
        return function.__globals__ is names
    if kind in _HARMLESS or isinstance(value, type):
        return True
    return not callable(value) and not hasattr(kind, "__get__")
