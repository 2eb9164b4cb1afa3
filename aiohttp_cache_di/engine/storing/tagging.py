"""The tags of the response to a request: from its header fields, the caller, the settings and ``tag_fn``."""

from __future__ import annotations

import inspect
from typing import Any

from msgspec.structs import replace

from aiohttp_cache_di import policy
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.entries import tags
from aiohttp_cache_di.entries.build import names_in
from aiohttp_cache_di.policy import FullQuestion
from aiohttp_cache_di.response import CachedResponse
from aiohttp_cache_di.rfc9111.messages import HeaderLines, StoredResponse, Tagging

__all__ = ["confirmed", "tagged_by_user", "tagging_of"]


def tagging_of(question: FullQuestion, lines: HeaderLines, names: frozenset[bytes], purges: int) -> Tagging | None:
    """The tags of a response to the request of *question*; None if it has none.

    Args:
        lines: its header lines.
        names: the lower-case names in *lines*.
        purges: the number of the latest purge that was known before the origin was asked; later ones apply to it.

    Raises:
        TooManyTagsError: they are too many.
    """
    wanted = question.rules.tags
    if not wanted and tags.TAG_FIELDS.isdisjoint(names):
        return None
    return tags.tagging_of(lines, wanted, origin=policy.origin_of(question.request), purges=purges)


def confirmed(question: FullQuestion, entry: StoredResponse, purges: int) -> StoredResponse:
    """*entry*, which the origin has just confirmed, so that purges begun before do not apply to it any more.

    Args:
        purges: see `tagging_of`.

    Raises:
        TooManyTagsError: the new tags and the old ones together are too many.
    """
    known = None if entry.tagging is None else replace(entry.tagging, purges=purges)
    lines = entry.raw_headers
    found = tagging_of(question, lines, names_in(lines), purges)
    tagging = tags.joined(known, found)
    return entry if tagging == entry.tagging else replace(entry, tagging=tagging)


async def tagged_by_user(backend: CacheBackend, entry: StoredResponse, purges: int) -> StoredResponse:
    """*entry* with the tags that the user's ``tag_fn`` returns for it added.

    Args:
        purges: see `tagging_of`.

    Raises:
        Exception: whatever that function raises; or TooManyTagsError.
    """
    told: Any = backend.tag_fn and backend.tag_fn(CachedResponse.from_stored(entry))
    names = policy.tags_of(await told if inspect.isawaitable(told) else told, option="tag_fn()", bounded=False)
    if not names:
        return entry
    return replace(entry, tagging=tags.joined(entry.tagging, tags.tagging_of((), names, purges=purges)))
