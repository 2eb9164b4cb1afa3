"""Any bytes that others put into a store under the cache's keys: they are a miss, are overwritten, and run nothing."""

from __future__ import annotations

import os
import pickle
import random
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiohttp_cache_di import CachedSession
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.entries.codec import EntryCodec
from aiohttp_cache_di.entries.items import Opaque
from aiohttp_cache_di.errors import UnreadableEntryError
from aiohttp_cache_di.rfc9111.messages import StoredResponse
from tests.faults.conftest import Note
from tests.faults.origin import Origin
from tests.stores import APART, SHARED, Store

CORPUS: Final = Path(__file__).parent / "corpus"
PAYLOAD_AT: Final = 12
NAMELESS: Final = 2  # flag of a frame whose key is stored separately
KEY: Final = "k" * 40


class Trap:
    """A pickle of it would make a named pipe when loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkfifo, (str(self.path),)


def with_checksum(frame: bytes, key: str = "", body: bytes = b"") -> bytes:
    """*frame* with a valid checksum for *key* and *body*, as an attacker who knows the format would write it."""
    beside = len(key).to_bytes(4, "big") + key.encode() if frame[10] & NAMELESS else b""
    checksum = zlib.crc32(frame[8:PAYLOAD_AT] + beside + frame[PAYLOAD_AT:] + (body if frame[10] & APART else b""))
    return frame[:4] + checksum.to_bytes(4, "big") + frame[8:]


def forged(frame: bytes, at: str, **changes: object) -> bytes:
    """The entry in *frame*, unsigned, with some fields changed and a valid checksum."""
    entry = msgspec.msgpack.Decoder(StoredResponse).decode(frame[PAYLOAD_AT:])
    return with_checksum(frame[:PAYLOAD_AT] + msgspec.msgpack.encode(msgspec.structs.replace(entry, **changes)), at)


def planted(frame: bytes, key: str, other: bytes, trap: Path) -> dict[str, bytes]:
    """Replacements that an attacker could put in the place of *frame*; *other* is an entry of another key."""
    chance = random.Random(6)
    return {
        "nothing": b"",
        "zeros": bytes(len(frame)),
        "garbage": chance.randbytes(5000),
        "text": b"<html>not found</html>" * 50,
        "its first half": frame[: len(frame) // 2],
        "all but its last byte": frame[:-1],
        "more than itself": frame + b"x",
        "itself twice": frame + frame,
        "an entry of another key": other,
        "the next version": with_checksum(frame[:8] + bytes([frame[8] + 1]) + frame[9:], key),
        "an unknown kind": with_checksum(frame[:9] + b"\x63" + frame[10:], key),
        "a pickle": pickle.dumps(Trap(trap)),
        "an entry whose body is a pickle, under a kind of its own": with_checksum(
            frame[:9] + b"\x03" + frame[10:PAYLOAD_AT] + msgspec.msgpack.encode(["", pickle.dumps(Trap(trap))]), key
        ),
        "a deflated bomb": zlib.compress(bytes(50_000_000)),
        "a bomb of nesting": with_checksum(frame[:PAYLOAD_AT] + b"\x91" * 200_000, key),
        "a bomb of a length": with_checksum(frame[:PAYLOAD_AT] + b"\xdd\xff\xff\xff\xff" + b"\x00" * 100, key),
        "a body of a length that is none": with_checksum(frame[:-2100] + b"\xc6\xff\xff\xff\xff" + b"x" * 100, key),
        "a time that is no number": forged(frame, key, fresh_until=float("nan")),
        "a status that is none": forged(frame, key, status=7),
        "an entry that was renamed": with_checksum(frame, "another"),
        "an entry that names another key": forged(frame, key, key="another"),
    } | {f"bit {bit} flipped": flipped(frame, bit) for bit in chance.sample(range(8 * len(frame)), 20)}


def flipped(frame: bytes, bit: int) -> bytes:
    """*frame* with one bit changed."""
    changed = bytearray(frame)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


async def stored(backend: CacheBackend, origin: Origin, *paths: str) -> None:
    """Store the right responses to *paths*, and close the backend."""
    async with CachedSession(cache=backend) as session:
        for path in paths:
            async with session.get(origin.url + path) as response:
                assert await response.read() == origin.body_of(path)
    await backend.settle()
    await backend.close()


@pytest.mark.parametrize("store", SHARED, indirect=True)
async def test_what_others_put_there_is_a_miss_that_is_overwritten(
    store: Store, origin: Origin, note: Note, tmp_path: Path
) -> None:
    backend = store.backend()
    await stored(backend, origin, "/a", "/b")
    key, other = (backend.create_key("GET", origin.url + path) for path in ("/a", "/b"))
    genuine, trap = store.kept(key), tmp_path / "trap"
    cases = planted(genuine, key, store.kept(other), trap)
    unreadable = 0
    for name, data in cases.items():
        store.plant({key: data})
        fresh = store.backend(storage_deadline=5.0)
        hits = origin.hits["/a"]
        await stored(fresh, origin, "/a", "/a")
        assert origin.hits["/a"] == hits + 1, f"{name} was believed, or not overwritten"
        assert not fresh.stats.store_errors, name
        assert fresh.stats.unreadable >= 1, name
        assert store.kept(key)[:PAYLOAD_AT][8:] == genuine[8:PAYLOAD_AT], name
        unreadable += fresh.stats.unreadable
    note(planted=len(cases), believed=0, counted_unreadable=unreadable)
    assert not trap.exists()


@pytest.mark.parametrize("store", SHARED, indirect=True)
async def test_with_a_secret_nobody_else_can_write_an_entry(store: Store, origin: Origin, note: Note) -> None:
    signing = {"secret_key": ["new secret", "old secret"]}
    backend = store.backend(**signing)
    await stored(backend, origin, "/a", "/b")
    key, other = (backend.create_key("GET", origin.url + path) for path in ("/a", "/b"))
    genuine, body = store.kept(key), store.body_beside(key)
    payload = genuine[PAYLOAD_AT:-32]
    entry = msgspec.msgpack.Decoder(StoredResponse).decode(payload)
    entry = msgspec.structs.replace(entry, key=key, body=body or entry.body)
    unsigned = genuine[10] & (NAMELESS | APART)
    evil = msgspec.msgpack.encode(msgspec.structs.replace(entry, key="", body=b"evil"))
    frames = {
        "another body": with_checksum(genuine[:PAYLOAD_AT] + evil + genuine[-32:], key, body),
        "unsigned": EntryCodec().encode(msgspec.structs.replace(entry, body=b"evil"), entry.key),
        "signed with another secret": EntryCodec("guess").encode(
            msgspec.structs.replace(entry, body=b"evil"), entry.key
        ),
        "signed for another cache": EntryCodec("new secret", names=("another", "responses")).encode(entry, entry.key),
        "signed for another use": EntryCodec("new secret", salt="other").encode(entry, entry.key),
        "moved from another key": with_checksum(store.kept(other), key, body),
        "signature cut": with_checksum(genuine[:-1], key, body),
        "signature of zeros": with_checksum(genuine[:-32] + bytes(32), key, body),
        "flag taken off": with_checksum(genuine[:10] + bytes([unsigned]) + genuine[11:-32], key, body),
    }
    for name, data in frames.items():
        store.plant({key: data})
        fresh = store.backend(**signing)
        hits = origin.hits["/a"]
        await stored(fresh, origin, "/a", "/a")
        assert origin.hits["/a"] == hits + 1, name
        assert fresh.stats.unreadable >= 1, name
    store.plant({key: store.backend(secret_key="old secret").stack.codec.encode(entry, entry.key)})
    fresh = store.backend(**signing)
    hits = origin.hits["/a"]
    await stored(fresh, origin, "/a")
    assert origin.hits["/a"] == hits, "a rotated secret still verifies"
    note(forgeries=len(frames), believed=0)


# ---- the decoder alone


def corpus() -> list[bytes]:
    """Frames of every kind, signed and unsigned, and some that were found by fuzzing or made by hand."""
    return [file.read_bytes() for file in sorted(CORPUS.glob("*.bin"))]


CODECS: Final = (EntryCodec(), EntryCodec("secret"))


def decoded(codec: EntryCodec, data: bytes) -> StoredResponse | str | Opaque | None:
    """*data* decoded by *codec*; None if it is refused. Any other error is raised."""
    try:
        return codec.decode(data)
    except UnreadableEntryError:
        return None


def test_the_corpus_is_there_and_reads_as_it_always_did() -> None:
    frames = corpus()
    assert len(frames) >= 12
    read = [[decoded(codec, frame) is not None for codec in CODECS] for frame in frames]
    assert sum(plain for plain, _ in read) == sum(signed for _, signed in read) == 4


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_mutated_frame_is_refused(data: st.DataObject) -> None:
    frame = data.draw(st.sampled_from([frame for frame in corpus() if any(decoded(codec, frame) for codec in CODECS)]))
    start = data.draw(st.integers(0, len(frame)))
    end = data.draw(st.integers(start, min(len(frame), start + 64)))
    mutant = frame[:start] + data.draw(st.binary(max_size=64)) + frame[end:]
    for codec in CODECS:
        assert mutant == frame or decoded(codec, mutant) is None


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_mutated_frame_with_a_fitting_checksum_costs_no_more_than_its_size(data: st.DataObject) -> None:
    frame = bytearray(data.draw(st.sampled_from([frame for frame in corpus() if len(frame) > PAYLOAD_AT])))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(PAYLOAD_AT, max(PAYLOAD_AT, len(frame) - 1)))  # a frame that was cut grows again
        frame[place : place + data.draw(st.integers(0, 8))] = data.draw(
            st.sampled_from(
                [b"\xdd\xff\xff\xff\xff", b"\xc6\x7f\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\xc0", b"\x91"]
            )
            | st.binary(max_size=8)
        )
    mutant = with_checksum(bytes(frame))
    tracemalloc.start()
    decoded(CODECS[0], mutant)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert mutant in corpus() or decoded(CODECS[1], mutant) is None, "it has no signature"
    assert peak < 64 * len(mutant) + 100_000


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_arbitrary_bytes_behind_a_right_beginning_are_refused(tail: bytes) -> None:
    for kind in range(6):
        head = b"\xacDI\n" + bytes(4) + bytes([1, kind, 0, 0])
        found = decoded(CODECS[0], with_checksum(head + tail))
        assert found is None or isinstance(found, str | Opaque | StoredResponse)
