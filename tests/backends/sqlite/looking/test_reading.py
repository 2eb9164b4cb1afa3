"""How the thread of the reader reads, row by row."""

from __future__ import annotations

import asyncio
import math
import sqlite3
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from aiohttp_cache_di.backends.sqlite.looking.reading import LARGE_BYTES
from aiohttp_cache_di.backends.sqlite.store import SQLiteStore
from aiohttp_cache_di.backends.store import Found, Record
from aiohttp_cache_di.entries.codec import EntryCodec, Sealed
from aiohttp_cache_di.entries.items import Unreadable
from tests.backends.sqlite.test_store_contract import make_store

KEYS = [f"{0xABC0 + number:040x}" for number in range(8)]


class FailingOnce(EntryCodec):
    """A codec that fails on the first row, as when memory runs out."""

    __slots__ = ("has_failed",)

    def __init__(self) -> None:
        super().__init__()
        self.has_failed = False

    def check(self, data: bytes | bytearray | memoryview, key: str, body: bytes | None = None) -> Sealed | Unreadable:
        if self.has_failed:
            return super().check(data, key, body)
        self.has_failed = True
        raise MemoryError


@pytest.fixture
async def writer(tmp_path: Path) -> AsyncIterator[SQLiteStore]:
    store = make_store(tmp_path / "cache")
    await store.put([Record(key, f"first {key}", math.inf) for key in KEYS])
    yield store
    await store.close()


async def test_a_reader_that_has_failed_amid_its_rows_sees_what_is_written_afterwards(
    writer: SQLiteStore, tmp_path: Path
) -> None:
    reader = make_store(tmp_path / "cache", FailingOnce())
    try:
        with pytest.raises(Exception, match="MemoryError") as failure:
            await reader.get(KEYS)
        await writer.put([Record(key, f"second {key}", math.inf) for key in KEYS])
        found = await reader.get(KEYS)
        assert failure.value  # kept, as by a log, along with its traceback
    finally:
        await reader.close()
    assert [one.item for one in found if isinstance(one, Found)] == [f"second {key}" for key in KEYS]


async def test_keys_are_found_whatever_their_columns_are_and_however_often_they_are_asked_for(
    writer: SQLiteStore,
) -> None:
    text, digest = "not forty digits", KEYS[0]
    await writer.put([Record(text, "a text", math.inf)])
    asked = [text, digest, KEYS[1].upper(), text, "missing", digest, "lone \udc80"]
    found = [one and one.item for one in await writer.get(asked)]
    assert found == ["a text", f"first {digest}", None, "a text", None, f"first {digest}", None]


async def test_reads_that_were_cancelled_while_the_thread_was_stuck_are_not_run(writer: SQLiteStore) -> None:
    await writer.get(KEYS)
    may_go_on, run = threading.Event(), list[str]()

    def look_up(keys: Sequence[str], connection: sqlite3.Connection) -> list[None]:
        run.extend(keys)
        return [None] * len(keys)

    reading: Any = writer.database.reading
    reading.look_up = look_up
    stuck = asyncio.ensure_future(writer._query(lambda _: may_go_on.wait(20)))
    for key in KEYS[1:]:
        read = asyncio.ensure_future(writer.get((key,)))
        await asyncio.sleep(0)
        read.cancel()
        with pytest.raises(asyncio.CancelledError):
            await read
    may_go_on.set()
    await writer.get(KEYS[:1])
    assert await stuck
    assert run == KEYS[:1]


async def test_what_takes_long_to_decode_is_decoded_in_the_thread_of_the_reader(writer: SQLiteStore) -> None:
    large = "x" * LARGE_BYTES
    await writer.put([Record(KEYS[1], large, math.inf)])
    seen = await writer._query(lambda connection: writer.database.reading.look_up(KEYS[:2], connection))
    assert [type(one.item) for one in seen] == [Sealed, str]
    assert [one.found().item for one in seen] == [f"first {KEYS[0]}", large]
