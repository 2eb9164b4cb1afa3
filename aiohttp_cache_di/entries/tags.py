"""Tags: names that responses share, by which they are purged together.

``Cache-Groups`` (RFC 9875) is the standard header field for them; ``Surrogate-Key``, ``Cache-Tag`` and ``xkey`` are
those of content delivery networks, which many origins send. Other tags come from the request, or from the user's
``tag_fn``.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Final

from multidict import istr

from aiohttp_cache_di.rfc9111.groups import groups_in
from aiohttp_cache_di.rfc9111.messages import MAX_TAG_CHARS, MAX_TAGS, Headers, Tagging

__all__ = [
    "MAX_TAGS",
    "MAX_TAGS_BYTES",
    "TAG_FIELDS",
    "TooManyTagsError",
    "as_shown",
    "has_tags",
    "joined",
    "tagging_of",
    "tags_in",
]

_CACHE_GROUPS: Final = istr("Cache-Groups")
_SURROGATE_KEY: Final = istr("Surrogate-Key")
_CACHE_TAG: Final = istr("Cache-Tag")
_XKEY: Final = istr("xkey")

MAX_TAGS_BYTES: Final = 16 * 1024
"""The total size of one response's tags, as delivery networks limit it for a field."""

_SPACED: Final = frozenset({b"surrogate-key", b"xkey"})  # tags separated by spaces
_LISTED: Final = frozenset({b"cache-tag"})  # tags separated by commas
_GROUPS: Final = b"cache-groups"

TAG_FIELDS: Final = _SPACED | _LISTED | {_GROUPS}
"""The lower-case names of header fields with tags."""


class TooManyTagsError(ValueError):
    """A response has too many tags to store all, and is not stored: a purge by one of the others would miss it."""


def as_shown(text: str) -> str:
    """*text* in the form in which tags are stored and compared, with unprintable characters replaced for terminals."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


def has_tags(headers: Headers) -> bool:
    """Whether *headers* have a field with tags."""
    return _CACHE_GROUPS in headers or _SURROGATE_KEY in headers or _CACHE_TAG in headers or _XKEY in headers


def tags_in(lines: Iterable[tuple[bytes, bytes]]) -> tuple[str, ...]:
    """The tags in header *lines*, each once, groups first; `MAX_TAGS` at most, without those that are too long."""
    groups, others = _read(lines)
    fitting = (tag for tag in dict.fromkeys((*groups, *others)) if len(tag) <= MAX_TAG_CHARS)
    return tuple(islice(fitting, MAX_TAGS))


def tagging_of(
    lines: Iterable[tuple[bytes, bytes]], others: Iterable[str] = (), *, origin: str = "", purges: int = 0
) -> Tagging | None:
    """The tags in header *lines*, and *others*; None if there are none.

    Args:
        origin: the origin to which the groups of ``Cache-Groups`` belong.
        purges: see `Tagging`.

    Raises:
        TooManyTagsError: they are too many, or too long.
    """
    groups, found = _read(lines)
    return _checked(groups, (*found, *map(as_shown, others)), origin, purges)


def joined(tagging: Tagging | None, other: Tagging | None) -> Tagging | None:
    """The tags of both, for a response that is made of two; a purge applies to it if it applies to either of them.

    Raises:
        TooManyTagsError: they are too many.
    """
    if tagging is None or other is None:
        return tagging if other is None else other
    groups = (*tagging.names[: tagging.groups], *other.names[: other.groups])
    others = (*tagging.names[tagging.groups :], *other.names[other.groups :])
    return _checked(groups, others, other.origin or tagging.origin, min(tagging.purges, other.purges))


def _read(lines: Iterable[tuple[bytes, bytes]]) -> tuple[list[str], list[str]]:
    """The groups in *lines*, and the other tags."""
    groups: list[str] = []
    listed: list[str] = []
    others: list[str] = []
    for name, value in lines:
        low = name.lower()
        if low not in TAG_FIELDS:
            continue
        text = value.decode("utf-8", "replace")
        if low == _GROUPS:
            listed.append(text)
        else:
            others += text.split() if low in _SPACED else (tag.strip() for tag in text.split(","))
    if listed:
        groups += map(as_shown, groups_in(", ".join(listed)))  # the lines of a list are parsed as one (RFC 9651 §4.2)
    return [tag for tag in groups if tag], [as_shown(tag) for tag in others if tag]


def _checked(groups: Iterable[str], others: Iterable[str], origin: str, purges: int) -> Tagging | None:
    first = tuple(dict.fromkeys(groups))
    names = tuple(dict.fromkeys((*first, *others)))
    if not names:
        return None
    if len(names) > MAX_TAGS:
        raise TooManyTagsError(f"it has {len(names)} tags, of which {MAX_TAGS} can be kept")
    if max(map(len, names)) > MAX_TAG_CHARS:
        raise TooManyTagsError(f"it has a tag of more than {MAX_TAG_CHARS} characters")
    if sum(map(len, names)) > MAX_TAGS_BYTES:
        raise TooManyTagsError(f"its {len(names)} tags take more than {MAX_TAGS_BYTES} bytes")
    return Tagging(names, len(first), origin if first else "", purges)
