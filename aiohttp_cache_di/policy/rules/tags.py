"""Tags as users give them: by which what belongs together is purged together."""

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
    """The tags in *given*: one text, or an iterable of texts; none for None. Each once, without blanks around it.

    Args:
        bounded: refuse too long ones, and too many. What comes with a request, or of a response, may be as many as the
            caller's data has it: the response is then not stored (`TooManyTagsError`), which is no failure of the
            request.

    Raises:
        ConfigurationError: it is something else, a tag is empty or too long, or there are too many.
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
