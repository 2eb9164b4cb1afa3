"""Entries as bytes: versioned, checksummed, signed if there is a secret, and never executable.

Stored bytes are untrusted input: other programs, older versions, half-finished writes and attackers put
things into stores. So an entry is a frame of which every bit is verified before its content is used::

    magic 4 | crc32 4 | version 1 | kind 1 | flags 1 | zero 1 | payload … | MAC 32, when signed

The checksum covers everything after it. The payload is a MessagePack array with the body as its last field,
so that the body is copied only once in each direction. The header lines are one block of bytes (`HeaderBlock`),
because most hits need none of them. The MAC (keyed BLAKE2b) covers the whole frame except the checksum.

The payload begins with the storage key of the entry. If the store has the key beside the frame, it can be left
out; then checksum and MAC cover it before the payload. Either way, an entry that was moved to another key is
not accepted. The body of a response can be stored apart from its frame: then its field in the payload is empty,
and checksum and MAC cover the body after the payload.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Callable
from hashlib import blake2b
from typing import Final, cast

import msgspec
from msgspec.structs import force_setattr, replace

from aiohttp_cache_di.entries.checks import is_possible
from aiohttp_cache_di.entries.checksum import checksum_function, sum_in_pieces
from aiohttp_cache_di.entries.filed import FiledResponse
from aiohttp_cache_di.entries.items import UNREADABLE, Item, Opaque, Unreadable, item_leads_on
from aiohttp_cache_di.entries.secrets import DEFAULT_SALT, SecretKeys, subkeys
from aiohttp_cache_di.errors import StorageError, UnreadableEntryError
from aiohttp_cache_di.rfc9111.messages import HeaderBlock, HeaderLines, StoredResponse

__all__ = [
    "FORMAT_VERSION",
    "HEAD_BYTES",
    "EntryCodec",
    "Sealed",
    "SecretKeys",
    "is_opaque",
    "leads_on",
    "span_of_response",
]

FORMAT_VERSION: Final = 3  # Raise it whenever a field of a stored struct changes its place or meaning.

LINEWISE_VERSION: Final = 2  # still read: header lines are an array
UNTAGGED_VERSION: Final = 1  # still read: so are they, and the field for tags is missing

_COPIED_BYTES: Final = 4 * 1024  # copying so many takes less time than making a view of them
_MAGIC: Final = b"\xacDI\n"  # Not UTF-8, not the start of a pickle, and a newline translation breaks it.
_FRAME: Final = struct.Struct(">4sI4s")  # magic, checksum, and the part of the head that it covers
HEAD_BYTES: Final = _FRAME.size
"""The length of a frame's head, which tells its kind."""

_head_of: Final = _FRAME.unpack_from
_CHECKED_FROM: Final = 8
_KIND_AT: Final = 9
_FLAGS_AT: Final = 10
_FLAGS_IN_HEAD: Final = _FLAGS_AT - _CHECKED_FROM
_MAC_BYTES: Final = 32

_RESPONSE: Final = 1
_ALIAS: Final = 2
_OPAQUE: Final = 3
_SIGNED: Final = 1
_NAMELESS: Final = 2
_LEADS_ON: Final = 4
_APART: Final = 8
_FLAGS: Final = _SIGNED | _NAMELESS | _LEADS_ON | _APART


def leads_on(frame: bytes | bytearray | memoryview) -> bool:
    """As `item_leads_on`, for the item in *frame*, of which only the head is read.

    Frames of earlier versions do not mark redirects, so that these are not recognised.
    """
    return len(frame) >= _FRAME.size and (frame[_KIND_AT] == _ALIAS or bool(frame[_FLAGS_AT] & _LEADS_ON))


def is_opaque(head: object) -> bool:
    """Whether *head*, the first `HEAD_BYTES` of a frame, begins an item of a user's serializer."""
    return isinstance(head, bytes) and len(head) == HEAD_BYTES and head[_KIND_AT] == _OPAQUE


def span_of_response(frame: bytes, size: int) -> tuple[int, int] | None:
    """The positions where the fields of a response begin and end, in a frame of *size* bytes that begins with *frame*.

    None for anything other than a response with all of today's fields. Only the head is verified.
    """
    if len(frame) < _FRAME.size:
        return None
    magic, _, (version, kind, flags, _) = _head_of(frame)
    if magic != _MAGIC or version not in (FORMAT_VERSION, LINEWISE_VERSION) or kind != _RESPONSE:
        return None
    end = size - _MAC_BYTES if flags & _SIGNED else size
    return (_FRAME.size, end) if end > _FRAME.size else None


class _Form(msgspec.Struct, frozen=True):
    """How to read frames that have a certain head."""

    decode: Callable[[bytes | memoryview], StoredResponse | _Alias | Opaque]
    is_nameless: bool
    is_apart: bool


class _Alias(msgspec.Struct, frozen=True, array_like=True):
    key: str
    target: str


_encode = msgspec.msgpack.Encoder().encode
_decode_raw = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_FIELDS: Final = len(StoredResponse.__struct_fields__)


def _untagged(payload: bytes | memoryview) -> StoredResponse:
    """Decode a response of version 1, which lacks the field before the body, the tags."""
    *before, body = _decode_raw(payload)
    if len(before) != _FIELDS - 2:
        raise ValueError("it has more or fewer fields than a response of version 1")
    array = b"\xdc" + _FIELDS.to_bytes(2, "big")
    return msgspec.msgpack.decode(b"".join((array, *map(bytes, before), b"\xc0", bytes(body))), type=StoredResponse)


_KINDS: Final[dict[int, type[StoredResponse | _Alias | Opaque]]] = {
    _RESPONSE: StoredResponse,
    _ALIAS: _Alias,
    _OPAQUE: Opaque,
}


def _keyed(item: Item, key: str) -> tuple[int, StoredResponse | _Alias | Opaque]:
    """The kind of *item*, and the struct that is encoded for it, with *key*."""
    if isinstance(item, str):
        return _ALIAS, _Alias(key, item)
    if isinstance(item, Opaque):
        return _OPAQUE, item if item.key == key else replace(item, key=key)
    return _RESPONSE, replace(item, key=key, raw_headers=_blocked(item.raw_headers))


def _blocked(lines: HeaderLines) -> HeaderLines:
    """*lines* as they are encoded: as a block, or as they are if no block can hold them; then no read accepts them."""
    block = lines if isinstance(lines, HeaderBlock) else HeaderBlock.of(lines)
    return lines if block is None else block


def _opened(form: _Form, payload: bytes | memoryview, key: str | None, body: bytes | None) -> Item:
    try:
        item = form.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError, MemoryError) as exc:
        raise UnreadableEntryError("stored bytes have a valid checksum but no valid content") from exc
    if key is not None and item.key != ("" if form.is_nameless else key):
        raise UnreadableEntryError("stored bytes were written for another key")
    if type(item) is StoredResponse:
        if not is_possible(item):
            raise UnreadableEntryError("stored bytes describe no possible response")
        if body is not None:
            force_setattr(item, "body", body)  # nothing else refers to the object yet
    elif body is not None:
        raise UnreadableEntryError("stored bytes have a body beside what has none")
    elif isinstance(item, _Alias):
        return item.target
    if form.is_nameless:
        force_setattr(item, "key", key)
    return item


class Sealed(msgspec.Struct, frozen=True, gc=False):
    """A frame whose checksum and signature are verified, and whose payload is not decoded yet."""

    form: _Form
    payload: bytes | memoryview
    key: str
    body: bytes | None

    def open(self) -> Item | Unreadable:
        """Decode and validate the item."""
        try:
            return _opened(self.form, self.payload, self.key, self.body)
        except UnreadableEntryError:
            return UNREADABLE


class EntryCodec:
    """Turns entries into bytes and back.

    Args:
        secret_key: signs entries; then only entries signed with one of these keys are read. With several,
            the first signs and all verify, so that a key can be rotated without losing the cache.
        salt: separates signatures of different uses of one secret.
        names: what the entries belong to, such as a cache and a collection in it; an entry that was signed for other
            names is not accepted.

    Raises:
        ConfigurationError: a secret is empty, or there is none in the iterable.
    """

    __slots__ = ("_checksum", "_forms", "_mac_keys")

    def __init__(
        self, secret_key: SecretKeys = None, salt: str | bytes = DEFAULT_SALT, *, names: tuple[str, ...] = ()
    ) -> None:
        self._mac_keys = subkeys(secret_key, salt, *(("entries", *names) if names else ()))
        self._checksum = checksum_function()
        self._forms: dict[bytes, _Form] = {}  # by the head without magic and checksum, of frames read so far

    @property
    def is_signing(self) -> bool:
        """Whether entries are signed."""
        return bool(self._mac_keys)

    def encode(self, item: Item, key: str) -> bytes:
        """The bytes to store under *key*, which they contain.

        Raises:
            StorageError: a text field cannot be encoded in UTF-8 (a lone surrogate).
        """
        return self._frame(*_keyed(item, key))

    def pack(self, item: Item, key: str) -> bytes:
        """As :meth:`encode`, without *key* in the bytes: they are smaller, but reading them takes the key."""
        return self._frame(*_keyed(item, ""), key)

    def pack_apart(self, item: Item, key: str) -> tuple[bytes, bytes | None]:
        """As :meth:`pack`, with the body of a response apart from the frame, so that it is copied less often.

        Returns:
            The frame, and the body; None if the frame contains everything.

        Raises:
            StorageError: as :meth:`pack`.
        """
        if not isinstance(item, StoredResponse) or isinstance(item, FiledResponse):
            return self.pack(item, key), None
        bodiless = replace(item, key="", body=b"", raw_headers=_blocked(item.raw_headers))
        return self._frame(_RESPONSE, bodiless, key, item.body), item.body

    def unpack(self, data: bytes | bytearray | memoryview, key: str, body: bytes | None = None) -> Item | Unreadable:
        """The item that was packed under *key*, and its *body* if that is apart; also reads frames with their key."""
        try:
            return _opened(*self._checked(data, key, body), key, body)
        except UnreadableEntryError:
            return UNREADABLE

    def check(self, data: bytes | bytearray | memoryview, key: str, body: bytes | None = None) -> Sealed | Unreadable:
        """The first half of :meth:`unpack`; the second is :meth:`Sealed.open`, maybe in another thread."""
        try:
            form, payload = self._checked(data, key, body)
            return Sealed(form, payload, key, body)
        except UnreadableEntryError:
            return UNREADABLE

    def decode(self, data: bytes | bytearray | memoryview, key: str | None = None, body: bytes | None = None) -> Item:
        """Decode what :meth:`encode` or one of the other methods made.

        Args:
            data: untrusted.
            key: the key under which *data* was found; data that was written for another key is not accepted. None
                trusts the key in the data, which then must contain one.
            body: the body that is stored apart from *data*, if there is one; untrusted.

        Raises:
            UnreadableEntryError: for everything that may be wrong with *data*.
        """
        return _opened(*self._checked(data, key, body), key, body)

    def _frame(
        self, kind: int, item: StoredResponse | _Alias | Opaque, key: str | None = None, body: bytes | None = None
    ) -> bytes:
        if isinstance(item, FiledResponse):
            raise StorageError("an entry cannot be written: its body is in a file, and was not read")
        try:
            payload = _encode(item)
            beside = b"" if key is None else _beside(key)
        except (UnicodeEncodeError, OverflowError) as exc:
            raise StorageError(f"an entry cannot be written: {type(exc).__name__} in one of its fields") from exc
        flags = (_SIGNED if self._mac_keys else 0) | (_NAMELESS if beside else 0)
        if kind != _ALIAS and item_leads_on(item):
            flags |= _LEADS_ON
        if body is not None:
            flags |= _APART
        head = bytes((FORMAT_VERSION, kind, flags, 0))
        if self._mac_keys:
            payload += _mac(self._mac_keys[0], head + beside, payload, body or b"")
        checksum = sum_in_pieces(self._checksum, body or b"", self._checksum(payload, self._checksum(head + beside, 0)))
        return b"".join((_MAGIC, checksum.to_bytes(4, "big"), head, payload))

    def _checked(self, data: object, key: str | None, body: bytes | None) -> tuple[_Form, bytes | memoryview]:
        """Verify checksum and signature of *data*; return how to decode its payload, and the payload."""
        if type(data) is not bytes:
            data = _bytes_of(data)
        if body is not None and type(body) is not bytes:
            raise UnreadableEntryError(f"the store returned a {type(body).__name__} for a body, not bytes")
        if len(data) < HEAD_BYTES:
            raise UnreadableEntryError(f"stored bytes are too short for an entry: {len(data)}")
        magic, checksum, head = _head_of(data)
        if magic != _MAGIC:
            raise UnreadableEntryError("stored bytes are not an entry of this package")
        is_nameless = head[_FLAGS_IN_HEAD] & _NAMELESS
        covered, payload = head, data[HEAD_BYTES:] if len(data) <= _COPIED_BYTES else memoryview(data)[HEAD_BYTES:]
        if is_nameless:
            if key is None:
                raise UnreadableEntryError("stored bytes name no key, and it is not known")
            covered += _beside(key)
        sum_of = self._checksum
        actual = sum_of(payload, sum_of(covered, 0))
        if (actual if body is None else sum_of(body, actual)) != checksum:
            raise UnreadableEntryError(
                "stored bytes are damaged, or were written for another key: the checksum differs"
            )
        form = self._forms.get(head) or self._form_of(head)
        if form.is_apart != (body is not None):
            raise UnreadableEntryError("stored bytes have no body beside them, or one too many")
        if self._mac_keys:
            payload = self._verified(payload, covered, body or b"")
        return form, payload

    def _form_of(self, head: bytes) -> _Form:
        version, kind, flags, zero = head
        if not UNTAGGED_VERSION <= version <= FORMAT_VERSION or kind not in _KINDS or flags & ~_FLAGS or zero:
            raise UnreadableEntryError(f"stored bytes are of format {version}.{kind}, we read {FORMAT_VERSION}")
        if bool(flags & _SIGNED) != self.is_signing:
            raise UnreadableEntryError(
                "stored bytes are not signed, and secret_key is set"
                if self._mac_keys
                else "stored bytes are signed, and no secret_key is set"
            )
        is_old = version == UNTAGGED_VERSION and kind == _RESPONSE
        decode = _untagged if is_old else msgspec.msgpack.Decoder(_KINDS[kind]).decode
        form = self._forms[head] = _Form(decode, bool(flags & _NAMELESS), bool(flags & _APART))
        return form

    def _verified(self, signed: bytes | memoryview, head: bytes, body: bytes) -> bytes | memoryview:
        if len(signed) < _MAC_BYTES:
            raise UnreadableEntryError("stored bytes are too short for a signed entry")
        payload, mac = signed[:-_MAC_BYTES], signed[-_MAC_BYTES:]
        for mac_key in self._mac_keys:
            if hmac.compare_digest(_mac(mac_key, head, payload, body), mac):
                return payload
        raise UnreadableEntryError("stored bytes are not signed with any of our secret keys")


def _bytes_of(data: object) -> bytes:
    if isinstance(data, (bytearray, memoryview)):
        return bytes(cast("bytearray", data))
    raise UnreadableEntryError(f"the store returned a {type(data).__name__}, not bytes")


def _beside(key: str) -> bytes:
    """The bytes that checksum and MAC cover for a key that is stored beside the frame."""
    text = key.encode("utf-8", "surrogatepass")
    return len(text).to_bytes(4, "big") + text


def _mac(mac_key: bytes, head: bytes, payload: bytes | memoryview, body: bytes = b"") -> bytes:
    state = blake2b(head, key=mac_key, digest_size=_MAC_BYTES)
    state.update(payload)
    state.update(body)
    return state.digest()
