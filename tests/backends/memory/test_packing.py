"""Entries in memory are packed, and unpacked for a while after a read; only the use of memory shows it."""

from __future__ import annotations

import gc
import time
import tracemalloc
from typing import Any

import msgspec
import pytest

from aiohttp_cache_di.backends.memory import DictCache
from aiohttp_cache_di.backends.memory.packed import ALL_OF, MAX_LINE_BYTES, MAX_LINES, ONE_IN, CommonLines, Packed
from aiohttp_cache_di.backends.memory.store import ENTRY_OVERHEAD_BYTES, MAX_OPEN
from aiohttp_cache_di.response import CachedResponse
from aiohttp_cache_di.rfc9111.messages import StoredResponse, Tagging, VariantRef
from tests.backends.entries import make_entry


def bury(storage: DictCache) -> None:
    """Read so many other entries that those unpacked before are packed again."""
    for number in range(MAX_OPEN):
        storage.put(make_entry(f"other-{number}"))
        storage.peek(f"other-{number}")


def packed(storage: DictCache, key: str) -> bool:
    return isinstance(storage._store.data[key], Packed)


def is_open(storage: DictCache, key: str) -> bool:
    return key in storage._store._open


@pytest.fixture
def storage() -> DictCache:
    return DictCache(max_bytes=None)


def everything(key: str) -> StoredResponse:
    """An entry in which no field has its default."""
    now = time.time()
    return StoredResponse(
        key=key,
        method="HEAD",
        url="http://origin.test/é?a=1",
        status=301,
        reason=b"Moved \xff",
        version=(1, 0),
        raw_headers=((b"Vary", b"Accept"), (b"X-Odd", b"\xff\n"), (b"Vary", b"Accept-Language")),
        requested_at=now - 2,
        received_at=now - 1,
        created_at=now - 3,
        fresh_until=float("-inf"),
        store_until=now + 60,
        partition="somebody",
        vary_fields=("accept", "accept-language"),
        vary_digest=b"digest",
        variants=(VariantRef(("accept",), b"other digest", "another key", '"tag"', now + 30),),
        history=("first", "second"),
        tagging=Tagging(("a", "b"), 1, "http://origin.test:80", 7),
        body=b"body",
    )


async def test_a_packed_entry_is_the_same_entry(storage: DictCache) -> None:
    entry = everything("k")
    assert not any(getattr(entry, field.name) == field.default for field in msgspec.structs.fields(entry))
    storage.put(entry)
    assert packed(storage, "k")
    found = await storage.read("k")
    assert isinstance(found, CachedResponse)
    assert found.stored == entry
    assert storage["k"].stored == entry
    assert not is_open(storage, "k")
    assert await storage.read_entry("k") == entry
    assert is_open(storage, "k")
    assert storage.peek("k") is storage.peek("k") is storage["k"].stored
    bury(storage)
    assert not is_open(storage, "k")
    assert storage.peek("k") == entry


def test_what_takes_the_place_of_an_open_entry_is_found_in_its_place(storage: DictCache) -> None:
    for body in (b"one", b"two"):
        storage.put(make_entry("k", body))
        found = storage.peek("k")
        assert found is not None
        assert found.body == body
    storage["k"] = "another key"
    assert storage.peek("k") is None


async def test_an_open_entry_that_is_deleted_is_gone(storage: DictCache) -> None:
    async def clear(_: str) -> None:
        await storage.clear()

    for delete in (storage.delete, clear):
        storage.put(make_entry("k"))
        assert storage.peek("k") is not None
        await delete("k")
        assert storage.peek("k") is None
        assert not is_open(storage, "k")


async def test_an_alias_leads_to_a_packed_entry(storage: DictCache) -> None:
    entry = make_entry("k")
    storage.put(entry)
    await storage.write("alias", "k")
    bury(storage)
    assert await storage.read_entry("alias") == entry


async def test_a_packed_entry_can_be_popped_replaced_and_deleted(storage: DictCache) -> None:
    for key in ("popped", "replaced", "deleted"):
        storage.put(make_entry(key))
    bury(storage)
    popped = await storage.pop("popped")
    assert isinstance(popped, CachedResponse)
    assert await popped.read() == b"body"
    replacement = make_entry("replaced", b"another body")
    storage.put(replacement)
    assert storage.peek("replaced") == replacement
    await storage.delete("deleted")
    assert await storage.size() == MAX_OPEN + 1
    await storage.bulk_delete(set(storage.data))
    assert storage.total_bytes == 0


async def test_a_packed_entry_expires(storage: DictCache) -> None:
    now = time.time()
    storage.put(make_entry("short", store_until=now + 10))
    storage.put(make_entry("long", store_until=now + 1000))
    bury(storage)
    assert packed(storage, "short")
    assert await storage.delete_expired(now + 11) == 1
    assert [await storage.contains(key) for key in ("short", "long")] == [False, True]


def test_packed_entries_go_when_a_bound_asks_for_it_those_that_nobody_reads_first() -> None:
    storage = DictCache(max_entries=MAX_OPEN + 2)
    for key in ("read", "forgotten"):
        storage.put(make_entry(key))
    bury(storage)
    assert storage.peek("read") is not None
    for number in range(2 * MAX_OPEN):
        storage.put(make_entry(f"more {number}"))
        assert storage.peek("read") is not None
    assert "forgotten" not in storage


def test_the_bytes_that_are_counted_are_those_that_are_there() -> None:
    storage = DictCache(max_bytes=600 * (ENTRY_OVERHEAD_BYTES + 1200))
    for number in range(3 * MAX_OPEN):
        storage.put(make_entry(f"{number}", b"x" * 1000))
        storage.peek(f"{number - number % 7}")
    weights = [
        ENTRY_OVERHEAD_BYTES + len(item.head) * (1 + is_open(storage, key)) + len(item.body)
        for key, item in storage._store.data.items()
    ]
    assert storage._store._open
    assert storage.total_bytes == sum(weights) <= 600 * (ENTRY_OVERHEAD_BYTES + 1200)


def test_a_body_is_not_copied(storage: DictCache) -> None:
    body = b"x" * 1000
    storage.put(make_entry("k", body))
    found = storage.peek("k")
    assert found is not None
    assert found.body is body


@pytest.mark.parametrize("field", [{"partition": object()}, {"partition": "\udcff"}, {"status": 1 << 70}])
def test_what_has_no_packed_form_is_kept_as_it_is(storage: DictCache, field: dict[str, Any]) -> None:
    entry = msgspec.structs.replace(make_entry("k"), **field)
    storage.put(entry)
    bury(storage)
    assert storage.peek("k") is entry


def test_an_entry_at_rest_weighs_little_beside_its_body(storage: DictCache) -> None:
    lines = tuple((b"X-Field-%d" % number, b"some value of a header field") for number in range(8))

    def fill(start: int) -> None:
        for number in range(start, start + 4000):
            entry = make_entry(f"{number:040x}", number.to_bytes(8, "big") * 250)
            storage.put(msgspec.structs.replace(entry, raw_headers=lines))

    tracemalloc.start()
    try:
        fill(0)
        gc.collect()
        before_bytes, _ = tracemalloc.get_traced_memory()
        fill(4000)
        gc.collect()
        after_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after_bytes - before_bytes) / 4000 - 2000 < 600  # 40 of them for the key, and some 90 for other strings


def with_lines(key: str, *lines: tuple[str, str]) -> StoredResponse:
    """An entry with the header *lines* as new bytes objects, as in each response."""
    own = tuple((name.encode(), value.encode()) for name, value in lines)
    return msgspec.structs.replace(make_entry(key), raw_headers=own)


def test_header_lines_that_many_responses_have_are_kept_once(storage: DictCache) -> None:
    entries = [
        with_lines(f"{number}", ("Server", "nginx"), ("ETag", f'"{number}"'), ("Vary", "Accept"), ("Vary", "Accept"))
        for number in range(2 * MAX_LINES)
    ]
    for entry in entries:
        storage.put(entry)
    found = [storage[entry.key].stored for entry in entries]
    assert found == entries
    assert {id(each.raw_headers[0]) for each in found[2:]} == {id(found[2].raw_headers[0])}
    assert b"nginx" in storage._store.data["0"].head
    assert b"nginx" not in storage._store.data["2"].head


def test_all_lines_are_what_they_were_when_there_are_more_than_are_kept_once(storage: DictCache) -> None:
    entries = [
        with_lines(f"{number}-{part}", *((f"X-{number + each}", f"{each % 5}") for each in range(40)))
        for number in range(100)
        for part in range(3)
    ]
    for entry in entries:
        storage.put(entry)
    assert [storage[entry.key].stored for entry in entries] == entries


@pytest.mark.parametrize(
    ("line", "is_kept_once"),
    [
        (("Server", "nginx"), True),
        (("Content-Security-Policy", "x" * (MAX_LINE_BYTES - 23)), True),
        (("Content-Security-Policy", "x" * (MAX_LINE_BYTES - 22)), False),
        (("DATE", "Sat, 21 Nov 2026 08:00:00 GMT"), False),
        (("expires", "0"), False),
        (("ETag", '"of one response"'), False),
    ],
)
def test_long_lines_and_those_of_one_response_or_one_time_are_not_kept_once(
    line: tuple[str, str], is_kept_once: bool
) -> None:
    lines = CommonLines()
    heads = [lines.at_rest(with_lines("k", line), "k") for _ in range(3)]
    assert all(isinstance(packed, Packed) and lines.unpacked(packed, "k").raw_headers for packed in heads)
    assert (line[1].encode() in getattr(heads[2], "head", b"")) is not is_kept_once


def test_a_line_that_becomes_common_later_is_kept_once_before_long() -> None:
    lines = CommonLines()
    for number in range(ALL_OF):
        lines.at_rest(with_lines("k", ("X-Number", f"{number}")), "k")
    heads = [lines.at_rest(with_lines("k", ("Server", "of the next release")), "k") for _ in range(2 * ONE_IN)]
    kept = [b"of the next release" in getattr(packed, "head", b"") for packed in heads]
    assert (kept[0], kept[-1]) == (True, False)


def test_what_is_known_of_lines_is_bounded() -> None:
    lines = CommonLines()
    for number in range(4 * MAX_LINES):
        entry = with_lines("k", ("X-Number", f"{number}"))
        for _ in range(ONE_IN * (1 + number % 2)):
            lines.at_rest(entry, "k")
    assert len(lines._lines) == len(lines._numbers) == MAX_LINES
    assert len(lines._seen) <= MAX_LINES


def test_a_head_of_many_lines_is_counted_with_what_its_objects_take() -> None:
    lines = tuple((b"X-%d" % number, b"") for number in range(500))
    bound = 2 * 1024 * 1024
    storage = DictCache(max_bytes=bound)
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(3 * MAX_OPEN // 10):
            own = tuple((name + b"%d" % number, value) for name, value in lines)
            storage.put(msgspec.structs.replace(make_entry(f"{number}"), raw_headers=own))
        for number in range(3 * MAX_OPEN // 10):
            entry = storage.peek(f"{number}")
            assert entry is None or len(entry.headers) == 500
            assert storage.total_bytes <= bound
        assert len(storage)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < 2 * bound
    finally:
        tracemalloc.stop()
