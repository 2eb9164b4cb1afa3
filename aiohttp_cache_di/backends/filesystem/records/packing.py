"""The format of a record's files.

An entry's file begins with a head, which has all that a walk, a sweep or an eviction needs without decoding the entry::

    magic 4 | version 1 | flags 1 | zero 2 | key's length 4 | until 8 | token 8 | body's length 8 | crc32 4
    key … | frame …

The frame is the codec's, bound to the key. A body of 64 KiB or more is a file of its own, and the frame has a reference
in its place: the token in that file's name, the length, and the digest of each MiB of the body (a cryptographic one
where entries are signed, else a CRC). A spooled body is read in pieces, any other with its entry. The frames of the
three kinds are bound to different keys, so that no change of the head can turn a reference into a body.
"""

from __future__ import annotations

import struct
from hashlib import blake2b
from typing import Final, NamedTuple
from zlib import crc32

from msgspec import Struct
from msgspec.structs import force_setattr, replace

from aiohttp_cache_di.backends.filesystem.places.names import new_token
from aiohttp_cache_di.entries.checksum import checksum_function
from aiohttp_cache_di.entries.codec import EntryCodec
from aiohttp_cache_di.entries.filed import with_body
from aiohttp_cache_di.entries.items import Item, Opaque, Unreadable, item_leads_on
from aiohttp_cache_di.errors import StorageError
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = [
    "DIGEST_BYTES",
    "HEAD_BYTES",
    "NO_TOKEN",
    "PIECE_BYTES",
    "Digest",
    "Filed",
    "Head",
    "Packed",
    "RecordCodec",
    "read_head",
    "set_body",
]

APART_FROM_BYTES: Final = 64 * 1024
PIECE_BYTES: Final = 1024 * 1024  # of a body; each piece has a digest
FORMAT_VERSION: Final = 1
MAX_KEY_BYTES: Final = 1024 * 1024
NO_TOKEN: Final = bytes(8)
_MAGIC: Final = b"\xacDF\n"
_HEAD: Final = struct.Struct(">4sBB2xId8sQI")
_CHECKED: Final = _HEAD.size - 4
HEAD_BYTES: Final = _HEAD.size
_LEADS_ON: Final = 1
_FILED: Final = 2
_BODY: Final = struct.Struct(">8sQ")
CRC_BYTES: Final = 4
DIGEST_BYTES: Final = 32
_KINDS: Final = {"whole": "\0whole ", "apart": "\0apart ", "filed": "\0filed "}


class Head(Struct, frozen=True, gc=False):
    """The head of an entry's file."""

    key: str
    until: float
    leads_on: bool
    token: bytes
    """The token in the name of the body's file; `NO_TOKEN` if the body is in the entry's own file."""
    body_bytes: int
    """The size of the body's file."""
    frame_at: int
    is_filed: bool = False
    """Whether the body was spooled, and so is read in pieces."""


class Digest:
    """The digest of one piece of a body: a CRC if *size* is `CRC_BYTES`, else BLAKE2b of that size."""

    __slots__ = ("_checksum", "_crc", "_state")

    def __init__(self, size: int) -> None:
        self._checksum = checksum_function()
        self._crc = 0
        self._state = None if size == CRC_BYTES else blake2b(digest_size=size)

    def update(self, data: bytes | memoryview) -> None:
        """Add *data*."""
        if self._state is None:
            self._crc = self._checksum(data, self._crc)
        else:
            self._state.update(data)

    def value(self) -> bytes:
        """The digest of all data so far."""
        return self._crc.to_bytes(CRC_BYTES, "big") if self._state is None else self._state.digest()


class Filed(NamedTuple):
    """A reference to a body in a file of its own.

    Args:
        token: the token in the file's name.
        length: the size of the body in bytes.
        digests: the digests of all pieces, concatenated.
    """

    token: bytes
    length: int
    digests: bytes

    @classmethod
    def of(cls, data: bytes, size: int) -> Filed:
        """A new reference for the body *data*, with digests of that *size*."""
        pieces = range(0, len(data), PIECE_BYTES)
        view = memoryview(data)
        return cls(new_token(), len(data), b"".join(_digest(view[at : at + PIECE_BYTES], size) for at in pieces))

    @property
    def pieces(self) -> int:
        """The number of pieces."""
        return -(-self.length // PIECE_BYTES)

    def size_of(self, number: int) -> int:
        """The size of the piece of that *number*."""
        return min(PIECE_BYTES, self.length - number * PIECE_BYTES)

    def is_piece(self, number: int, data: bytes | memoryview) -> bool:
        """Whether *data* is the piece of that *number*."""
        size = len(self.digests) // self.pieces
        wanted = self.digests[number * size : (number + 1) * size]
        return len(data) == self.size_of(number) and _digest(data, size) == wanted

    def is_whole(self, data: bytes) -> bool:
        """Whether *data* is that body."""
        view, numbers = memoryview(data), range(self.pieces)
        return len(data) == self.length and all(
            self.is_piece(n, view[n * PIECE_BYTES : (n + 1) * PIECE_BYTES]) for n in numbers
        )


class Packed(NamedTuple):
    """A record as the bytes of its files; *body* is empty if it is in the entry, or in its file already."""

    entry: bytes
    token: bytes
    body: bytes
    body_bytes: int


class RecordCodec:
    """Encodes and decodes records.

    Args:
        frames: encodes and decodes the frames in them.
    """

    def __init__(self, frames: EntryCodec) -> None:
        self._frames = frames
        self.digest_bytes: int = DIGEST_BYTES if frames.is_signing else CRC_BYTES
        """The size of the digest of each piece of a body."""

    def pack(self, item: Item, key: str, until: float, filed: Filed | None = None) -> Packed:
        """Encode a record into the bytes of its files.

        Args:
            filed: the reference to the body, if that is in its file already.

        Raises:
            StorageError: the item cannot be encoded, or its key is too large.
        """
        flags = _LEADS_ON if item_leads_on(item) else 0
        body, kind = b"", "whole"
        if filed is not None:
            kind, flags = "filed", flags | _FILED
        elif len(data := _body(item)) >= APART_FROM_BYTES:
            body, kind, filed = data, "apart", Filed.of(data, self.digest_bytes)
        if filed is not None:
            item = _with(item, _BODY.pack(filed.token, filed.length) + filed.digests)
        token, length = (NO_TOKEN, 0) if filed is None else (filed.token, filed.length)
        frame = self._frames.pack(item, _bound(key, kind))
        return Packed(_entry(key, until, flags, token, length, frame), token, body, length)

    def unpack(self, data: bytes, head: Head) -> Item | Unreadable:
        """The item in an entry's file; if its body is in another file, `filed_of` returns the reference to that."""
        kind = "whole" if head.token == NO_TOKEN else "filed" if head.is_filed else "apart"
        bound = _bound(head.key, kind)
        item = self._frames.unpack(data[head.frame_at :], bound)
        if bound is not head.key and isinstance(item, StoredResponse | Opaque):
            force_setattr(item, "key", head.key)  # nothing else refers to the item yet
        return item

    def filed_of(self, item: Item, head: Head) -> Filed | None:
        """The reference to the body of *item* in a file of its own; None if it is invalid, or contradicts the head."""
        data = _body(item)
        if len(data) <= _BODY.size:
            return None
        token, length = _BODY.unpack_from(data)
        filed = Filed(token, length, data[_BODY.size :])
        is_possible = filed.token == head.token and filed.length == head.body_bytes
        return filed if is_possible and len(filed.digests) == filed.pieces * self.digest_bytes else None


def read_head(data: bytes) -> Head | None:
    """The head at the beginning of *data*; None if it is missing, incomplete or damaged."""
    if len(data) < HEAD_BYTES:
        return None
    magic, version, flags, key_bytes, until, token, body_bytes, checksum = _HEAD.unpack_from(data)
    if magic != _MAGIC or version != FORMAT_VERSION or key_bytes > MAX_KEY_BYTES:
        return None
    named = data[HEAD_BYTES : HEAD_BYTES + key_bytes]
    if len(named) != key_bytes or crc32(named, crc32(data[:_CHECKED])) != checksum:
        return None
    try:
        key = named.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return None
    return Head(
        key, until, bool(flags & _LEADS_ON), token, body_bytes, HEAD_BYTES + key_bytes, is_filed=bool(flags & _FILED)
    )


def set_body(item: StoredResponse | Opaque, body: bytes) -> None:
    """Put *body* into an item that `RecordCodec.unpack` has made, in place."""
    force_setattr(item, "payload" if isinstance(item, Opaque) else "body", body)


def _entry(key: str, until: float, flags: int, token: bytes, body_bytes: int, frame: bytes) -> bytes:
    named = key.encode("utf-8", "surrogatepass")
    if len(named) > MAX_KEY_BYTES:
        raise StorageError(f"a key of {len(named)} bytes is too large")
    head = _HEAD.pack(_MAGIC, FORMAT_VERSION, flags, len(named), until, token, body_bytes, 0)[:_CHECKED]
    return b"".join((head, crc32(named, crc32(head)).to_bytes(4, "big"), named, frame))


def _body(item: Item) -> bytes:
    if isinstance(item, StoredResponse):
        return item.body
    return item.payload if isinstance(item, Opaque) else b""


def _with(item: Item, body: bytes) -> Item:
    if isinstance(item, StoredResponse):
        return with_body(item, body)
    return replace(item, payload=body) if isinstance(item, Opaque) else item


def _bound(key: str, kind: str) -> str:
    """The key that a frame is bound to, different for each pair of *key* and *kind*."""
    return key if kind == "whole" and not key.startswith("\0") else _KINDS[kind] + key


def _digest(data: bytes | memoryview, size: int) -> bytes:
    digest = Digest(size)
    digest.update(data)
    return digest.value()
