"""Replies of a server that are anything: they are what was asked for, or one of our errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiohttp_cache_di.backends.redis.connections.wire import ProtocolError, ReplyParser
from aiohttp_cache_di.backends.redis.records import commands
from aiohttp_cache_di.errors import StorageError
from tests.fuzz.fuzzing import fuzzed

pytest.importorskip("hiredis")

CONVERTERS: list[Callable[[Any], Any]] = [commands.value, commands.page, commands.head, commands.number]


def as_line(kind: bytes, line: bytes) -> bytes:
    """A reply of one line."""
    return kind + line + b"\r\n"


def as_aggregate(kind: bytes, items: list[bytes]) -> bytes:
    """A reply of other replies: an array, a set, a push, a map or attributes."""
    return b"%b%d\r\n%b" % (kind, len(items) // (2 if kind in b"%|" else 1), b"".join(items))


lines = st.text(st.characters(max_codepoint=127, exclude_characters="\r\n"), max_size=12).map(str.encode)
leaves = st.one_of(
    st.builds(as_line, st.sampled_from([b"+", b"-", b":", b",", b"(", b"#"]), lines),
    st.integers(-(2**64), 2**64).map(lambda number: b":%d\r\n" % number),
    st.binary(max_size=20).map(lambda data: b"$%d\r\n%b\r\n" % (len(data), data)),
    st.binary(max_size=20).map(lambda data: b"=%d\r\n%b\r\n" % (len(data) + 4, b"txt:" + data)),
    st.sampled_from(
        [b"_\r\n", b"$-1\r\n", b"*-1\r\n", b"*0\r\n", b"$-2\r\n", b"*99999999999\r\n", b"$?\r\n", b"-\r\n"]
    ),
    st.sampled_from([b"-WRONGTYPE x\r\n", b"-NOAUTH x\r\n", b"-MOVED 1 h:1\r\n", b"-OOM x\r\n", b"%-1\r\n", b">0\r\n"]),
)
replies = st.recursive(
    leaves,
    lambda inner: st.builds(
        as_aggregate,
        st.sampled_from([b"*", b"~", b">", b"%", b"|"]),
        st.lists(inner, max_size=4),
    ),
    max_leaves=12,
)
streams = st.one_of(st.lists(replies, max_size=4).map(b"".join), st.binary(max_size=60))


@fuzzed(120)
@given(streams, st.integers(1, 40))
def test_what_arrives_is_replies_or_not_the_protocol(data: bytes, size: int) -> None:
    parser = ReplyParser()
    found: list[Any] = []
    try:
        for start in range(0, len(data), size):
            found += parser.feed(data[start : start + size])
    except ProtocolError:
        pass
    for reply in found:
        for convert in CONVERTERS:
            try:
                convert(reply)
            except StorageError:
                continue


@fuzzed(120)
@given(streams)
def test_how_it_is_cut_makes_no_difference(data: bytes) -> None:
    def read(size: int) -> tuple[list[Any], bool]:
        parser = ReplyParser()
        found: list[Any] = []
        try:
            for start in range(0, len(data), size):
                found += parser.feed(data[start : start + size])
        except ProtocolError:
            return found, False
        return found, True

    byte_by_byte, at_once = read(1), read(len(data) + 1)
    assert byte_by_byte[1] == at_once[1]
    if at_once[1]:
        assert repr(byte_by_byte[0]) == repr(at_once[0])
