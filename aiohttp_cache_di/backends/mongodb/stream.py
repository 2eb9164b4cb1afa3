"""A change stream, by which the server reports the writes of other processes."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

import pymongo
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import OperationFailure, PyMongoError

from aiohttp_cache_di.backends.mongodb.documents import Document, key_of
from aiohttp_cache_di.backends.store.capabilities import ChangeListener

__all__ = ["watch"]

logger: logging.Logger = logging.getLogger(__name__)

NO_STREAMS: Final = frozenset({13, 59, 115, 303, 40324, 40573})
"""Error codes: not authorized; the command or the stage is unknown or refused; not a replica set."""
PAUSES_S: Final = (0.1, 0.5, 2.0, 10.0)  # before a lost stream is opened again
CLOSE_WITHIN_S: Final = 1.0  # for closing the cursor on the server, which also expires by itself
_CHANGES: Final[list[dict[str, Any]]] = [
    # Taking or releasing a lease does not change the record.
    {
        "$match": {
            "$or": [{"operationType": {"$ne": "update"}}, {"updateDescription.updatedFields.v": {"$exists": True}}]
        }
    },
    {"$project": {"operationType": 1, "documentKey": 1}},
]


async def watch(collection: AsyncCollection[Document], where: str, tell: ChangeListener) -> None:
    """Report changes until cancelled; return if the server has no change streams.

    A server that refuses several times in a row to open a stream counts as one without. When the stream begins or is
    lost, any key may have changed. Cancel a task that runs this repeatedly until it has ended: the driver first closes
    the cursor on the server, which may be frozen.

    Args:
        collection: the collection to watch.
        where: the name of the server in logs.
        tell: called in the running loop.
    """
    failures = 0
    while True:
        try:
            stream = await collection.watch(_CHANGES)
            try:
                tell(None)
                failures = 0
                async for change in stream:
                    named: Document | None = change.get("documentKey")
                    tell(None if named is None else (key_of(named["_id"]),))
            finally:
                with pymongo.timeout(CLOSE_WITHIN_S):
                    await stream.close()
        except PyMongoError as exc:
            if isinstance(exc, OperationFailure) and (exc.code in NO_STREAMS or failures >= len(PAUSES_S)):
                logger.info("%s has no change streams; copies are used for their lifetime", where)
                return
            logger.info("%s: the change stream was lost (%s)", where, type(exc).__name__)
        tell(None)
        await asyncio.sleep(PAUSES_S[min(failures, len(PAUSES_S) - 1)])
        failures += 1
