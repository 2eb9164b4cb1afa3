"""The meaning of a body, for comparison.

Two bodies mean the same if both are JSON with equal values, both are forms of one kind with equal fields, or both have
the same bytes. The kind of a body follows from its Content-Type, or from what the body looks like: a recording of
another tool may lack header fields or have different ones.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import parse_qsl, urlencode

from aiohttp_cache_di.testing.recording.bodies import as_array, as_object, is_json, listed

__all__ = ["Kind", "as_forms", "boundary_of", "form_of", "kind_of", "meaning_of", "parsed", "parts_body"]

Kind: TypeAlias = Literal["json", "form", "parts", "xml", "text"]

_FORM: Final = "application/x-www-form-urlencoded"
_PARTS: Final = "multipart/form-data"
_XML_TYPE: Final = re.compile(r"(?:application|text)/(?:[\w.+-]+\+)?xml\b", re.IGNORECASE)
_BOUNDARY: Final = re.compile(r"multipart/.*boundary=\"?([^\";,\s]+)", re.IGNORECASE)
_LOOKS_LIKE_JSON: Final = re.compile(rb"\s*[{\[]")
_LOOKS_LIKE_FORM: Final = re.compile(
    rb"[^\s=&<>\"{}\x80-\xff]{1,64}=[^\s&<>\"{}\x80-\xff]*(?:&[^\s&<>\"{}\x80-\xff]*)*\Z"
)
_LOOKS_LIKE_PARTS: Final = re.compile(
    rb"--([^\s\"]{1,70})\r\n(?:[^\r\n]+\r\n)*?content-disposition: form-data;", re.IGNORECASE
)
_LOOKS_LIKE_XML: Final = re.compile(rb"\s*<(?:\?xml\b|(?:\w+:)?envelope\b)", re.IGNORECASE)
_PART: Final = re.compile(
    rb'--boundary\r\n(?:[^\r\n]+\r\n)*?content-disposition: form-data; name="(?P<name>[^"\r\n]*)"'
    rb'(?:; filename="(?P<file>[^"\r\n]*)")?[^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\n(?P<value>.*?)(?=\r\n--boundary)',
    re.IGNORECASE | re.DOTALL,
)


def kind_of(body: bytes, content_type: str) -> Kind:
    """The kind of *body*, from *content_type* and its own text; "text" for anything else, even binary."""
    told = content_type.strip().lower()
    if is_json(told) or _LOOKS_LIKE_JSON.match(body):
        if parsed(body) is not None:
            return "json"
    elif told.startswith(_FORM) or _LOOKS_LIKE_FORM.match(body):
        return "form"
    elif told.startswith(_PARTS) or _LOOKS_LIKE_PARTS.match(body):
        return "parts"
    return "xml" if _XML_TYPE.match(told) or _LOOKS_LIKE_XML.match(body) else "text"


def parsed(body: bytes) -> tuple[Any] | None:
    """*body* parsed as JSON, in a tuple because the value may be None; None if it is not JSON."""
    try:
        return (json.loads(body),)
    except (ValueError, RecursionError):
        return None


def boundary_of(body: bytes, content_type: str) -> str | None:
    """The boundary of *body*, a multipart form; None if it is not one."""
    told = _BOUNDARY.match(content_type)
    if told is not None:
        return told[1]
    found = None if content_type else _LOOKS_LIKE_PARTS.match(body)
    return None if found is None else found[1].decode("latin-1")


def meaning_of(body: bytes, content_type: str, ignored: Collection[str] = ()) -> str:
    """A text that is equal for bodies that mean the same.

    Args:
        body: the body; the boundary of a multipart form has been replaced by "boundary".
        ignored: names of fields, at any depth, that are left out.
    """
    kind = kind_of(body, content_type)
    if kind == "json":
        (value,) = parsed(body) or (None,)
        return json.dumps(_plain(value, ignored), sort_keys=True, ensure_ascii=False)
    text = body.decode("utf-8", "backslashreplace")
    if kind == "form":
        pairs = parse_qsl(text, keep_blank_values=True)
        return urlencode(sorted(pair for pair in pairs if pair[0] not in ignored)) if pairs else text
    if kind == "parts":
        parts = [tuple(_shown(part[name]) for name in ("name", "file", "value")) for part in _PART.finditer(body)]
        return str(sorted(part for part in parts if part[0] not in ignored)) if parts else text
    return text


def as_forms(body: bytes) -> tuple[bytes, ...]:
    """The forms that *body* may have been sent as, if it is the JSON that vcrpy records for a form."""
    (value,) = parsed(body) or (None,)
    fields, items = as_object(value), as_array(value)
    pairs = list(fields.items()) if fields is not None else [_pair(item) for item in items or ()]
    flat = [(name, one) for name, inner in filter(None, pairs) for one in listed(inner)]
    if not flat or None in pairs or not all(isinstance(one, str | int | float) for _, one in flat):
        return ()
    fields_of = [(name, "", str(one)) for name, one in flat]
    files_of = [(name, name, str(one)) for name, one in flat]  # aiohttp's default file name is the field's name
    return form_of(flat), parts_body(fields_of), parts_body(files_of)


def form_of(pairs: Collection[tuple[str, Any]]) -> bytes:
    """A form with *pairs*, URL-encoded."""
    return urlencode(list(pairs)).encode()


def parts_body(parts: Collection[tuple[str, str, str]]) -> bytes:
    """A multipart form of *parts*: name, file name or "", and value of each."""
    lines = [
        f'--boundary\r\nContent-Disposition: form-data; name="{name}"'
        + (f'; filename="{file}"' if file else "")
        + f"\r\n\r\n{value}\r\n"
        for name, file, value in parts
    ]
    return "".join((*lines, "--boundary--\r\n")).encode()


def _plain(value: Any, ignored: Collection[str]) -> Any:
    """*value*, parsed JSON, without ignored fields, and with whole floats as integers (1 for 1.0)."""
    fields, items = as_object(value), as_array(value)
    if fields is not None:
        return {name: _plain(inner, ignored) for name, inner in fields.items() if name not in ignored}
    if items is not None:
        return [_plain(inner, ignored) for inner in items]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _pair(item: Any) -> tuple[str, Any] | None:
    two = as_array(item)
    return (two[0], two[1]) if two is not None and len(two) == 2 and isinstance(two[0], str) else None


def _shown(value: bytes | None) -> str:
    return "" if value is None else value.decode("utf-8", "backslashreplace")
