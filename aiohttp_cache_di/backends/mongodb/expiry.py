"""The TTL index by which the server drops what has expired."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from typing import Final

from pymongo.errors import OperationFailure

from aiohttp_cache_di.backends.mongodb.client import Connection
from aiohttp_cache_di.backends.wrap.tasks import consume_error

__all__ = ["ExpiryIndex"]

logger: logging.Logger = logging.getLogger(__name__)

MAKE_EVERY_S: Final = 60.0  # as often as the server looks for what has expired
FIRST_WITHIN_S: Final = 1.0
"""For a collection that is there, the server may wait for a member of its set that is down."""


class ExpiryIndex:
    """Makes the index, again and again: a collection that was dropped comes back without it.

    Args:
        where: the server, as it is logged.
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self._due_at = -math.inf
        self._is_told = False

    async def make_first(self, here: Connection) -> None:
        """Ask for the index unless that was done before, and wait for it, for a moment: before anything is written."""
        if self._due_at < 0:
            if here.indexing is None or here.indexing.done():
                self._begin(here)
            if here.indexing is not None:
                await asyncio.wait([here.indexing], timeout=FIRST_WITHIN_S)
                if here.indexing.done() and not here.indexing.cancelled():
                    here.indexing.result()

    def make_again(self, here: Connection) -> None:
        """Ask for it if that was long ago, which nothing waits for: when something has been written."""
        if time.monotonic() >= self._due_at and (here.indexing is None or here.indexing.done()):
            self._begin(here)

    def _begin(self, here: Connection) -> None:
        here.indexing = here.calls.begin(self._make(here))
        here.indexing.add_done_callback(consume_error)

    async def _make(self, here: Connection) -> None:
        try:
            await here.collection.create_index("until", expireAfterSeconds=0)
        except OperationFailure as exc:  # without the right, what has expired has to be dropped by walks
            if not self._is_told:
                self._is_told = True
                logger.warning("%s: no TTL index could be made (code %s): expired entries stay", self._where, exc.code)
        self._due_at = time.monotonic() + MAKE_EVERY_S
