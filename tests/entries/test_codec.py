from __future__ import annotations

import io
import math
import pickle
import zlib
from base64 import b64decode
from collections.abc import Callable
from typing import Any, cast

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from aiohttp_cache_di.entries.codec import FORMAT_VERSION, EntryCodec, _mac
from aiohttp_cache_di.entries.info import info_of
from aiohttp_cache_di.entries.items import UNREADABLE, Opaque
from aiohttp_cache_di.entries.outline import outline, outline_apart
from aiohttp_cache_di.errors import ConfigurationError, StorageError, UnreadableEntryError
from aiohttp_cache_di.rfc9111.messages import HeaderBlock, StoredResponse, Tagging, VariantRef

PLAIN = EntryCodec()
SIGNED = EntryCodec("a secret")
CODECS = [pytest.param(PLAIN, id="unsigned"), pytest.param(SIGNED, id="signed")]

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
tokens = st.text("abcdefghijklmnopqrstuvwxyz-0123456789", min_size=1, max_size=12)
paths = tokens.map("/{}?a=/b".format) | st.just("") | st.just("/")
values = st.binary(max_size=40).map(lambda value: value.translate(None, b"\r\n\0"))
times = st.floats(0, 1e10)
ends = st.floats(-1e10, 1e10) | st.sampled_from([math.inf, -math.inf])
refs = st.builds(
    VariantRef,
    fields=st.lists(tokens, min_size=1, max_size=3).map(tuple),
    digest=st.binary(max_size=20),
    key=tokens,
    etag=tokens | st.none(),
    store_until=ends,
)
entries = st.builds(
    StoredResponse,
    key=texts,
    method=st.sampled_from(["GET", "HEAD", "POST"]),
    url=st.builds("{}://{}.example{}".format, st.sampled_from(["http", "https", "ws"]), tokens, paths),
    status=st.sampled_from([200, 206, 301, 404, 500, 999]),
    reason=st.none() | values,
    version=st.sampled_from([(1, 0), (1, 1)]),
    raw_headers=st.lists(st.tuples(tokens.map(str.encode), values), max_size=6).map(tuple),
    requested_at=times,
    received_at=times,
    created_at=times,
    fresh_until=ends,
    store_until=ends,
    partition=texts,
    vary_fields=st.lists(tokens, min_size=1, max_size=3).map(tuple),
    vary_digest=st.binary(max_size=20),
    variants=st.lists(refs, max_size=3).map(tuple),
    history=st.lists(texts, max_size=3).map(tuple),
    body=st.binary(max_size=300),
)


def entry(key: str = "k1", body: bytes = b"a body", **fields: Any) -> StoredResponse:
    values: dict[str, Any] = {
        "method": "GET",
        "url": "http://example.org/",
        "status": 200,
        "reason": b"OK",
        "raw_headers": ((b"Content-Type", b"text/plain"),),
        "requested_at": 1_000.0,
        "received_at": 1_001.0,
        "created_at": 1_001.0,
        "fresh_until": 2_000.0,
    } | fields
    return StoredResponse(key=key, body=body, **values)


def reframed(data: bytes, payload: bytes, *, head: bytes | None = None) -> bytes:
    """An unsigned frame around *payload* with a checksum that fits: what a hostile writer would make."""
    head = data[8:12] if head is None else head
    return data[:4] + zlib.crc32(head + payload).to_bytes(4, "big") + head + payload


@pytest.mark.parametrize("codec", CODECS)
@given(stored=entries)
def test_an_entry_survives_the_round_trip(codec: EntryCodec, stored: StoredResponse) -> None:
    data = codec.encode(stored, stored.key)
    assert codec.decode(data, stored.key) == stored
    assert codec.decode(data) == stored
    assert codec.decode(codec.pack(stored, stored.key), stored.key) == stored


@pytest.mark.parametrize("codec", CODECS)
@given(target=texts, key=texts)
def test_an_alias_survives_the_round_trip(codec: EntryCodec, target: str, key: str) -> None:
    assert codec.decode(codec.encode(target, key), key) == target


@pytest.mark.parametrize("codec", CODECS)
@given(payload=st.binary(max_size=200), key=texts)
def test_the_bytes_of_a_users_serializer_survive_the_round_trip(codec: EntryCodec, payload: bytes, key: str) -> None:
    assert codec.decode(codec.encode(Opaque("", payload), key), key) == Opaque(key, payload)


@pytest.mark.parametrize("buffer", [bytearray, memoryview])
def test_other_buffers_of_bytes_are_read_like_bytes(buffer: Callable[[bytes], Any]) -> None:
    assert PLAIN.decode(buffer(PLAIN.encode(entry(), "k1")), "k1") == entry()


@pytest.mark.parametrize("codec", CODECS)
def test_every_flip_of_a_single_bit_is_refused(codec: EntryCodec) -> None:
    for data in (
        codec.encode(entry(body=b"x" * 200), "k1"),
        codec.pack(entry(body=b"x" * 200), "k1"),
        codec.encode("a", "k1"),
        codec.encode(Opaque("", b"p"), "k1"),
    ):
        for position in range(len(data) * 8):
            flipped = bytearray(data)
            flipped[position // 8] ^= 1 << position % 8
            with pytest.raises(UnreadableEntryError):
                codec.decode(bytes(flipped), "k1")


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("codec", CODECS)
def test_every_truncation_and_any_addition_is_refused(codec: EntryCodec, named: bool) -> None:
    data = codec.encode(entry(), "k1") if named else codec.pack(entry(), "k1")
    for length in range(len(data)):
        with pytest.raises(UnreadableEntryError):
            codec.decode(data[:length], "k1")
    for extra in (b"\0", b"\xc0", data):
        with pytest.raises(UnreadableEntryError):
            codec.decode(data + extra, "k1")


@pytest.mark.parametrize("codec", CODECS)
@given(data=st.binary(max_size=200))
@example(b"")
@example(b"\xacDI\n")
@example(zlib.compress(b"\0" * 1_000_000))
def test_garbage_is_refused(codec: EntryCodec, data: bytes) -> None:
    with pytest.raises(UnreadableEntryError):
        codec.decode(data)


@given(payload=st.binary(max_size=200), kind=st.integers(1, 3))
@example(b"\xdd\xff\xff\xff\xff", 1)  # An array said to have four thousand million elements.
@example(b"\x92\xa1k\xdb\xff\xff\xff\xff", 2)
@example(b"\x92\xa1k\xc6\xff\xff\xff\xff", 3)
@example(b"\x93\xa1k\xa1t" + b"\x91" * 100_000, 2)  # Nested deeper than a stack.
@example(b"\x92\xa1\xff\xa1k", 2)  # Not UTF-8.
def test_a_hostile_payload_with_a_fitting_checksum_never_raises_anything_else(payload: bytes, kind: int) -> None:
    data = reframed(PLAIN.encode(entry(), "k1"), payload, head=bytes((FORMAT_VERSION, kind, 0, 0)))
    try:
        PLAIN.decode(data, "k1")
    except UnreadableEntryError:
        return
    assert msgspec.msgpack.decode(payload)[0] == "k1"


@given(changes=st.lists(st.tuples(st.integers(0, 150), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_mutated_entry_with_a_fitting_checksum_is_read_as_an_entry_or_refused(
    changes: list[tuple[int, int]],
) -> None:
    data = PLAIN.encode(entry(), "k1")
    payload = bytearray(data[12:])
    for position, value in changes:
        payload[position % len(payload)] = value
    try:
        decoded = PLAIN.decode(reframed(data, bytes(payload)), "k1")
    except UnreadableEntryError:
        return
    assert isinstance(decoded, StoredResponse)
    assert decoded.key == "k1"


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("named", [False, True])
def test_an_entry_of_the_version_without_tags_is_read(codec: EntryCodec, named: bool) -> None:
    kept = replace(entry(), tagging=Tagging(("a",)))
    key = b"" if named else len(kept.key).to_bytes(4, "big") + kept.key.encode()
    fields = msgspec.msgpack.decode(msgspec.msgpack.encode(kept if named else replace(kept, key="")))
    del fields[StoredResponse.__struct_fields__.index("tagging")]
    payload = msgspec.msgpack.encode(fields)
    flags = (1 if codec.is_signing else 0) | (0 if named else 2)
    head = bytes((1, 1, flags, 0))
    mac = _mac(codec._mac_keys[0], head + key, payload) if codec.is_signing else b""
    checksum = zlib.crc32(payload + mac, zlib.crc32(head + key)).to_bytes(4, "big")
    read = codec.decode(b"\xacDI\n" + checksum + head + payload + mac, kept.key)
    assert read == replace(kept, tagging=None)


LINEWISE = [
    # Written under "k1" by the code of version 2, in Base64, with the body that was apart.
    pytest.param(
        PLAIN,
        "rERJCpHIvP0CAQIA3AAToKNHRVSzaHR0cDovL2V4YW1wbGUub3JnL8zIxAJPS5IBAZKSxAxDb250ZW50LVR5"
        "cGXECnRleHQvcGxhaW6SxARWYXJ5xANmb2/LQI9AAAAAAADLQI9IAAAAAADLQI9IAAAAAADLQJ9AAAAAAADL"
        "f/AAAAAAAACgkaNmb2/EAWSRlZGjZm9vxAFlomsywMt/8AAAAAAAAJCUkaFhAKAAxAZhIGJvZHk=",
        None,
        id="plain",
    ),
    pytest.param(
        PLAIN,
        "rERJCmcLwvICAQoA3AAToKNHRVSzaHR0cDovL2V4YW1wbGUub3JnL8zIxAJPS5IBAZKSxAxDb250ZW50LVR5"
        "cGXECnRleHQvcGxhaW6SxARWYXJ5xANmb2/LQI9AAAAAAADLQI9IAAAAAADLQI9IAAAAAADLQJ9AAAAAAADL"
        "f/AAAAAAAACgkaNmb2/EAWSRlZGjZm9vxAFlomsywMt/8AAAAAAAAJCUkaFhAKAAxAA=",
        b"a body",
        id="plain-apart",
    ),
    pytest.param(
        SIGNED,
        "rERJCuh/bW4CAQMA3AAToKNHRVSzaHR0cDovL2V4YW1wbGUub3JnL8zIxAJPS5IBAZKSxAxDb250ZW50LVR5"
        "cGXECnRleHQvcGxhaW6SxARWYXJ5xANmb2/LQI9AAAAAAADLQI9IAAAAAADLQI9IAAAAAADLQJ9AAAAAAADL"
        "f/AAAAAAAACgkaNmb2/EAWSRlZGjZm9vxAFlomsywMt/8AAAAAAAAJCUkaFhAKAAxAZhIGJvZHmDJnMWGsZf"
        "Pkb5ZKoRluBgWYAb9/sCGcuQcu6oSk6tiA==",
        None,
        id="signed",
    ),
    pytest.param(
        SIGNED,
        "rERJCuyntg8CAQsA3AAToKNHRVSzaHR0cDovL2V4YW1wbGUub3JnL8zIxAJPS5IBAZKSxAxDb250ZW50LVR5"
        "cGXECnRleHQvcGxhaW6SxARWYXJ5xANmb2/LQI9AAAAAAADLQI9IAAAAAADLQI9IAAAAAADLQJ9AAAAAAADL"
        "f/AAAAAAAACgkaNmb2/EAWSRlZGjZm9vxAFlomsywMt/8AAAAAAAAJCUkaFhAKAAxABqTtn2gvQxyPTT43gj"
        "8jU3lAGqDIrF7jMMLvIE4VKiXg==",
        b"a body",
        id="signed-apart",
    ),
]


@pytest.mark.parametrize(("codec", "frame", "body"), LINEWISE)
def test_an_entry_of_the_version_with_an_array_of_lines_is_read(
    codec: EntryCodec, frame: str, body: bytes | None
) -> None:
    written = entry(
        raw_headers=((b"Content-Type", b"text/plain"), (b"Vary", b"foo")),
        vary_fields=("foo",),
        vary_digest=b"d",
        variants=(VariantRef(("foo",), b"e", "k2"),),
        tagging=Tagging(("a",)),
    )
    data = b64decode(frame)
    assert codec.unpack(data, "k1", body) == written
    told = outline(data, len(data), "k1") if body is None else outline_apart(data, len(body), "k1")
    assert told == info_of(written)


@pytest.mark.parametrize("codec", CODECS)
@given(stored=entries)
def test_an_entry_that_was_read_is_written_as_the_same_bytes(codec: EntryCodec, stored: StoredResponse) -> None:
    data = codec.pack(stored, stored.key)
    read = codec.unpack(data, stored.key)
    assert isinstance(read, StoredResponse)
    assert isinstance(read.raw_headers, HeaderBlock), "its header lines are not split yet"
    assert codec.pack(read, stored.key) == data


@pytest.mark.parametrize("fields", [[], list(range(18)), list(range(20))])
def test_what_only_says_to_be_of_that_version_is_refused(fields: list[int]) -> None:
    data = PLAIN.encode(entry(), "k1")
    with pytest.raises(UnreadableEntryError, match="content"):
        PLAIN.decode(reframed(data, msgspec.msgpack.encode(fields), head=bytes((1, 1, 0, 0))), "k1")


@pytest.mark.parametrize("version", [0, FORMAT_VERSION + 1, 255])
def test_another_version_of_the_format_is_refused(version: int) -> None:
    data = PLAIN.encode(entry(), "k1")
    with pytest.raises(UnreadableEntryError, match=f"format {version}"):
        PLAIN.decode(reframed(data, data[12:], head=bytes((version, 1, 0, 0))), "k1")


@pytest.mark.parametrize("head", [(FORMAT_VERSION, 0, 0, 0), (FORMAT_VERSION, 9, 0, 0), (FORMAT_VERSION, 1, 0, 1)])
def test_an_unknown_kind_or_a_reserved_byte_in_use_is_refused(head: tuple[int, ...]) -> None:
    data = PLAIN.encode(entry(), "k1")
    with pytest.raises(UnreadableEntryError, match="format"):
        PLAIN.decode(reframed(data, data[12:], head=bytes(head)), "k1")


@pytest.mark.parametrize("flags", [1, 2, 128])
def test_unknown_flags_are_refused(flags: int) -> None:
    data = PLAIN.encode(entry(), "k1")
    with pytest.raises(UnreadableEntryError):
        PLAIN.decode(reframed(data, data[12:], head=bytes((FORMAT_VERSION, 1, flags, 0))), "k1")


@pytest.mark.parametrize("codec", CODECS)
def test_entries_swapped_between_keys_are_refused(codec: EntryCodec) -> None:
    for data in (
        codec.encode(entry(key="k2"), "k2"),
        codec.pack(entry(key="k2"), "k2"),
        codec.encode("k1", "k2"),
        codec.encode(Opaque("", b"payload"), "k2"),
    ):
        assert codec.decode(data, "k2")
        with pytest.raises(UnreadableEntryError, match="another key"):
            codec.decode(data, "k1")


@pytest.mark.parametrize("codec", CODECS)
def test_bytes_that_name_no_key_are_refused_where_it_is_not_known(codec: EntryCodec) -> None:
    data = codec.pack(entry(), "k1")
    assert b"k1" not in data
    with pytest.raises(UnreadableEntryError, match="no key"):
        codec.decode(data)


def test_bytes_that_are_said_to_name_no_key_and_do_are_refused() -> None:
    data = PLAIN.encode(entry(), "k1")
    head, beside = bytes((FORMAT_VERSION, 1, 2, 0)), b"\0\0\0\x02k1"
    data = data[:4] + zlib.crc32(head + beside + data[12:]).to_bytes(4, "big") + head + data[12:]
    with pytest.raises(UnreadableEntryError, match="another key"):
        PLAIN.decode(data, "k1")


class Exploit:
    ran = False

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return setattr, (Exploit, "ran", True)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_refused_and_runs_nothing(protocol: int) -> None:
    pickled = pickle.dumps(Exploit(), protocol)
    for data in (pickled, reframed(PLAIN.encode(entry(), "k1"), pickled)):
        with pytest.raises(UnreadableEntryError):
            PLAIN.decode(data)
    assert not Exploit.ran


@pytest.mark.parametrize("data", [None, "text", 7, io.BytesIO(b"x"), [b"x"]])
def test_what_is_not_bytes_is_refused(data: Any) -> None:
    with pytest.raises(UnreadableEntryError, match="not bytes"):
        PLAIN.decode(data)


@pytest.mark.parametrize(
    "fields",
    [
        {"status": 99},
        {"status": 1000},
        {"status": -200},
        {"fresh_until": math.nan},
        {"store_until": math.nan},
        {"created_at": math.nan},
        {"created_at": math.inf},
        {"received_at": 1e300},
        {"requested_at": -math.inf},
        {"created_at": -1.0},
        {"received_at": 253_100_000_000.0},
        {"fresh_until": 1e12},
        {"store_until": -1e300},
        {"status": 101},
        {"status": 304},
        {"method": ""},
        {"method": "GET /"},
        {"method": "G" * 65},
        *(
            {"url": url}
            for url in (
                "",
                "text",
                "/path",
                "http://",
                "http:///x",
                "http://[::1",
                "http://h:99999/",
                "https://h:99999",
            )
        ),
        *({"url": url} for url in ("http://h/\r\nX: y", "http://h:x/", "://h/", "http://h/\x00")),
        {"raw_headers": ((b"X\r\nY", b"x"),)},
        {"raw_headers": ((b"X\nY", b"x\ny"),)},
        *({"raw_headers": HeaderBlock(text)} for text in (b"X", b"X\nx\nY", b"X\nx\ry", b"X\nx\0y", b"\n\n")),
        *({"raw_headers": ((b"X", b"x"), (b"ETag", b'"a' + bad + b'"'))} for bad in (b"\r", b"\n", b"\0", b"\r\nY: z")),
        {"reason": b"OK\r\nX: y"},
        {"version": (1, 10)},
        {"version": (-1, 1)},
        {"partition": "x" * 4097},
        {"history": ("k",) * 1025},
        {"vary_fields": ("accept", "*")},
        {"vary_fields": ("a\nb",)},
        {"vary_fields": ("",)},
        {"vary_fields": ("foo",), "vary_digest": b"x" * 65},
        {"vary_fields": tuple(f"x{number}" for number in range(65))},
        {"vary_digest": b"without fields"},
        {"variants": (VariantRef(("foo",), b"1", ""),)},
        {"variants": (VariantRef(("foo",), b"1", "k", '"a\r\n"'),)},
        {"variants": (VariantRef(("foo",), b"1", "k", None, math.nan),)},
        {"variants": (VariantRef(("f o",), b"1", "k"),)},
        {"variants": (VariantRef(("foo",), b"1", "k"),) * 4097},
        *(
            {"status": 301, "raw_headers": ((name, location),), "url": "http://h/a?b=%C3%A9"}
            for name in (b"Location", b"URI")
            for location in (
                *(b"http://[", b"http://h:99999/", b"http://", b"http:///x", b"file:///etc/passwd", b"javascript:x"),
                *(
                    b"http://h/a?b=%C3%A9",
                    b"http://h:80/a?b=%c3%a9#x",
                    "/a?b=é".encode(),
                    b"?b=%C3%A9",
                    b"#",
                    b"/x/../a?b=%C3%A9",
                ),
            )
        ),
    ],
)
def test_an_impossible_response_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(UnreadableEntryError, match=r"no (possible response|valid content)"):
        PLAIN.decode(PLAIN.encode(entry(**fields), "k1"), "k1")


@pytest.mark.parametrize(
    "fields",
    [
        *(
            {"raw_headers": ((b"Location", location),)}
            for location in (b"/b", b"b?c", b"//other/a", b"https://h/a", b"HTTP://h/b", b"http:b", b"", b"/a#sealed=x")
        ),
        {"raw_headers": ((b"Location", b"/a"),), "method": "POST"},
        {"raw_headers": ((b"Location", b"file:///x"),), "status": 201},
        {"raw_headers": ((b"Location", b"/b"), (b"URI", b"/a"))},
        {"raw_headers": ()},
    ],
)
def test_a_redirect_that_leads_on_is_read(fields: dict[str, Any]) -> None:
    options: dict[str, Any] = {"status": 303, "url": "http://h/a", **fields}
    stored = entry(**options)
    assert PLAIN.decode(PLAIN.encode(stored, stored.key), "k1") == stored


def test_unsigned_and_signed_entries_are_not_confused() -> None:
    with pytest.raises(UnreadableEntryError, match="not signed"):
        SIGNED.decode(PLAIN.encode(entry(), "k1"), "k1")
    with pytest.raises(UnreadableEntryError, match="no secret_key"):
        PLAIN.decode(SIGNED.encode(entry(), "k1"), "k1")


def test_a_forged_signature_with_a_fitting_checksum_is_refused() -> None:
    data = SIGNED.encode(entry(), "k1")
    forged = reframed(data, data[12:].replace(b"a body", b"b body"))
    with pytest.raises(UnreadableEntryError, match="secret keys"):
        SIGNED.decode(forged, "k1")
    for length in range(12 + 32):
        with pytest.raises(UnreadableEntryError):
            SIGNED.decode(reframed(data, data[12 : 12 + length]), "k1")


@pytest.mark.parametrize(
    "other",
    [EntryCodec("another secret"), EntryCodec(b"a secret", salt="another salt"), EntryCodec("a secret\0")],
)
def test_another_secret_or_salt_is_refused(other: EntryCodec) -> None:
    with pytest.raises(UnreadableEntryError, match="secret keys"):
        other.decode(SIGNED.encode(entry(), "k1"), "k1")


def test_a_secret_may_be_text_or_bytes() -> None:
    assert EntryCodec(b"a secret", salt="aiohttp-client-cache").decode(SIGNED.encode(entry(), "k1"), "k1") == entry()


def test_rotated_secrets_sign_with_the_first_and_verify_with_all() -> None:
    rotated = EntryCodec(("new", b"a secret"))
    assert rotated.decode(SIGNED.encode(entry(), "k1"), "k1") == entry()
    assert EntryCodec("new").decode(rotated.encode(entry(), "k1"), "k1") == entry()
    with pytest.raises(UnreadableEntryError):
        SIGNED.decode(rotated.encode(entry(), "k1"), "k1")


@pytest.mark.parametrize("secret", ["", b"", [], ["good", ""]])
def test_an_empty_secret_is_a_configuration_error(secret: Any) -> None:
    with pytest.raises(ConfigurationError, match="secret_key is empty"):
        EntryCodec(secret)


def test_text_that_utf8_cannot_hold_is_a_storage_error_when_writing() -> None:
    with pytest.raises(StorageError, match="cannot be written"):
        PLAIN.encode(entry(vary_fields=("\udcff",)), "k1")


def test_the_secret_is_in_no_repr() -> None:
    assert "a secret" not in repr(SIGNED)


@settings(max_examples=20)
@given(body=st.binary(min_size=1000, max_size=2000))
def test_the_body_lies_in_the_bytes_as_it_is(body: bytes) -> None:
    assert PLAIN.encode(entry(body=body), "k1").endswith(body)


@pytest.mark.parametrize("codec", CODECS)
@given(stored=entries)
def test_an_entry_survives_with_its_body_apart(codec: EntryCodec, stored: StoredResponse) -> None:
    frame, body = codec.pack_apart(stored, stored.key)
    assert body is stored.body
    assert codec.unpack(frame, stored.key, body) == stored


@pytest.mark.parametrize("size", [0, 1, 5 * 1024, 5 * 1024 + 1, 10_000, 64 * 1024, 64 * 1024 + 1])
def test_a_body_of_any_size_is_summed_up_as_a_whole(size: int) -> None:
    stored = entry(body=bytes(range(250)) * (size // 250) + b"x" * (size % 250))
    frame, body = PLAIN.pack_apart(stored, "k1")
    assert PLAIN.unpack(frame, "k1", body) == replace(stored, key="k1")


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("item", ["target", Opaque("k1", b"bytes")])
def test_what_has_no_body_is_whole_in_its_frame(codec: EntryCodec, item: str | Opaque) -> None:
    assert codec.pack_apart(item, "k1") == (codec.pack(item, "k1"), None)
    assert codec.unpack(codec.pack(item, "k1"), "k1", b"") is UNREADABLE


@pytest.mark.parametrize("codec", CODECS)
def test_a_body_that_is_another_or_in_the_wrong_place_is_refused(codec: EntryCodec) -> None:
    """Nothing may stand beside a frame that has its body, nothing be missing beside one that has not."""
    frame, body = codec.pack_apart(entry(), "k1")
    whole = codec.pack(entry(), "k1")
    for data, beside in [
        (frame, None),
        (frame, b""),
        (frame, b"b body"),
        (frame, b"a bod"),
        (frame, "a body"),
        (frame + b"a", b" body"),
        (frame[:-1], frame[-1:] + b"a body"),
        (whole, b""),
        (whole, body),
        (whole[: -len(b"a body")], body),
    ]:
        assert codec.unpack(data, "k1", cast("bytes", beside)) is UNREADABLE
    assert codec.unpack(frame, "k2", body) is UNREADABLE
    for bit in range(8 * len(frame)):
        flipped = bytearray(frame)
        flipped[bit // 8] ^= 1 << bit % 8
        assert codec.unpack(bytes(flipped), "k1", body) is UNREADABLE


def test_a_forged_body_with_a_fitting_checksum_is_refused_where_entries_are_signed() -> None:
    frame, _ = SIGNED.pack_apart(entry(), "k1")
    beside = len("k1").to_bytes(4, "big") + b"k1"
    checksum = zlib.crc32(b"b body", zlib.crc32(frame[8:12] + beside + frame[12:]))
    forged = frame[:4] + checksum.to_bytes(4, "big") + frame[8:]
    with pytest.raises(UnreadableEntryError, match="secret keys"):
        SIGNED.decode(forged, "k1", b"b body")
    as_whole = bytes([*frame[8:10], frame[10] & ~8, frame[11]])
    checksum = zlib.crc32(as_whole + beside + frame[12:])
    with pytest.raises(UnreadableEntryError, match="secret keys"):
        SIGNED.decode(frame[:4] + checksum.to_bytes(4, "big") + as_whole + frame[12:], "k1")
