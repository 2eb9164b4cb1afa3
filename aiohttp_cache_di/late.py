"""Regular expressions that are compiled when they are first used.

Compiling those of this package takes a quarter of the time that importing it would take, and few programs need all of
them: most are for what a header field, a URL or a setting has only now and then.
"""

from __future__ import annotations

import re
from typing import Any, AnyStr, Final, Generic, cast

__all__ = ["late"]

_METHODS: Final = ("findall", "finditer", "fullmatch", "match", "search", "split", "sub", "subn")


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


def late(pattern: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """What `re.compile` returns, compiled when it is first used; a pattern that is none is found out then."""
    return cast("re.Pattern[AnyStr]", _Late(pattern, flags))
