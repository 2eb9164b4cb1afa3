"""Imports, regular expressions and derived values that wait until they are first used.

Names of a package are imported when they are accessed (PEP 562), and patterns are compiled when they are first matched.
Compiling all patterns at import time would take a quarter of it, and most programs need few of them. Values that are
derived from settings are made when they are first read after a change.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from importlib import import_module
from itertools import count
from typing import TYPE_CHECKING, Any, AnyStr, Final, Generic, Protocol, cast

__all__ = ["compiled_later", "derived", "imported_later", "outdate"]

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


class Revised(Protocol):
    """An object with settings."""

    revision: int


_revisions = count(1)  # for all objects: two threads that change settings at once get two numbers


class _Derived(cached_property[Any]):
    """A cached property that is made again if another thread has changed the settings while it was made."""

    def __get__(self, instance: Any, owner: type | None = None) -> Any:  # only while there is no value
        if instance is None:
            return self
        kept = cast("dict[str | None, Any]", vars(instance))
        while True:
            revision = instance.revision
            value = kept[self.attrname] = self.func(instance)
            if instance.revision == revision:
                return value
            kept.pop(self.attrname, None)


if TYPE_CHECKING:
    derived = cached_property
else:
    derived = _Derived


def outdate(instance: Revised, names: Iterable[str]) -> None:
    """Raise the revision, and forget the `derived` values of these *names*; to be called after a change of settings."""
    instance.revision = next(_revisions)  # first: what is kept later is seen to be outdated by the thread that keeps it
    for name in names:
        vars(instance).pop(name, None)
