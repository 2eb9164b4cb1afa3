"""How to test an app that uses the cache: no variable is read, nothing is written, no network is needed.

The package provides the fixtures (``docs/testing.md``); no ``conftest.py`` is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer
from fastapi.testclient import TestClient as FastAPIClient

from aiohttp_cache_di.testing import CacheClock, FakeUpstream, recorded
from examples import fastapi_app, web_app

PARIS = f"{web_app.WEATHER_URL}/weather/paris"
MINUTE = {"Cache-Control": "max-age=60"}


@pytest.mark.asyncio
@pytest.mark.usefixtures("cache_in_memory")
async def test_the_upstream_is_asked_once_a_minute(fake_upstream: FakeUpstream, cache_clock: CacheClock) -> None:
    """With an aiohttp.web app, a fake upstream, and a clock that is moved forward."""
    paris = fake_upstream.get(PARIS, json={"city": "paris"}, headers=MINUTE)
    async with TestClient(TestServer(web_app.make_app())) as client:
        for _ in range(3):
            async with client.get("/weather/paris") as response:
                assert (await response.json())["data"] == {"city": "paris"}
        assert paris.count == 1
        cache_clock.advance("61s")
        async with client.get("/weather/paris") as response:
            assert response.ok
    assert paris.count == 2


@pytest.mark.usefixtures("cache_in_memory")
def test_what_is_known_is_told_while_the_upstream_is_down(
    fake_upstream: FakeUpstream, cache_seed: Callable[..., None], assert_cached: Callable[..., object]
) -> None:
    """With a FastAPI app: a response is put into the cache beforehand."""
    fake_upstream.get("/weather/*", fails="disconnects")
    cache_seed(PARIS, json={"city": "paris"})
    with FastAPIClient(fastapi_app.make_app()) as client:
        assert client.get("/weather/paris").json()["data"] == {"city": "paris"}
        assert_cached(PARIS)
        assert fake_upstream.calls == []


@pytest.mark.usefixtures("cache_in_memory")
def test_the_weather_as_it_was_once(tmp_path: Path, fake_upstream: FakeUpstream) -> None:
    """Recorded, then answered from the file; the mark ``@pytest.mark.recorded`` does the same."""
    fake_upstream.get(PARIS, json={"city": "paris"}, headers=MINUTE).then(fails="disconnects")
    answers: list[object] = []
    for mode in ("once", "none"):
        with recorded(tmp_path / "paris.yaml", mode), FastAPIClient(fastapi_app.make_app()) as client:
            answers.append(client.get("/weather/paris").json()["data"])
    assert answers == [{"city": "paris"}] * 2
