"""The tags of one request's response, and the purge of the groups that it declares invalid."""

from __future__ import annotations

import inspect
from collections.abc import Collection
from typing import Any

from msgspec.structs import replace

from aiohttp_cache_di import policy
from aiohttp_cache_di.engine.lookup import Lookup
from aiohttp_cache_di.entries import tags
from aiohttp_cache_di.entries.build import names_in
from aiohttp_cache_di.response import CachedResponse
from aiohttp_cache_di.rfc9111.messages import RawHeaders, StoredResponse, Tagging

__all__ = ["Tagged"]


class Tagged(Lookup):
    """A look-up that knows the response's tags: from its header fields, the request, settings and ``tag_fn``."""

    request_tags: tuple[str, ...] = ()
    """Tags that the caller gives to the response."""
    purges: int = 0
    """The number of the latest purge by tag that was known before the origin was asked."""
    tagging: Tagging | None = None
    """The tags of the response that is arriving."""

    def tagging_of(self, lines: RawHeaders, names: frozenset[bytes]) -> Tagging | None:
        """The tags of a response to this request with the header *lines*, whose lower-case names are *names*."""
        wanted = self.request_tags + self.question.rules.tags
        if not wanted and tags.TAG_FIELDS.isdisjoint(names):
            return None
        return tags.tagging_of(lines, wanted, origin=policy.origin_of(self.question.request), purges=self.purges)

    def confirmed(self, entry: StoredResponse) -> StoredResponse:
        """*entry*, which the origin has just confirmed, so that purges begun before do not apply to it any more.

        Raises:
            TooManyTagsError: the new tags and the old ones together are too many.
        """
        known = None if entry.tagging is None else replace(entry.tagging, purges=self.purges)
        tagging = tags.joined(known, self.tagging_of(entry.raw_headers, names_in(entry.raw_headers)))
        return entry if tagging == entry.tagging else replace(entry, tagging=tagging)

    async def tagged_by_user(self, entry: StoredResponse) -> StoredResponse:
        """*entry* with the tags that the user's ``tag_fn`` returns for it added."""
        told: Any = self.backend.tag_fn and self.backend.tag_fn(CachedResponse.from_stored(entry))
        names = policy.tags_of(await told if inspect.isawaitable(told) else told, option="tag_fn()", bounded=False)
        if not names:
            return entry
        more = tags.tagging_of((), names, purges=self.purges)
        return replace(entry, tagging=tags.joined(entry.tagging, more))

    async def purge_groups(self, groups: Collection[str], origin: str) -> None:
        """Purge all members of the *groups* of *origin*, those of all users (RFC 9875 §3)."""
        written = await self.runtime.here.purges.purge_groups(groups, origin)
        for keys_written in written:
            await self.runtime.settle(keys_written, self.backend.guard.deadline_s)
