"""The notation of values in variables: lists, JSON and plain text.

Other notations are refused instead of being read literally: if ``["token"]`` in ``ignored_params`` were read as one
name, the parameter ``token`` would be stored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, cast

from aiohttp_cache_di.units import means_none

__all__ = [
    "FormError",
    "is_json",
    "is_quoted_list",
    "items_of",
    "parsed_json",
    "refuse_quotes",
    "refuse_separators",
    "refuse_spaces",
]

MAX_DEPTH: Final = 32  # of JSON; the options of drivers have three or four levels

_QUOTES: Final = ('""', "''", "``", "“”", "„“")
_NO_JSON: Final = "not JSON"
_TOO_DEEP: Final = "JSON that is nested too deeply"


class FormError(ValueError):
    """A value has a wrong notation; the message does not quote the value, which may be a secret."""


def items_of(value: object, part: Callable[[str], object] = str) -> object:
    """The items of a list, written as JSON or separated by commas; ``none`` is an empty list.

    Args:
        part: called with each item that commas separate, to raise if it is not valid.
    """
    if not isinstance(value, str):
        return value
    if means_none(value):
        return ()
    refuse_quotes(value)
    text = value.strip()
    if text.startswith("{"):
        raise FormError("a JSON object, where a list belongs")
    if text.startswith("["):
        return tuple(_texts(parsed_json(text)))
    if text.startswith("(") and text.endswith(")"):
        raise FormError("parentheses around a list; leave them out, or write a JSON list")
    parts = [each.strip() for each in text.split(",") if each.strip()]
    for each in parts:
        if each[0] in "\"'`“„" or each[-1] in "\"'`”“":
            raise FormError("quotes came along; leave them out, or write a JSON list")
        part(each)
    return tuple(parts)


def _texts(found: object) -> Iterable[str]:
    if not isinstance(found, list):
        raise FormError("not a JSON list")
    for item in cast("list[object]", found):
        if isinstance(item, bool) or not isinstance(item, (str, int)) or item == "":
            raise FormError("a JSON list of something else than texts")
        yield str(item)


def refuse_separators(name: str) -> None:
    """Refuse a URL, and a name with a space or a semicolon."""
    if "://" in name:
        raise FormError("a URL, where names belong")
    refuse_spaces(name)


def refuse_spaces(name: str) -> None:
    """Refuse a name with a space or a semicolon, which may have been meant to separate two."""
    if re.search(r"[\s;]", name):
        raise FormError("a space or a semicolon inside of a name; if it is meant, write a JSON list")


def refuse_quotes(text: str) -> None:
    """Refuse text in quotes."""
    bare = text.strip()
    if len(bare) > 1 and bare[0] + bare[-1] in _QUOTES:
        raise FormError("quotes came along; leave them out")


def is_quoted_list(text: str) -> bool:
    """Whether *text* is a list of quoted texts in the notation of a programming language."""
    inside = text[1:-1].strip(" ,")
    return text[:1] + text[-1:] in ("[]", "()", "{}") and inside[:1] + inside[-1:] in ("''", '""')


def is_json(text: str) -> bool:
    """Whether *text* is JSON, even if `parsed_json` refuses it."""
    try:
        parsed_json(text)
    except FormError as exc:
        return exc.args != (_NO_JSON,)
    return True


def parsed_json(text: str) -> object:
    """The value of *text*, which is JSON."""
    try:
        found = json.loads(text, object_pairs_hook=_unique)
    except RecursionError:
        raise FormError(_TOO_DEEP) from None
    except FormError:
        raise
    except ValueError:  # its message may quote the value
        raise FormError(_NO_JSON) from None
    _refuse_depth(found)
    return cast("object", found)


def _refuse_depth(found: object) -> None:
    """Refuse deep nesting, so that other code may walk through the value by recursion."""
    level: list[object] = [found]
    for _ in range(MAX_DEPTH):
        below: list[object] = []
        for value in level:
            if isinstance(value, dict):
                below.extend(cast("dict[str, object]", value).values())
            elif isinstance(value, list):
                below.extend(cast("list[object]", value))
        if not below:
            return
        level = below
    raise FormError(_TOO_DEEP)


def _unique(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise FormError("JSON that names the same thing twice")
    return found
