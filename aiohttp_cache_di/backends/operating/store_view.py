"""A view of the store as a request would find it now, without the guard, so that its circuit is not affected."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final

from yarl import URL

from aiohttp_cache_di.backends.configured import Configured
from aiohttp_cache_di.backends.wrap.guarding.guard import PATIENCE, READ
from aiohttp_cache_di.backends.wrap.guarding.outages import TIMEOUT, cause_of, kind_of
from aiohttp_cache_di.entries.info import EntryInfo
from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["StoreView"]

LISTED_WITHIN_S: Final = 5.0  # stores without an index of URLs have to be searched; millions of entries take a minute


class StoreView:
    """The store of *backend*, for one explanation. If the store fails, it is not asked again; that is no error.

    Args:
        backend: the backend.
        entries: `Operated.entries` of the backend.
    """

    error: str = ""
    """Why the store does not answer, with its place; "" if it does."""
    is_incomplete: bool = False
    """Whether a look-up had no result because the store does not answer."""
    is_all: bool = True
    """Whether `infos` has searched the whole store."""

    def __init__(self, backend: Configured, entries: Callable[..., AsyncGenerator[EntryInfo]]) -> None:
        self._backend = backend
        self._entries = entries

    async def get(self, key: str) -> StoredResponse | None:
        """The response under *key*, whether it may be used or not; None also if the store does not answer."""
        backend, stack = self._backend, self._backend.stack
        here = stack.here()
        waiting = here.pending.entries.get(key)
        if waiting is not None and backend.reads_pending:
            return await here.purges.judge(waiting)
        if waiting is not None:
            await stack.settle({key}, backend.guard.deadline_s)
            if key in here.pending.entries:
                return None
        entry = here.peek(key)
        if entry is not None or here.is_in_memory or self._is_left_alone():
            return entry
        try:
            async with asyncio.timeout(self._within_s()):
                return await stack.entry(key)
        except Exception as error:
            self._note(error)
            self.is_incomplete = True
            return None

    async def infos(self, url: str) -> list[EntryInfo]:
        """The infos of all entries for *url*, as far as the store answers, and tells them within `LISTED_WITHIN_S`."""
        if self.error:
            return []
        found: list[EntryInfo] = []
        limit = asyncio.timeout(LISTED_WITHIN_S)
        try:
            async with limit, aclosing(self._entries(url=URL(url, encoded=True))) as infos:
                async for info in infos:
                    found.append(info)  # noqa: PERF401  # what was found is kept when the time is over
        except ConfigurationError:  # the URL is invalid
            raise
        except Exception as error:
            if limit.expired():
                self.is_all = False
            else:
                self._note(error)
        return found

    def _within_s(self) -> float | None:
        within_s = PATIENCE * self._backend.guard.deadline_s
        return None if within_s == math.inf else within_s

    def _is_left_alone(self) -> bool:
        """Whether a request would not ask the store now: its circuit is open, or it has just failed here."""
        guard = self._backend.guard
        rest_s = guard.probe_in_s(READ)
        if not self.error and rest_s:
            cause = guard.outages.causes.get(READ, "it has failed")
            self.error = f"{guard.outages.where} is left alone for {rest_s:.1f} s: {cause}"
        self.is_incomplete = self.is_incomplete or bool(self.error)
        return bool(self.error)

    def _note(self, error: Exception) -> None:
        outages, store = self._backend.guard.outages, self._backend.stack.store
        kind = kind_of(error)
        cause = kind if kind == TIMEOUT else cause_of(kind, error, store)
        self.error = f"{outages.where} does not answer: {cause}"
