"""The options of `recorded` and of the mark: how requests are recorded and distinguished."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypedDict

from aiohttp_cache_di.testing.recording.hiding.filters import Filters

__all__ = ["OPTIONS", "RecordingOptions", "RecordingRules", "rules_of"]


class RecordingOptions(TypedDict, total=False):
    """The options of `recorded` and of the mark."""

    filter_headers: Collection[str]
    """Names of header fields whose values are not written, besides those of credentials. Default: ()."""
    filter_query: Collection[str]
    """Names of parameters, in queries and in forms, whose values are not written. Default: ()."""
    filter_json: Collection[str]
    """Names of fields in JSON and of elements in XML, at any depth, whose values are not written. Default: ()."""
    filter: Callable[[str], str] | Collection[Callable[[str], str]]
    """Changes each URL, each value of a header field and each body that is text before it is written. Default: ()."""
    unfiltered: Collection[str]
    """Names whose values are written, though they look like credentials. Default: ()."""
    match_headers: Collection[str]
    """Names of header fields whose values distinguish requests. Default: ()."""
    ignore: Collection[str]
    """Names of parameters, and of fields in JSON bodies, whose values do not distinguish requests. Default: ()."""
    volatile: Collection[str]
    """Names of header fields, and of fields in JSON bodies, whose changes do not rewrite a recording. Default: ()."""
    repeat: bool
    """Answer with the last recording of a request once all have been used. Default: False."""


@dataclass(frozen=True, slots=True)
class RecordingRules:
    """How requests are recorded and distinguished.

    Args:
        filters: what is removed before recording.
        match_headers: names of header fields whose values distinguish requests.
        ignore: names of parameters, and of fields in JSON bodies, whose values do not.
        volatile: names of header fields, and of fields in JSON bodies, whose changes do not rewrite a recording.
        repeat: answer with the last recording of a request after all have been used.
    """

    filters: Filters = field(default_factory=Filters)
    match_headers: Collection[str] = ()
    ignore: Collection[str] = ()
    volatile: Collection[str] = ()
    repeat: bool = False


# The options that are fields of `Filters`, and the names of these fields.
_FILTERS: Final = {
    "filter": "texts",
    "filter_headers": "headers",
    "filter_json": "json",
    "filter_query": "query",
    "unfiltered": "unfiltered",
}
OPTIONS: Final = (*_FILTERS, "ignore", "match_headers", "repeat", "volatile")
"""The names of all options except path and mode."""


def rules_of(options: Mapping[str, object]) -> RecordingRules:
    """Check *options*, and turn them into rules.

    Raises:
        TypeError: an option is unknown or has the wrong type.
    """
    for name in options:
        if name not in OPTIONS:
            known = ("path", "mode", *OPTIONS)
            near = difflib.get_close_matches(name, known, n=1)
            meant = f" (did you mean {near[0]}?)" if near else ""
            raise TypeError(f"recorded: unknown option {name}{meant}; use {', '.join(sorted(known))}")
    checked = {name: _checked(name, value) for name, value in options.items()}
    filters = {_FILTERS[name]: value for name, value in checked.items() if name in _FILTERS}
    others = {name: value for name, value in checked.items() if name not in _FILTERS}
    return RecordingRules(Filters(**filters), **others)


def _checked(name: str, value: Any) -> Any:
    if name == "repeat":
        if not isinstance(value, bool):
            raise TypeError(f"recorded: repeat={value!r}: use True or False")
        return value
    if name == "filter":
        functions: tuple[Any, ...] = (value,) if callable(value) else _items(value)
        if not functions or not all(map(callable, functions)):
            raise TypeError(f"recorded: filter={value!r}: give a function that takes and returns text, or several")
        return functions
    if isinstance(value, str):
        raise TypeError(f"recorded: {name}={value!r}: give a collection of names, as in {name}=[{value!r}]")
    names = _items(value)
    if isinstance(value, Mapping) or not all(isinstance(one, str) for one in names) or (value and not names):
        raise TypeError(f"recorded: {name}={value!r}: give a collection of names")
    return names


def _items(value: Any) -> tuple[Any, ...]:
    return tuple(value) if hasattr(value, "__iter__") else ()
