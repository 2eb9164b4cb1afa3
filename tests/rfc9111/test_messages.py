from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.msgpack import encode
from msgspec.structs import replace

from aiohttp_cache_di.rfc9111.messages import HeaderBlock, VariantRef, decoded
from tests.messages import a_stored

LONG = "x" * 10_000


@pytest.mark.parametrize(
    "fields",
    [
        {"key": LONG},
        {"url": f"http://example.org/{LONG}"},
        {"reason": LONG.encode()},
        {"body": LONG.encode()},
        {"raw_headers": ((LONG.encode(), b""),)},
        {"raw_headers": ((b"", LONG.encode()),)},
        {"vary_fields": (LONG,)},
        {"vary_fields": tuple("x" * 10_000)},
        {"vary_digest": LONG.encode()},
        {"history": (LONG, LONG)},
        {"variants": (VariantRef((LONG,), b"", "k"),)},
        {"variants": (VariantRef(("x",), LONG.encode(), "k"),)},
        {"variants": (VariantRef(("x",), b"", LONG),)},
        {"variants": (VariantRef(("x",), b"", "k", LONG),)},
        {"variants": (VariantRef(("x",), b"", "k"),) * 4000},
    ],
)
def test_all_that_is_kept_of_an_entry_is_weighed(fields: dict[str, Any]) -> None:
    entry = replace(a_stored(), **fields)
    assert entry.size_bytes >= 0.9 * len(encode(entry)) - 100


lines = st.lists(st.tuples(st.binary(max_size=9), st.binary(max_size=9))).map(tuple)


@given(lines=lines)
def test_a_block_has_the_lines_that_it_is_made_of(lines: tuple[tuple[bytes, bytes], ...]) -> None:
    block = HeaderBlock.of(lines)
    if any(b"\n" in name + value for name, value in lines):
        assert block is None
        return
    assert block is not None
    assert tuple(block) == lines
    assert len(block) == len(lines)
    assert (block == lines, lines == block, hash(block)) == (True, True, hash(lines))
    assert block.is_possible() == all(b"\r" not in name + value and b"\0" not in name + value for name, value in lines)


@given(text=st.binary(max_size=9) | st.text("ab\n", max_size=9).map(str.encode))
def test_any_block_that_is_possible_consists_of_lines(text: bytes) -> None:
    block = HeaderBlock(text)
    if block.is_possible():
        assert HeaderBlock.of(tuple(block)) == block
        assert b"\n".join(piece for line in block for piece in line) == text


@given(lines=lines)
def test_a_block_is_decoded_as_its_lines_are(lines: tuple[tuple[bytes, bytes], ...]) -> None:
    block = HeaderBlock.of(lines)
    assert block is None or decoded(block) == decoded(lines)


def test_blocks_of_other_lines_differ() -> None:
    block = HeaderBlock.of(((b"a", b"b"),))
    assert block != HeaderBlock(b"a\nc")
    assert block != ((b"a", b"b"), (b"a", b"b"))
    assert block != b"a\nb"


def test_no_header_value_is_in_the_repr_of_a_block() -> None:
    assert "hunter2" not in repr(HeaderBlock(b"Set-Cookie\nid=hunter2"))
