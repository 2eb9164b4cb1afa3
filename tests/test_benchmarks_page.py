"""The pages about the cost of the cache show the figures that were measured."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from aiohttp_cache_di import CacheBackend, CachedSession
from benchmarks.aims import AIMS, added_us
from benchmarks.origin import Origin
from benchmarks.readme import MADE, NOT_MEASURED, PAGE, RESULTS, STORES_PAGE, filled, filled_stores
from benchmarks.report import judged_again
from benchmarks.rounds import Measured

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
