"""Read tags, by which responses are purged together."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from typing import TypeAlias, cast

from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.rfc9111.messages import MAX_TAG_CHARS, MAX_TAGS

__all__ = ["Tags", "tags_of"]

Tags: TypeAlias = str | Collection[str]
"""One tag, or several."""


def tags_of(given: object, *, option: str = "tags", bounded: bool = True) -> tuple[str, ...]:
    """The tags in *given*, which is a text, an iterable of texts, or None: stripped, and without duplicates.

    Args:
        bounded: refuse tags that are too long or too many. It is False for tags of a request or a response, which come
            from the caller's data: then the response is not stored (`TooManyTagsError`), and the request succeeds.

    Raises:
        ConfigurationError: *given* has another type, a tag is empty or too long, or there are too many.
    """
    if given is None:
        return ()
    found: object = (given,) if isinstance(given, str) else given
    if not isinstance(found, Iterable) or isinstance(found, bytes):
        raise ConfigurationError(f"{option}={given!r}: use a text, or a collection of texts")
    max_chars = MAX_TAG_CHARS if bounded else math.inf
    tags = tuple(dict.fromkeys(_tag(tag, option, max_chars) for tag in cast("Iterable[object]", found)))
    if bounded and len(tags) > MAX_TAGS:
        raise ConfigurationError(f"{option}: {len(tags)} tags; a response has {MAX_TAGS} at most")
    return tags


def _tag(given: object, option: str, max_chars: float) -> str:
    tag = given.strip() if isinstance(given, str) else ""
    if not tag or len(tag) > max_chars:
        raise ConfigurationError(f"{option}={given!r}: a tag is a text of 1 to {MAX_TAG_CHARS} characters")
    return tag
