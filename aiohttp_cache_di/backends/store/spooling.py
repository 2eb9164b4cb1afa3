"""What a store may be able to do besides (`store`): keep bodies of any size without having them in memory."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from aiohttp_cache_di.entries.filed import FiledBody

__all__ = ["Spool", "Spooling"]


class Spool(Protocol):
    """A body on its way into a store, piece by piece; used in one event loop, which it never holds up.

    What is neither finished nor abandoned is abandoned when it is dropped.
    """

    @property
    def waiting_bytes(self) -> int:
        """What was appended and is still in memory, because it is not written yet."""
        ...

    @property
    def error(self) -> Exception | None:
        """Why nothing more can be written; what is appended from then on is let go."""
        ...

    def append(self, data: bytes) -> None:
        """Have *data* written after what was appended before. Raises nothing."""

    async def drain(self, to_bytes: int) -> None:
        """Wait until no more than *to_bytes* are waiting, or there is an error."""

    async def finish(self) -> FiledBody:
        """Write what is left, and give the body; to be kept, it is put as that of a `FiledResponse`.

        Raises:
            StorageError, OSError: it could not be written.
        """
        ...

    def abandon(self) -> None:
        """Let go of what was written, in the background. Raises nothing; what was finished stays."""


@runtime_checkable
class Spooling(Protocol):
    """Keeps bodies of any size without having them in memory: it takes them as they arrive.

    A record whose item is a `FiledResponse` with such a body is put and got as any other; its `FiledBody` stays
    readable when it has been replaced or dropped.
    """

    @property
    def largest_body_bytes(self) -> int | None:
        """The size of the largest body that may be kept; None for any."""
        ...

    def spool(self, key: str) -> Spool:
        """Begin a body that will be put under *key*, or another one; nothing is waited for."""
        ...

    def holds(self, body: FiledBody) -> bool:
        """Whether *body* is one that this store can put: a whole one of its own."""
        ...
