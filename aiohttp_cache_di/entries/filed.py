"""Stored responses whose bodies are in files: what they are of takes no memory, however large it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from msgspec.structs import asdict, replace

from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["FiledBody", "FiledPart", "FiledResponse", "in_memory", "with_body"]


class FiledBody(Protocol):
    """A body in a file that stays readable for as long as there is this object.

    Its reads wait for the disk elsewhere than in the event loop, and give nothing that was not checked.
    """

    @property
    def length(self) -> int:
        """How many bytes it has."""
        ...

    @property
    def path(self) -> Path | None:
        """The file that has this body and nothing else; None where there is none, or none yet."""
        ...

    async def piece(self, at: int) -> bytes:
        """Some bytes from the position *at* on, one at least; b"" at the end.

        Raises:
            UnreadableEntryError: they are not what was written; the entry is dropped.
            OSError, StorageError: the file system does not work.
        """
        ...

    async def whole(self) -> bytes:
        """All bytes. Raises as `piece` does."""
        ...


class FiledPart:
    """The bytes of a body from *first* on, *length* of them."""

    __slots__ = ("_body", "_first", "length")

    path: Path | None = None

    def __init__(self, body: FiledBody, first: int, length: int) -> None:
        self._body = body
        self._first = first
        self.length: int = length

    async def piece(self, at: int) -> bytes:
        """As `FiledBody.piece`: *at* counts from the beginning of the part."""
        left = self.length - at
        return (await self._body.piece(self._first + at))[:left] if left > 0 else b""

    async def whole(self) -> bytes:
        """As `FiledBody.whole`."""
        pieces: list[bytes] = []
        at = 0
        while at < self.length:
            pieces.append(piece := await self.piece(at))
            at += len(piece)
        return b"".join(pieces)


class FiledResponse(StoredResponse, frozen=True, array_like=True, dict=True, kw_only=True):
    """A stored response whose `body` is b"", since the content is in a file.

    Args:
        file: the content.
    """

    file: Any
    """A `FiledBody`; nothing is made of it where bytes become a struct."""

    @property
    def body_bytes(self) -> int:
        """How long the content is."""
        length: int = self.file.length
        return length


def with_body(stored: StoredResponse, body: bytes | FiledBody, **changes: Any) -> StoredResponse:
    """*stored* with another body, and with *changes* of other fields."""
    if type(stored) is StoredResponse and isinstance(body, bytes):
        return replace(stored, body=body, **changes)
    fields: dict[str, Any] = asdict(stored) | changes
    fields.pop("file", None)
    if isinstance(body, bytes):
        fields["body"] = body
        return StoredResponse(**fields)
    fields |= {"body": b"", "file": body}
    return FiledResponse(**fields)


async def in_memory(stored: StoredResponse) -> StoredResponse:
    """*stored* with its body in memory. Raises as `FiledBody.whole` does."""
    if not isinstance(stored, FiledResponse):
        return stored
    file: FiledBody = stored.file
    return with_body(stored, await file.whole())
