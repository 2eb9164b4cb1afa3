"""The Redis protocol, without a server."""

from __future__ import annotations

from typing import Any

import pytest

from aiohttp_cache_di.backends.redis.connections.wire import ProtocolError, ReplyParser, ServerError, command

REPLIES: list[tuple[bytes, Any]] = [
    (b"+OK\r\n", b"OK"),
    (b":-42\r\n", -42),
    (b"$5\r\na\r\nbc\r\n", b"a\r\nbc"),
    (b"$0\r\n\r\n", b""),
    (b"$-1\r\n", None),
    (b"*-1\r\n", None),
    (b"*0\r\n", []),
    (b"*2\r\n$1\r\n0\r\n*2\r\n$1\r\na\r\n$-1\r\n", [b"0", [b"a", None]]),
    (b"-WRONGTYPE Operation against a key\r\n", ServerError("WRONGTYPE", "WRONGTYPE Operation against a key")),
    (b"_\r\n", None),
    (b"#t\r\n", True),
    (b"#f\r\n", False),
    (b",1.5\r\n", 1.5),
    (b"(12345678901234567890\r\n", b"12345678901234567890"),
    (b"=7\r\ntxt:abc\r\n", b"abc"),
    (b"%1\r\n+proto\r\n:3\r\n", {b"proto": 3}),
    (b"~1\r\n:1\r\n", [1]),
    (b">2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n", [b"invalidate", [b"k"]]),
]


@pytest.mark.parametrize(("wire", "reply"), REPLIES)
def test_a_reply_is_read_as_the_protocol_has_it(wire: bytes, reply: Any) -> None:
    assert ReplyParser().feed(wire) == [reply]


def test_a_push_is_told_from_an_array() -> None:
    parser = ReplyParser()
    replies = parser.feed(b">1\r\n+invalidate\r\n*1\r\n+invalidate\r\n")
    assert [type(reply) is parser.push_type for reply in replies] == [True, False]


def test_an_error_inside_an_array_is_one_item_among_others() -> None:
    assert ReplyParser().feed(b"*2\r\n-ERR x\r\n:1\r\n") == [[ServerError("ERR", "ERR x"), 1]]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
def test_replies_are_the_same_however_they_are_cut(size: int) -> None:
    wire = b"".join(part for part, _ in REPLIES)
    parser = ReplyParser()
    found = [reply for start in range(0, len(wire), size) for reply in parser.feed(wire[start : start + size])]
    assert found == [reply for _, reply in REPLIES]


def test_a_long_string_in_many_pieces_is_put_together_once() -> None:
    body = bytes(range(256)) * 40_000
    wire = b"$%d\r\n%b\r\n+OK\r\n" % (len(body), body)
    parser = ReplyParser()
    found = [reply for start in range(0, len(wire), 65536) for reply in parser.feed(wire[start : start + 65536])]
    assert found == [body, b"OK"]


@pytest.mark.parametrize(
    "wire",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"$abc\r\n",
        b":\r\n",
        b"$3\r\nabcde\r\n",
        b"*99999999999\r\n",
        b"%1\r\n*1\r\n:1\r\n:1\r\n",
        b"*1\r\n" * 10_000,
        b"\x00" * 70_000,
    ],
)
def test_what_is_not_the_protocol_is_refused(wire: bytes) -> None:
    with pytest.raises(ProtocolError):
        ReplyParser().feed(wire)


def test_a_command_names_the_length_of_each_part() -> None:
    assert command(b"SET", b"k\r\n", b"") == b"*3\r\n$3\r\nSET\r\n$3\r\nk\r\n\r\n$0\r\n\r\n"
