"""The pages about the cost of the cache show the figures that were measured."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import redis

from aiohttp_cache_di import CacheBackend, CachedSession
from benchmarks.aims import AIMS, added_us, round_trips
from benchmarks.distance import DELAY_S
from benchmarks.origin import Origin
from benchmarks.readme import MADE, NOT_MEASURED, PAGE, RESULTS, STORES_PAGE, filled, filled_stores
from benchmarks.report import judged_again
from benchmarks.rounds import Measured, Subject
from benchmarks.services import Services

Fill: TypeAlias = Callable[[str, dict[str, Any]], str]


@pytest.mark.parametrize(("page", "fill"), [(PAGE, filled), (STORES_PAGE, filled_stores)], ids=["costs", "stores"])
def test_the_figures_of_a_page_are_those_of_the_runs_that_were_written_down(page: Path, fill: Fill) -> None:
    text, data = page.read_text(), json.loads(RESULTS.read_text())
    assert fill(text, judged_again(data)) == text
    assert not data["quick"]


def test_a_run_that_is_older_than_a_scenario_is_shown_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    text, data = PAGE.read_text(), json.loads(RESULTS.read_text())
    older = {**data, "scenarios": {name: each for name, each in data["scenarios"].items() if name != "body"}}
    page = filled(text, judged_again(older))
    assert f"<!-- bodies -->\n{NOT_MEASURED}\n<!-- end -->" in page
    monkeypatch.setitem(MADE, "bodies", lambda found: str(found["bodie"]))
    with pytest.raises(KeyError, match="bodie"):
        filled(text, judged_again(older))


def test_a_miss_one_at_a_time_is_measured_by_the_clock() -> None:
    bare = Measured.of([{"us": 152.0, "cpu_us": 100.0}])
    found = {"miss-1": {"aiohttp": bare, "aiohttp-cache-di redis": Measured.of([{"us": 352.0, "cpu_us": 120.0}])}}
    added, share = (aim for aim in AIMS if aim.text.startswith(("miss, one", "…")) and aim.bound in (200, 200 / 152))
    assert (added.value(found), share.value(found)) == (200.0, 200 / 152)


def test_a_round_trip_is_what_the_floor_waits_for_beyond_aiohttp_alone() -> None:
    waits_us = {"aiohttp": 150.0, "floor": 2350.0, "aiohttp-cache-di": 2550.0, "aiohttp-client-cache": 4550.0}
    found = {"asked": {name: Measured.of([{"us": value}]) for name, value in waits_us.items()}}
    assert round_trips(found, "aiohttp-client-cache") == 2.0
    assert round_trips(found, "aiohttp-cache-di") == pytest.approx(12 / 11)


def test_the_origin_tells_when_it_was_asked() -> None:
    with Services() as services:
        place = services.place(Subject("", "aiohttp"))
        before = time.perf_counter()
        with urllib.request.urlopen(f"{place['origin']}asked/1") as answer:
            assert before < float(answer.read()) < time.perf_counter()


def test_a_server_at_a_distance_is_a_delay_away_in_each_direction() -> None:
    with Services() as services:
        place = services.place(Subject("", "aiohttp"))
        assert place["distant_redis"] != place["redis"]
        client: Any = redis.Redis
        with client.from_url(place["redis"]) as near, client.from_url(place["distant_redis"]) as distant:
            near.set("key", b"x" * 1_000_000)
            distant.ping()
            for _ in range(3):
                started = time.perf_counter()
                assert distant.get("key") == b"x" * 1_000_000
                assert time.perf_counter() - started > 2 * DELAY_S


async def test_what_the_benchmarks_origin_sends_is_fresh_by_the_standard() -> None:
    server = await asyncio.get_running_loop().create_server(Origin, "127.0.0.1", 0)
    async with server, CachedSession(cache=CacheBackend(cache_control=True)) as session:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hit"
        for is_hit in (False, True):
            async with session.get(url) as response:
                assert len(await response.read()) == 10_000
            assert response.from_cache is is_hit


def test_a_client_that_waits_for_its_origin_does_not_make_misses_look_cheap() -> None:
    bare = Measured.of([{"us": 110.0, "cpu_us": 76.0}])
    found = {"miss": {"aiohttp": bare, "ours memory": Measured.of([{"us": 190.0, "cpu_us": 180.0}])}}
    assert added_us(found, "ours memory") == 104.0


def test_one_round_with_errors_is_one_too_many() -> None:
    rounds = [{"us": 30.0, "errors": 0.0}, {"us": 30.0, "errors": 3.0}, {"us": 30.0, "errors": 0.0}]
    aim = next(aim for aim in AIMS if aim.text == "Redis, errors of 10,000 tasks")
    assert not aim.is_reached(aim.value({"flood-10000": {"aiohttp-cache-di": Measured.of(rounds)}}))
