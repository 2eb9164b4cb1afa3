"""The TTL index, by which the server deletes expired documents."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from functools import partial
from typing import Final

from pymongo.errors import OperationFailure

from aiohttp_cache_di.backends.mongodb.client import Connection

__all__ = ["ExpiryIndex"]

logger: logging.Logger = logging.getLogger(__name__)

TASK: Final = "index"
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

    async def ensure(self, here: Connection) -> None:
        """Make the index in the background, at most every `MAKE_EVERY_S`; call it before each write.

        If it was never made, wait for it up to `FIRST_WITHIN_S`.
        """
        if time.monotonic() < self._due_at:
            return
        making = here.tasks.begin(partial(self._make, here), TASK)
        if self._due_at < 0:
            await asyncio.wait([making], timeout=FIRST_WITHIN_S)
            if making.done() and not making.cancelled():
                making.result()

    async def _make(self, here: Connection) -> None:
        try:
            await here.collection.create_index("until", expireAfterSeconds=0)
        except OperationFailure as exc:  # such as a missing right: only `delete_expired` deletes expired records then
            if not self._is_told:
                self._is_told = True
                logger.warning("%s: no TTL index could be made (code %s): expired entries stay", self._where, exc.code)
        self._due_at = time.monotonic() + MAKE_EVERY_S
