"""Compare requests with recorded ones by keys, and describe how two requests differ."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from difflib import SequenceMatcher
from typing import Any, Final, NamedTuple, TypeAlias
from urllib.parse import parse_qsl

from yarl import URL

from aiohttp_cache_di.testing.recording.bodies import as_array, as_object, is_json
from aiohttp_cache_di.testing.recording.comparing.meanings import as_forms, kind_of, meaning_of, parsed
from aiohttp_cache_di.testing.recording.exchanges import Asked, value_of

__all__ = ["Key", "differences", "key_of", "nearest", "other_keys_of"]

_CONDITIONS: Final = frozenset({"if-match", "if-modified-since", "if-none-match", "if-unmodified-since"})
_ABSENT: Final = "none"
_MOST_FIELDS: Final = 8  # differences of a body that are listed
_LONGEST: Final = 80  # characters of a value that are shown
_Pairs: TypeAlias = tuple[tuple[str, str], ...]


class Key(NamedTuple):
    """Identifies a request: two requests are the same if their keys are equal."""

    method: str
    origin: str
    path: str
    query: tuple[tuple[str, str], ...]
    body: str
    is_conditional: bool
    part: str
    headers: tuple[tuple[str, str], ...]


def key_of(asked: Asked, *, headers: Collection[str] = (), ignored: Collection[str] = ()) -> Key:
    """The key of *asked*, a request that has been filtered.

    Args:
        headers: names of header fields whose values distinguish requests.
        ignored: names of parameters, and of fields in JSON bodies, whose values do not.
    """
    url = URL(asked.url)
    query = tuple(sorted(pair for pair in url.query.items() if pair[0] not in ignored))
    named = tuple(sorted((name.lower(), value_of(asked.headers, name.lower())) for name in headers))
    conditional = any(name.lower() in _CONDITIONS for name, _ in asked.headers)
    part = value_of(asked.headers, "range")
    body = meaning_of(asked.body, value_of(asked.headers, "content-type"), ignored)
    return Key(asked.method, str(url.origin()), url.raw_path, query, body, conditional, part, named)


def other_keys_of(asked: Asked, key: Callable[[Asked], Key]) -> list[Key]:
    """The keys of other requests that *asked*, a recorded one, may stand for.

    A body recorded as JSON may have been sent as a form: vcrpy records the argument that the client was given.

    Args:
        key: makes the key of a request that has not been filtered.
    """
    content_type = value_of(asked.headers, "content-type")
    if not asked.body or is_json(content_type) or kind_of(asked.body, content_type) != "json":
        return []
    return [key(replace(asked, body=form)) for form in as_forms(asked.body)]


def nearest(key: Key, candidates: Iterable[Key]) -> Key | None:
    """The one of *candidates* that differs least from *key*; None if there are none."""

    def distance(candidate: Key) -> tuple[int, float]:
        apart = sum(ours != theirs for ours, theirs in zip(key, candidate, strict=True))
        return apart, -SequenceMatcher(None, str(key), str(candidate)).ratio()

    return min(candidates, key=distance, default=None)


def differences(key: Key, other: Key) -> list[str]:
    """The differences between a recorded request (*other*) and the current one (*key*), one per line."""
    found = [
        f"{what}: recorded {theirs or _ABSENT}, asked for {ours or _ABSENT}"
        for what, ours, theirs in (
            ("method", key.method, other.method),
            ("origin", key.origin, other.origin),
            ("path", key.path, other.path),
            ("Range", key.part, other.part),
        )
        if ours != theirs
    ]
    found += _pair_differences("parameter", key.query, other.query)
    found += _pair_differences("header", key.headers, other.headers)
    if key.is_conditional != other.is_conditional:
        which = "recorded one" if other.is_conditional else "one asked for"
        found.append(f"conditions: only the {which} has some (If-None-Match and the like)")
    if key.body != other.body:
        found += _body_differences(key.body, other.body)
    return found


def _body_differences(ours: str, theirs: str) -> list[str]:
    """The differences between two bodies, field by field if they have common fields."""
    one, other = _fields(ours), _fields(theirs)
    if one is not None and other is not None and one.keys() & other.keys():
        lines = [
            f"body at {path or 'its top'}: recorded {_leaf(other, path)}, asked for {_leaf(one, path)}"
            for path in sorted(one.keys() | other.keys())
            if one.get(path) != other.get(path)
        ]
        if lines:
            return lines[:_MOST_FIELDS]
    where = _first_apart(ours, theirs)
    return [f"body: recorded {_short(theirs)}, asked for {_short(ours)}{where}"]


def _fields(text: str) -> dict[str, str] | None:
    """The values in a body, a text that `meaning_of` returned, by their paths; None if it has no fields."""
    body = text.encode("utf-8", "surrogatepass")
    kind = kind_of(body, "")
    if kind == "form":
        by_name: dict[str, list[str]] = {}
        for name, value in parse_qsl(text, keep_blank_values=True):
            by_name.setdefault(name, []).append(value)
        return {name: ", ".join(values) for name, values in by_name.items()}
    found = parsed(body) if kind == "json" else None
    if found is None:
        return None
    leaves: dict[str, str] = {}
    _collect(found[0], "", leaves)
    return leaves


def _collect(value: Any, path: str, leaves: dict[str, str]) -> None:
    fields, items = as_object(value), as_array(value)
    if fields:
        for name, inner in fields.items():
            _collect(inner, f"{path}.{name}" if path else name, leaves)
    elif items:
        for number, inner in enumerate(items):
            _collect(inner, f"{path}[{number}]", leaves)
    else:
        leaves[path] = json.dumps(value, ensure_ascii=False)


def _pair_differences(what: str, key: _Pairs, other: _Pairs) -> list[str]:
    if key == other:
        return []
    ours, theirs = dict(key), dict(other)
    return [
        f"{what} {name}: recorded {theirs.get(name, _ABSENT)}, asked for {ours.get(name, _ABSENT)}"
        for name in sorted(ours.keys() | theirs.keys())
        if ours.get(name) != theirs.get(name)
    ] or [f"{what}s that come more than once"]


def _short(text: str) -> str:
    return repr(text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…") if text else _ABSENT


def _leaf(leaves: Mapping[str, str], path: str) -> str:
    text = leaves.get(path, _ABSENT)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _first_apart(ours: str, theirs: str) -> str:
    at = next((i for i, (one, other) in enumerate(zip(ours, theirs, strict=False)) if one != other), None)
    return "" if at is None or at < 60 else f", apart from character {at}: {_short(theirs[at : at + 40])}"
