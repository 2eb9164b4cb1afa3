"""What the benchmarks of processes that share a file measure is what their pages say."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.clients import CLIENTS, Place, make_backend
from benchmarks.plan import SCENARIOS, alone
from benchmarks.rounds import Subject
from benchmarks.services import Services
from benchmarks.sharing import commits, committed_at, contention, following, not_stored

SUBJECT = Subject("", "ours", {"store": "sqlite"})


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    with Services() as running:
        yield running


@pytest.fixture
def place(services: Services) -> Place:
    return Place(**services.place(SUBJECT))


async def test_what_is_not_in_the_file_counts_as_lost(place: Place) -> None:
    options = dict(SUBJECT.options)
    urls = [f"{place.origin}{number}" for number in range(5)]
    async with CLIENTS["ours"](place, options) as client:
        await client.fetch(urls[:3])
        await client.drain()
        assert await not_stored("ours", place, options, urls) == 2


async def test_processes_that_share_a_file_are_counted_together(place: Place) -> None:
    parameters = {"processes": 2, "tasks": 2, "seconds": 0.5}
    async with contention("ours", place, dict(SUBJECT.options), parameters) as run_round:
        found = await run_round()
    assert (found["errors"], found["lost"]) == (0, 0)
    assert 0 < found["median_ms"] <= found["p99_ms"]
    backend = make_backend("sqlite", place, {})
    rows = await backend.responses.size()
    await backend.close()
    assert 200 < rows < 200 + found["requests"], "all old URLs, and the new ones of both processes"


async def test_another_process_follows_and_answers_after_the_commit(place: Place) -> None:
    async with following("ours", place, dict(SUBJECT.options), {"requests": 2}) as run_round:
        found = await run_round()
    assert found["asked"] == 0
    assert 0 < found["median_ms"] <= found["worst_ms"]


async def test_the_time_of_a_commit_is_one_before_it(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "file")) as writer:
        writer.execute("CREATE TABLE t (n)")
        with closing(sqlite3.connect(tmp_path / "file", check_same_thread=False)) as connection:
            began_at = time.perf_counter()
            seen = asyncio.create_task(asyncio.to_thread(committed_at, connection, commits(connection), began_at))
            await asyncio.sleep(0.05)
            assert not seen.done()
            writer.execute("INSERT INTO t VALUES (1)")
            writer.commit()
            ended_at = time.perf_counter()
            assert began_at + 0.04 < await seen < ended_at


def test_contention_lasts_longer_in_a_run_of_its_own() -> None:
    scenario = next(scenario for scenario in SCENARIOS if scenario.name == "contention")
    assert (scenario.parameters["seconds"], alone(scenario).parameters["seconds"]) == (2, 15)
