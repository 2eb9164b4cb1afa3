"""Tags as users give them: by which what belongs together is purged together."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TypeAlias, cast

from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.rfc9111.messages import MAX_TAG_CHARS, MAX_TAGS

__all__ = ["Tags", "tags_of"]

Tags: TypeAlias = str | Collection[str]
"""One tag, or several."""


def tags_of(given: object, *, option: str = "tags") -> tuple[str, ...]:
    """The tags in *given*: one text, or an iterable of texts; none for None. Each once, without blanks around it.

    Raises:
        ConfigurationError: it is something else, a tag is empty or too long, or there are too many.
    """
    if given is None:
        return ()
    found: object = (given,) if isinstance(given, str) else given
    if not isinstance(found, Iterable) or isinstance(found, bytes):
        raise ConfigurationError(f"{option}={given!r}: use a text, or a collection of texts")
    tags = tuple(dict.fromkeys(_tag(tag, option) for tag in cast("Iterable[object]", found)))
    if len(tags) > MAX_TAGS:
        raise ConfigurationError(f"{option}: {len(tags)} tags; a response has {MAX_TAGS} at most")
    return tags


def _tag(given: object, option: str) -> str:
    tag = given.strip() if isinstance(given, str) else ""
    if not tag or len(tag) > MAX_TAG_CHARS:
        raise ConfigurationError(f"{option}={given!r}: a tag is a text of 1 to {MAX_TAG_CHARS} characters")
    return tag
