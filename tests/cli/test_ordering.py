"""Sorting more entries than are kept in memory."""

from __future__ import annotations

import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from aiohttp_cache_di.cli.looking import ORDERS
from aiohttp_cache_di.cli.ordering import Ordered
from aiohttp_cache_di.entries.info import EntryInfo
from aiohttp_cache_di.errors import CacheError

RUN = 200  # entries in memory
MANY = 3 * RUN + 7


def made(count: int) -> Iterator[EntryInfo]:
    """Infos in no order, some of which have all but their key in common."""
    random = Random(1)
    for number in range(count):
        page = random.randrange(count)
        yield EntryInfo(
            key=f"{number:040x}",
            method="GET",
            url=f"https://h.test/{page}/\x1b",
            status=200,
            body_bytes=page % 100,
            stored_at=float(page),
            validated_at=float(page),
            fresh_until=float("-inf") if page % 2 else float("inf"),
            tags=(f"t{page}",),
        )


async def ordered(count: int, sort: str, limit: int = 0) -> list[EntryInfo]:
    with Ordered(ORDERS[sort], limit, run=RUN) as collected:
        for info in made(count):
            await collected.add(info)
        assert collected.count == count
        return [info async for page in collected.pages() for info in page]


@pytest.mark.parametrize("sort", ORDERS)
async def test_any_number_of_entries_is_sorted(sort: str) -> None:
    assert await ordered(MANY, sort) == sorted(made(MANY), key=ORDERS[sort])


@pytest.mark.parametrize("count", [0, 1, RUN - 1, RUN, RUN + 1])
async def test_there_may_be_as_many_as_fill_a_run_or_none(count: int) -> None:
    assert await ordered(count, "url") == sorted(made(count), key=ORDERS["url"])


@pytest.mark.parametrize("limit", [1, RUN // 2, RUN // 2 + 1, MANY - 1, MANY + 1])
async def test_the_first_of_them_are_those_of_all(limit: int) -> None:
    assert await ordered(MANY, "size", limit) == sorted(made(MANY), key=ORDERS["size"])[:limit]


async def test_without_room_for_a_temporary_file_the_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    assert len(await ordered(RUN - 1, "url")) == RUN - 1
    assert len(await ordered(MANY, "url", RUN // 2)) == RUN // 2
    with pytest.raises(
        CacheError, match=f"{RUN} entries .*: No such file or directory; set TMPDIR .* --limit {RUN // 2} "
    ):
        await ordered(MANY, "url")


async def test_they_are_not_in_memory_together() -> None:
    tracemalloc.start()
    try:
        with Ordered(ORDERS["url"], run=RUN) as collected:
            for info in made(30 * RUN):
                await collected.add(info)
            async for page in collected.pages():
                assert page
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        all_of_them = sorted(made(30 * RUN), key=ORDERS["url"])
        assert all_of_them
        assert peak < tracemalloc.get_traced_memory()[1] / 2
    finally:
        tracemalloc.stop()
