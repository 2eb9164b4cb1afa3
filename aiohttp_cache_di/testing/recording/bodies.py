"""Write a body readably: as JSON data, as text, or else as base64; reading restores it byte for byte."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, Final, cast

from aiohttp_cache_di.errors import ConfigurationError

__all__ = [
    "as_array",
    "as_object",
    "encoded",
    "is_json",
    "listed",
    "parsed_json",
    "read_body",
    "without",
    "written_body",
]

_JSON_TYPE: Final = re.compile(r"application/(?:[\w.+-]+\+)?json\b|text/json\b", re.IGNORECASE)
_CHARSET: Final = re.compile(r"charset=\"?([\w.:-]+)", re.IGNORECASE)
_CONTROLS: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x85\ud800-\udfff\ufeff\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class _Layout:
    """A layout of JSON; *name* identifies it in files."""

    name: str
    separators: tuple[str, str]
    indent: int | None = None
    ascii_only: bool = False
    end: str = ""

    def dumps(self, value: Any) -> str:
        text = json.dumps(value, ensure_ascii=self.ascii_only, indent=self.indent, separators=self.separators)
        return text + self.end


def _layouts() -> dict[str, _Layout]:
    forms = (("compact", (",", ":"), None), ("spaced", (", ", ": "), None))
    forms += tuple((f"indent {width}", (",", ": "), width) for width in (2, 4, 1, 3))  # type: ignore[assignment]  # grows
    found: dict[str, _Layout] = {}
    for (form, separators, indent), ascii_only, end in product(forms, (False, True), ("", "\n")):
        name = form + (", ascii" if ascii_only else "") + (", newline" if end else "")
        found[name] = _Layout(name, separators, indent, ascii_only, end)
    return found


_LAYOUTS: Final = _layouts()
_DEFAULT: Final = "compact"


def is_json(content_type: str) -> bool:
    """Whether *content_type* is JSON."""
    return _JSON_TYPE.match(content_type.strip()) is not None


def parsed_json(body: bytes) -> tuple[Any, _Layout] | None:
    """Parse *body* as JSON; return the value and the layout that restores the same bytes, None if there is none."""
    try:
        text = body.decode()
        value = json.loads(text)
    except ValueError:
        return None
    try:
        layout = next((one for one in _LAYOUTS.values() if one.dumps(value) == text), None)
    except (ValueError, RecursionError):
        return None
    return None if layout is None else (value, layout)


def as_object(value: object) -> dict[str, Any] | None:
    """*value*, parsed JSON, if it is an object."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def as_array(value: object) -> list[Any] | None:
    """*value*, parsed JSON, if it is an array."""
    return cast("list[object]", value) if isinstance(value, list) else None


def listed(values: Any) -> list[Any]:
    """*values* if it is a list, else a list with *values* as its only item."""
    several = as_array(values)
    return [values] if several is None else several


def without(value: Any, names: Collection[str]) -> Any:
    """*value*, parsed JSON, without the fields called *names* at any depth."""
    fields, items = as_object(value), as_array(value)
    if fields is not None:
        return {name: without(inner, names) for name, inner in fields.items() if name not in names}
    return value if items is None else [without(inner, names) for inner in items]


def written_body(body: bytes, content_type: str) -> dict[str, Any]:
    """*body* as the keys of a file: ``json``, ``text`` or ``base64``, and how to restore the bytes."""
    if not body:
        return {}
    found = parsed_json(body) if is_json(content_type) else None
    if found is not None:
        value, layout = found
        return {"json": value} if layout.name == _DEFAULT else {"json": value, "layout": layout.name}
    charset = _CHARSET.search(content_type)
    for name in ("utf-8", charset[1].lower() if charset else "utf-8"):
        try:
            text = body.decode(name)
            is_same = text.encode(name) == body
        except (ValueError, LookupError):
            continue
        if is_same and _CONTROLS.search(text) is None:
            return {"text": text} if name == "utf-8" else {"text": text, "charset": name}
    return {"base64": base64.encodebytes(body).decode("ascii")}


def encoded(text: str, content_type: str) -> bytes:
    """Encode *text* in the charset of *content_type*, or in UTF-8 if that has no usable charset."""
    charset = _CHARSET.search(content_type)
    try:
        return text.encode(charset[1] if charset else "utf-8")
    except (ValueError, LookupError):
        return text.encode("utf-8", "surrogatepass")


def read_body(written: Mapping[str, Any]) -> bytes:
    """Restore the body from what `written_body` returned.

    Raises:
        ConfigurationError: *written* is invalid.
    """
    try:
        if "json" in written:
            return _LAYOUTS[written.get("layout", _DEFAULT)].dumps(written["json"]).encode()
        if "text" in written:
            text: str = written["text"]
            return text.encode(written.get("charset", "utf-8"))
        return base64.b64decode(written.get("base64", ""))
    except (ValueError, TypeError, LookupError, AttributeError) as exc:
        raise ConfigurationError(f"a recorded body cannot be read: {type(exc).__name__}: {exc}") from exc
