"""Stored responses whose bodies are in files, so that large ones take no memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from msgspec.structs import asdict, replace

from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["FiledBody", "FiledPart", "FiledResponse", "in_memory", "with_body"]


class FiledBody(Protocol):
    """A body in a file, which stays readable for as long as this object exists.

    Reads do not block the event loop, and return only bytes whose checksum was verified.
    """

    @property
    def length(self) -> int:
        """The length of the body in bytes."""
        ...

    @property
    def path(self) -> Path | None:
        """The file that contains this body and nothing else; None if there is none, or none yet."""
        ...

    async def piece(self, at: int) -> bytes:
        """At least one byte from the position *at* on; b"" at the end.

        Raises:
            UnreadableEntryError: the bytes are not those that were written; the entry is deleted.
            OSError, StorageError: the file system has failed.
        """
        ...

    async def whole(self) -> bytes:
        """The whole body. Raises as `piece` does."""
        ...


class FiledPart:
    """A part of a `FiledBody`: *length* bytes from *first* on."""

    __slots__ = ("_body", "_first", "length")

    path: Path | None = None

    def __init__(self, body: FiledBody, first: int, length: int) -> None:
        self._body = body
        self._first = first
        self.length: int = length

    async def piece(self, at: int) -> bytes:
        """As `FiledBody.piece`; *at* counts from the beginning of the part."""
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
    """A stored response whose `body` is b"" because the content is in a file.

    Args:
        file: the content.
    """

    file: Any
    """A `FiledBody`; never encoded or decoded."""

    @property
    def body_bytes(self) -> int:
        """The length of the content in bytes."""
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
