"""Tags by which origins name what belongs together, so that it can be purged together.

``Cache-Groups`` (RFC 9875) is the standard's field; ``Surrogate-Key``, ``Cache-Tag`` and ``xkey`` are those of content
delivery networks, which many origins send already.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

__all__ = ["TAG_FIELDS", "tags_in"]

MAX_TAGS: Final = 128  # of a response; RFC 9875 §2 asks for at least 32
MAX_TAG_CHARS: Final = 1024
_SPACED: Final = frozenset({b"surrogate-key", b"xkey"})  # names apart by spaces
_LISTED: Final = frozenset({b"cache-tag"})  # by commas
_GROUPS: Final = b"cache-groups"

TAG_FIELDS: Final = _SPACED | _LISTED | {_GROUPS}
"""Names, lower case, of the header fields that hold tags."""


def tags_in(lines: Iterable[tuple[bytes, bytes]]) -> tuple[str, ...]:
    """The tags that header *lines*, with names in lower case, give to a response, each once and in their order."""
    tags: dict[str, None] = {}
    for name, value in lines:
        text = value.decode("utf-8", "replace")
        if name in _SPACED:
            found: Iterable[str] = text.split()
        elif name in _LISTED:
            found = (tag.strip() for tag in text.split(","))
        elif name == _GROUPS:
            found = _groups(text)
        else:
            continue
        tags.update((tag, None) for tag in found if 0 < len(tag) <= MAX_TAG_CHARS)
    return tuple(tags)[:MAX_TAGS]


def _groups(text: str) -> list[str]:
    """The strings in a list of RFC 9651 (RFC 9875 §2: each member is a string; others are ignored)."""
    found: list[str] = []
    position = 0
    while (start := text.find('"', position)) != -1:
        group = ""
        position = start + 1
        while position < len(text) and text[position] != '"':
            if text[position] == "\\":
                position += 1
            group += text[position : position + 1]
            position += 1
        if position >= len(text):
            return []  # RFC 9651 §4.2: a field that cannot be parsed is none
        found.append(group)
        position += 1
    return found
