"""The TTL index, by which the server deletes expired documents."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from typing import Final

from pymongo.errors import OperationFailure

from aiohttp_cache_di.backends.mongodb.client import Connection
from aiohttp_cache_di.backends.tasks import consume_error

__all__ = ["ExpiryIndex"]

logger: logging.Logger = logging.getLogger(__name__)

MAKE_EVERY_S: Final = 60.0  # as often as the server looks for expired documents
FIRST_WITHIN_S: Final = 1.0
"""How long a first write waits for the index: the server may wait for a member of the replica set that is down."""


class ExpiryIndex:
    """Makes the index, again and again, since a collection that was dropped is made again without it.

    Args:
        where: the name of the server in logs.
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self._due_at = -math.inf
        self._is_told = False

    async def make_first(self, here: Connection) -> None:
        """Make the index if that was never done, and wait for it up to `FIRST_WITHIN_S`; call it before each write."""
        if self._due_at < 0:
            if here.indexing is None or here.indexing.done():
                self._begin(here)
            if here.indexing is not None:
                await asyncio.wait([here.indexing], timeout=FIRST_WITHIN_S)
                if here.indexing.done() and not here.indexing.cancelled():
                    here.indexing.result()

    def make_again(self, here: Connection) -> None:
        """Make the index again in the background, at most every `MAKE_EVERY_S`; call it after each write."""
        if time.monotonic() >= self._due_at and (here.indexing is None or here.indexing.done()):
            self._begin(here)

    def _begin(self, here: Connection) -> None:
        here.indexing = here.calls.begin(self._make(here))
        here.indexing.add_done_callback(consume_error)

    async def _make(self, here: Connection) -> None:
        try:
            await here.collection.create_index("until", expireAfterSeconds=0)
        except OperationFailure as exc:  # such as a missing right: only `delete_expired` deletes expired records then
            if not self._is_told:
                self._is_told = True
                logger.warning("%s: no TTL index could be made (code %s): expired entries stay", self._where, exc.code)
        self._due_at = time.monotonic() + MAKE_EVERY_S
