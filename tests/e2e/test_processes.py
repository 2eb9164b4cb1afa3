"""Real services in processes of their own, with a real origin and real stores."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.e2e.processes import READY_WITHIN_S, Answer, Client, Ended, Origin, Service, running_origin
from tests.stores import SHARED, new_store

pytestmark = pytest.mark.processes

Start: TypeAlias = Callable[[Service], Service]
AT_ONCE = 40


@pytest.fixture
async def origin() -> AsyncGenerator[Origin]:
    async with running_origin() as server:
        yield server


@pytest.fixture
async def client() -> AsyncGenerator[Client]:
    async with Client() as opened:
        yield opened


@pytest.fixture
async def track() -> AsyncGenerator[Start]:
    """Make sure that a service is ended, also when the test fails."""
    services: list[Service] = []

    def remember(service: Service) -> Service:
        services.append(service)
        return service

    yield remember
    for service in services:
        await service.kill()


@pytest.fixture(params=SHARED)
def variables(request: pytest.FixtureRequest, origin: Origin, tmp_path: Path) -> Mapping[str, str]:
    """The whole configuration of a service: two upstreams, two caches."""
    found = {"WEATHER_URL": origin.url, "RATES_URL": origin.url}
    for prefix in ("AIOHTTP_CACHE_", "RATES_CACHE_"):
        if request.param in SHARED:
            found |= new_store(request.param, request, tmp_path).variables(prefix)
        else:  # several servers, with one address of their own kind
            found |= {f"{prefix}BACKEND": "redis", f"{prefix}CACHE_NAME": uuid.uuid4().hex}
            found[f"{prefix}REDIS__URL"] = request.getfixturevalue(request.param).url
        # Long enough for a busy machine: these tests are not about slow stores.
        found |= {f"{prefix}STORAGE_DEADLINE": "10s", f"{prefix}COALESCE_TIMEOUT": "20s", f"{prefix}LEASE": "20s"}
    return found


def fastapi(variables: Mapping[str, str], folder: Path) -> Service:
    return Service.fastapi(variables, folder, workers=2)


async def ask_until(client: Client, url: str, condition: Callable[[list[Answer]], bool]) -> list[Answer]:
    """Repeat the request until the answers fulfil *condition*: the kernel picks the worker, and one may still start."""
    answers: list[Answer] = []
    async with asyncio.timeout(READY_WITHIN_S):
        while not condition(answers):
            answers.append(await client.get(url))
    return answers


def two_workers(answers: list[Answer]) -> bool:
    return len({answer.worker for answer in answers}) == 2


def assert_ended_in_order(ended: Ended, status: int) -> None:
    assert ended.orphans == []
    assert ended.trouble == [], ended.output
    assert ended.status == status, ended.output


@pytest.mark.parametrize("variables", [*SHARED, "cluster", "sentinels"], indirect=True)
async def test_two_fastapi_workers_share_one_cache_and_end_in_order(
    variables: Mapping[str, str], origin: Origin, client: Client, track: Start, tmp_path: Path
) -> None:
    service = track(fastapi(variables, tmp_path))
    await service.start()

    at_once = await asyncio.gather(*(client.get(f"{service.url}/weather/paris") for _ in range(AT_ONCE)))
    assert {answer.data for answer in at_once} == {"/weather/paris"}
    assert origin.hits == {"/weather/paris": 1}

    later = await ask_until(client, f"{service.url}/weather/paris", two_workers)
    # The other worker may ask while the first is still writing, and wait for that.
    assert all(answer.is_hit or "collapsed" in answer.cache for answer in later)
    assert (await client.get(f"{service.url}/weather/paris")).is_hit
    assert origin.hits == {"/weather/paris": 1}

    rates = await ask_until(client, f"{service.url}/rates/EUR", two_workers)
    rates.append(await client.get(f"{service.url}/rates/EUR"))
    assert "fwd=uri-miss" in rates[0].cache
    # As above, but the other worker can only validate the response once it is written.
    assert "fwd-status=304" in rates[-1].cache
    assert origin.hits["/rates/EUR"] == len(rates)

    assert_ended_in_order(await service.stop(), status=0)


async def test_an_aiohttp_service_caches_and_ends_in_order(
    variables: Mapping[str, str], origin: Origin, client: Client, track: Start, tmp_path: Path
) -> None:
    service = track(Service.web(variables, tmp_path))
    await service.start()

    await asyncio.gather(*(client.get(f"{service.url}/weather/paris") for _ in range(AT_ONCE)))
    assert (await client.get(f"{service.url}/weather/paris")).is_hit
    assert origin.hits == {"/weather/paris": 1}

    assert "fwd=uri-miss" in (await client.get(f"{service.url}/rates/EUR")).cache
    assert "fwd-status=304" in (await client.get(f"{service.url}/rates/EUR")).cache

    assert_ended_in_order(await service.stop(), status=0)


@pytest.mark.parametrize("make", [fastapi, Service.web])
async def test_the_cache_survives_a_restart(
    make: Callable[[Mapping[str, str], Path], Service],
    variables: Mapping[str, str],
    origin: Origin,
    client: Client,
    track: Start,
    tmp_path: Path,
) -> None:
    for expected_hit in (False, True):
        service = track(make(variables, tmp_path))
        await service.start()
        assert (await client.get(f"{service.url}/weather/paris")).is_hit is expected_hit
        assert_ended_in_order(await service.stop(), status=0)
    assert origin.hits == {"/weather/paris": 1}


@pytest.mark.parametrize("make", [fastapi, Service.web])
async def test_a_request_under_way_at_sigterm_is_answered_and_stored(
    make: Callable[[Mapping[str, str], Path], Service],
    variables: Mapping[str, str],
    origin: Origin,
    client: Client,
    track: Start,
    tmp_path: Path,
) -> None:
    service = track(make(variables, tmp_path))
    await service.start()
    origin.may_answer.clear()
    under_way = asyncio.ensure_future(client.get(f"{service.url}/weather/paris"))
    asked = asyncio.ensure_future(origin.asked.wait())
    await asyncio.wait([under_way, asked], return_when=asyncio.FIRST_COMPLETED)
    assert asked.done(), under_way.exception()
    service.terminate()
    origin.may_answer.set()
    assert (await under_way).data == "/weather/paris"
    assert_ended_in_order(await service.ended(), status=0)

    again = track(make(variables, tmp_path))
    await again.start()
    assert (await client.get(f"{again.url}/weather/paris")).is_hit
    assert_ended_in_order(await again.stop(), status=0)
    assert origin.hits == {"/weather/paris": 1}
