"""Pickles that are anything: they are a response or they are refused, and nothing but inert values comes of them."""

from __future__ import annotations

from hypothesis import event, given
from hypothesis import strategies as st

from aiohttp_cache_di.entries.older import OlderResponse, UnknownPickleError, read_older
from aiohttp_cache_di.entries.pickled import Inert, Named, read_pickle
from tests.fuzz.fuzzing import fuzzed
from tests.older_pickles import older_pickle, older_response

HOP = older_response("http://a.test/old", status=302, headers=[("Location", "/")], body=None)
GENUINE = older_pickle("http://a.test/", headers=[("ETag", '"1"')], history=(HOP,))
HOSTILE = b"cos\nsystem\n(X\x04\x00\x00\x00truetR"
INSTRUCTIONS = [
    bytes([code]) for code in b"\x80\x95\x8cX\x8dCB\x8eKMJ\x8aGN\x88\x89]})\x85\x86\x87(taesu\x94qrhjc\x93\x81Rb."
]
PIECES = st.one_of(
    st.sampled_from([*INSTRUCTIONS, b"0", b"2", b"i", b"o", b"P", b"Q", b"\x82", b"\x92", b"\x96"]),
    st.sampled_from([b"\x8c\x04yarl\x8c\x03URL\x93", b"cyarl\nURL\n", HOSTILE, b"cbuiltins\neval\n"]),
    st.binary(max_size=6),
)


def read(data: bytes) -> None:
    try:
        found = read_older(data)
    except UnknownPickleError:
        event("refused")
        return
    event("read")
    assert isinstance(found, OlderResponse)


@given(
    st.lists(
        st.tuples(st.integers(0, len(GENUINE)), st.integers(0, 12), st.one_of(PIECES, st.binary(max_size=8))),
        max_size=4,
    )
)
@fuzzed(400)
def test_changed_bytes_are_a_response_or_refused(changes: list[tuple[int, int, bytes]]) -> None:
    data = GENUINE
    for at, cut, put in changes:
        data = data[:at] + put + data[at + cut :]
    read(data)


@given(st.lists(PIECES, max_size=40))
@fuzzed(400)
def test_any_program_makes_inert_values_or_is_refused(pieces: list[bytes]) -> None:
    program = b"\x80\x04" + b"".join(pieces) + b"."
    read(program)
    try:
        value, end = read_pickle(program, {"yarl.URL"})
    except UnknownPickleError:
        return
    assert end <= len(program)
    assert value is None or isinstance(value, str | bytes | int | float | tuple | list | dict | Named | Inert)
