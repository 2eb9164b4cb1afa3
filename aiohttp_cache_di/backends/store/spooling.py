"""A capability of a store: writing bodies of any size piece by piece, without having them in memory."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from aiohttp_cache_di.entries.filed import FiledBody

__all__ = ["Spool", "Spooling"]


class Spool(Protocol):
    """A body that is being written into a store, piece by piece; used in one event loop, which it never blocks.

    If it is neither finished nor abandoned, it is abandoned when it is garbage-collected.
    """

    @property
    def waiting_bytes(self) -> int:
        """Bytes that were appended and are not written yet, so they are still in memory."""
        ...

    @property
    def error(self) -> Exception | None:
        """Why nothing more can be written; after an error, appended data is discarded."""
        ...

    def append(self, data: bytes) -> None:
        """Write *data* in the background, after the data appended before. Raises nothing."""

    async def drain(self, to_bytes: int) -> None:
        """Wait until at most *to_bytes* are not written yet, or there is an error."""

    async def finish(self) -> FiledBody:
        """Write what is left, and return the body; to be stored, it is put as the body of a `FiledResponse`.

        Raises:
            StorageError, OSError: it could not be written.
        """
        ...

    def abandon(self) -> None:
        """Delete what was written, in the background, unless it is finished. Raises nothing."""


@runtime_checkable
class Spooling(Protocol):
    """Writes bodies of any size as they arrive, without having them in memory.

    A record whose item is a `FiledResponse` with such a body is put and read like any other; its `FiledBody` remains
    readable after the record was replaced or deleted.
    """

    @property
    def largest_body_bytes(self) -> int | None:
        """Size of the largest body that may be stored; None for no limit."""
        ...

    def spool(self, key: str) -> Spool:
        """Begin a body that will be put under *key* or another key; never waits."""
        ...

    def holds(self, body: FiledBody) -> bool:
        """Whether this store can put *body*: it is complete, and was written into this store."""
        ...
