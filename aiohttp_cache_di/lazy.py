"""What is made when it is first used, as making it takes long and few programs need all of it.

Names of a package that are imported when they are asked for (PEP 562); regular expressions that are compiled then.
Compiling those of this package takes a quarter of the time that importing it would take, and most are for what a header
field, a URL or a setting has only now and then.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, AnyStr, Final, Generic, cast

__all__ = ["compiled_later", "imported_later"]

_METHODS: Final = ("findall", "finditer", "fullmatch", "match", "search", "split", "sub", "subn")


def imported_later(package: dict[str, Any], where: Mapping[str, str]) -> Callable[[str], Any]:
    """Make the ``__getattr__`` of a package; hide it from type checkers, to which any name would be there with it.

    Args:
        package: the ``globals()`` of the package; a name that has been asked for is kept there.
        where: names, and the module of the package that has each.
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
    """Stands in the place of a compiled pattern, and has that pattern's own methods from its first use on."""

    __slots__ = ("_flags", "_text", *_METHODS)

    def __init__(self, text: AnyStr, flags: int) -> None:
        self._text: AnyStr = text
        self._flags = flags

    def __getattr__(self, name: str) -> Any:  # of an attribute that is not set yet
        compiled = re.compile(self._text, self._flags)
        for method in _METHODS:
            setattr(self, method, getattr(compiled, method))
        return getattr(compiled, name)


def compiled_later(pattern: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """What `re.compile` returns, compiled when it is first used; a pattern that is none is found out then."""
    return cast("re.Pattern[AnyStr]", _Late(pattern, flags))
