"""How much is sent to a store in one put."""

from __future__ import annotations

import pytest

from aiohttp_cache_di.backends.store import Limits
from aiohttp_cache_di.backends.wrap.writing.puts import MAX_BATCH_BYTES, Puts
from aiohttp_cache_di.backends.wrap.writing.write import Write
from tests.backends.entries import make_entry


def ready(*keys: str, size: int = 10) -> dict[str, Write]:
    return {key: Write(make_entry(key, bytes(size)), None) for key in keys}


def puts(most: int) -> Puts:
    return Puts(Limits(batch=most), lambda: None)


def chosen(size: Puts, writes: dict[str, Write], busy: tuple[str, ...] = ()) -> str:
    return "".join(write.entry.key for write in size.choose(writes, busy))


def test_the_oldest_go_first_and_a_key_that_is_being_put_waits() -> None:
    size = puts(2)
    assert chosen(size, ready(*"abcd")) == "ab"
    assert chosen(size, ready(*"abcd"), busy=("a", "b")) == "cd"
    assert chosen(size, ready("a"), busy=("a",)) == ""


def test_a_put_that_fails_is_halved_until_one_is_alone_and_one_that_does_not_is_doubled() -> None:
    size, taken = puts(8), list[int]()
    for failed in (8, 4, 2, 1):
        size.shrink(failed)
        taken.append(len(chosen(size, ready(*"abcdefghij"))))
    for _ in range(4):
        size.grow()
        taken.append(len(chosen(size, ready(*"abcdefghij"))))
    assert taken == [4, 2, 1, 1, 2, 4, 8, 8]


@pytest.mark.parametrize(("part", "together"), [(4, "abc"), (3, "ab"), (1, "a")])
def test_what_is_large_together_goes_in_several_and_what_is_too_large_goes_alone(part: int, together: str) -> None:
    assert chosen(puts(10), ready(*"abcd", size=MAX_BATCH_BYTES // part)) == together
