"""Imports and regular expressions that wait until they are first used, so that importing the package is quick.

Names of a package are imported when they are accessed (PEP 562), and patterns are compiled when they are first matched.
Compiling all patterns at import time would take a quarter of it, and most programs need few of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, AnyStr, Final, Generic, cast

__all__ = ["compiled_later", "imported_later"]

_METHODS: Final = ("findall", "finditer", "fullmatch", "match", "search", "split", "sub", "subn")


def imported_later(package: dict[str, Any], where: Mapping[str, str]) -> Callable[[str], Any]:
    """Make the ``__getattr__`` of a package; hide it from type checkers, which would accept any name with it.

    Args:
        package: the ``globals()`` of the package, where a name is kept after its import.
        where: the module of the package that defines each name.
    """
    of = package["__name__"]

    def find(name: str) -> Any:
        module = where.get(name)
        if module is None:
            raise AttributeError(f"module {of!r} has no attribute {name!r}")
        found = package[name] = getattr(import_module(f"{of}.{module}"), name)
        return found

    return find


class _Late(Generic[AnyStr]):
    """A pattern that is compiled at its first use, and then has the methods of the compiled one."""

    __slots__ = ("_flags", "_text", *_METHODS)

    def __init__(self, text: AnyStr, flags: int) -> None:
        self._text: AnyStr = text
        self._flags = flags

    def __getattr__(self, name: str) -> Any:  # called for an attribute that is not set yet
        compiled = re.compile(self._text, self._flags)
        for method in _METHODS:
            setattr(self, method, getattr(compiled, method))
        return getattr(compiled, name)


def compiled_later(pattern: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """A pattern like that of `re.compile`, compiled when it is first used; an invalid one raises only then."""
    return cast("re.Pattern[AnyStr]", _Late(pattern, flags))
