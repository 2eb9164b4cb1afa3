"""The tags of what is stored of one request, and the purge of those that its response says are outdated."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable
from typing import Any

from msgspec.structs import replace

from aiohttp_cache_di import policy
from aiohttp_cache_di.engine.keeping.lookup import Lookup
from aiohttp_cache_di.entries import tags
from aiohttp_cache_di.response import CachedResponse
from aiohttp_cache_di.rfc9111.messages import Headers, StoredResponse, Tagging

__all__ = ["Tagged"]


class Tagged(Lookup):
    """A place whose response may have tags: its own, the request's, and those that settings and functions tell."""

    request_tags: tuple[str, ...] = ()
    """Tags that the request gives to what is stored of it."""
    purges: int = 0
    """The number of the latest purge by tag that was known before the origin was asked."""
    tagging: Tagging | None = None
    """The tags of the response that is on its way."""

    def tagging_of(self, headers: Headers, lines: Iterable[tuple[bytes, bytes]]) -> Tagging | None:
        """The tags of a response with *headers*, or *lines* as they are stored, as this request has brought it."""
        wanted = self.request_tags + self.rules.tags
        if not wanted and not tags.has_tags(headers):
            return None
        return tags.tagging_of(lines, wanted, origin=policy.origin_of(self.message), purges=self.purges)

    def confirmed(self, entry: StoredResponse) -> StoredResponse:
        """*entry*, which the origin has confirmed now, and which so outlives the purges that have begun before.

        Raises:
            TooManyTagsError: its new tags and those that it had are too many.
        """
        known = None if entry.tagging is None else replace(entry.tagging, purges=self.purges)
        tagging = tags.joined(known, self.tagging_of(entry.headers, entry.raw_headers))
        return entry if tagging == entry.tagging else replace(entry, tagging=tagging)

    async def tagged_by_user(self, entry: StoredResponse) -> StoredResponse:
        """*entry* with the tags that the user's function tells of it."""
        told: Any = self.backend.tag_fn and self.backend.tag_fn(CachedResponse.from_stored(entry))
        names = policy.tags_of(await told if inspect.isawaitable(told) else told, option="tag_fn()", bounded=False)
        if not names:
            return entry
        more = tags.tagging_of((), names, purges=self.purges)
        return replace(entry, tagging=tags.joined(entry.tagging, more))

    async def purge_groups(self, groups: Collection[str], origin: str) -> None:
        """Have all members of the *groups* of *origin* gone, for everyone (RFC 9875 §3)."""
        written = await self.runtime.here.purges.purge_groups(groups, origin)
        for keys_written in written:
            await self.runtime.settle(keys_written, self.backend.guard.deadline_s)
