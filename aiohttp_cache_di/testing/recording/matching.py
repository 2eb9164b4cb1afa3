"""Whether what is recorded is what is asked for, and what differs where it is not."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from difflib import SequenceMatcher
from typing import Final, NamedTuple, TypeAlias

from yarl import URL

from aiohttp_cache_di.testing.recording.bodies import is_json, without
from aiohttp_cache_di.testing.recording.exchanges import Asked, value_of

__all__ = ["Key", "differences", "key_of", "nearest"]

_CONDITIONS: Final = frozenset({"if-match", "if-modified-since", "if-none-match", "if-unmodified-since"})
_ABSENT: Final = "none"
_Pairs: TypeAlias = tuple[tuple[str, str], ...]


class Key(NamedTuple):
    """What makes two requests the same, by the names in which `differences` speaks of it."""

    method: str
    origin: str
    path: str
    query: tuple[tuple[str, str], ...]
    body: str
    is_conditional: bool
    part: str
    headers: tuple[tuple[str, str], ...]


def key_of(asked: Asked, *, headers: Collection[str] = (), ignored: Collection[str] = ()) -> Key:
    """What is looked at of *asked*, which has been filtered.

    Args:
        headers: names of header fields that count.
        ignored: names of parameters, and of fields in JSON bodies, that do not.
    """
    url = URL(asked.url)
    query = tuple(sorted(pair for pair in url.query.items() if pair[0] not in ignored))
    named = tuple(sorted((name.lower(), value_of(asked.headers, name.lower())) for name in headers))
    conditional = any(name.lower() in _CONDITIONS for name, _ in asked.headers)
    part = value_of(asked.headers, "range")
    return Key(
        asked.method, str(url.origin()), url.raw_path, query, _comparable(asked, ignored), conditional, part, named
    )


def _comparable(asked: Asked, ignored: Collection[str]) -> str:
    """The body as text that is the same for bodies that mean the same."""
    content_type = value_of(asked.headers, "content-type")
    text = asked.body.decode("utf-8", "backslashreplace")
    if content_type.lower().startswith("application/x-www-form-urlencoded"):
        pairs = URL.build(path="/", query_string=text, encoded=True).query.items()
        return str(sorted(pair for pair in pairs if pair[0] not in ignored))
    if asked.body and is_json(content_type):
        try:
            return json.dumps(without(json.loads(text), ignored), sort_keys=True)
        except (ValueError, RecursionError):
            return text
    return text


def nearest(key: Key, candidates: Iterable[Key]) -> Key | None:
    """The one of *candidates* that differs least from *key*."""

    def distance(candidate: Key) -> tuple[int, float]:
        apart = sum(ours != theirs for ours, theirs in zip(key, candidate, strict=True))
        return apart, -SequenceMatcher(None, str(key), str(candidate)).ratio()

    return min(candidates, key=distance, default=None)


def differences(key: Key, other: Key) -> list[str]:
    """What differs, a line for each thing: how it is recorded (*other*), and how it is asked for (*key*)."""
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
        where = _first_apart(key.body, other.body)
        found.append(f"body: recorded {_short(other.body)}, asked for {_short(key.body)}{where}")
    return found


def _pair_differences(what: str, key: _Pairs, other: _Pairs) -> list[str]:
    if key == other:
        return []
    ours, theirs = dict(key), dict(other)
    return [
        f"{what} {name}: recorded {theirs.get(name, _ABSENT)}, asked for {ours.get(name, _ABSENT)}"
        for name in sorted(ours.keys() | theirs.keys())
        if ours.get(name) != theirs.get(name)
    ] or [f"{what}s that come more than once"]


def _short(text: str, longest: int = 80) -> str:
    return repr(text if len(text) <= longest else text[: longest - 1] + "…") if text else _ABSENT


def _first_apart(ours: str, theirs: str) -> str:
    at = next((i for i, (one, other) in enumerate(zip(ours, theirs, strict=False)) if one != other), None)
    return "" if at is None or at < 60 else f", apart from character {at}: {_short(theirs[at : at + 40])}"
