"""Which store the containers of an app under test open, and what is left of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from aiohttp_cache_di import CacheContainer, CachedSession, CacheSettings, open_container
from aiohttp_cache_di.testing import FakeUpstream, in_memory, store_per_worker
from aiohttp_cache_di.testing.stores import StoreOfWorker
from tests.valkey import ValkeyServer

URL = "https://api.example.com/rates"
MINUTE = {"Cache-Control": "max-age=60"}


async def ask(session: CachedSession) -> tuple[str, bool]:
    async with session.get(URL) as response:
        return await response.text(), response.from_cache


async def opened() -> tuple[str, bool]:
    async with open_container(CacheContainer()) as session:
        return await ask(session)


def test_stores_that_overlap_do_not_end_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_CACHE_NAME", "real")
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND", "memory")
    with in_memory():
        with in_memory() as inner:
            assert CacheSettings.load() is inner
        assert CacheSettings.load().cache_name == "testing"
    one, other = in_memory(), store_per_worker("w1")
    one.__enter__()
    other.__enter__()
    assert CacheSettings.load().cache_name == "testing-w1"
    one.__exit__(None, None, None)
    assert CacheSettings.load().cache_name == "real-w1"
    other.__exit__(None, None, None)
    assert CacheSettings.load().cache_name == "real"


WHERE: list[tuple[str, dict[str, str]]] = [
    ("sqlite", {}),
    ("sqlite", {"AIOHTTP_CACHE_SQLITE__PATH": "rates.db"}),
    ("filesystem", {}),
    ("filesystem", {"AIOHTTP_CACHE_FILESYSTEM__PATH": "rates"}),
]


@pytest.mark.parametrize(("kind", "variables"), WHERE)
def test_each_worker_has_a_store_of_its_own_until_the_end(
    kind: str, variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND", kind)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw7")
    for name, value in variables.items():
        monkeypatch.setenv(name, str(tmp_path / value))

    with FakeUpstream() as upstream, store_per_worker() as worker:
        upstream.get(URL, text="once", headers=MINUTE)
        settings = CacheSettings.load()
        assert settings.name == "aiohttp-cache-gw7"
        assert settings.place is not None
        place = settings.place.path
        assert [asyncio.run(opened()) for _ in range(2)] == [("once", False), ("once", True)]
        assert place.exists()
    assert worker == "gw7"
    assert "gw7" in place.name
    assert not place.parent.exists()
    assert list(tmp_path.iterdir()) == []


def test_what_a_worker_has_on_a_server_is_gone_in_the_end(
    valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND", "redis")
    monkeypatch.setenv("AIOHTTP_CACHE_REDIS__URL", valkey.url)

    with FakeUpstream() as upstream:
        upstream.get(URL, text="once", headers=MINUTE)
        for _ in range(2):
            with store_per_worker("gw8"):
                assert [asyncio.run(opened()) for _ in range(2)] == [("once", False), ("once", True)]


def test_two_files_of_one_name_are_apart() -> None:
    with StoreOfWorker("gw1") as store:
        one, other = (store._own(CacheSettings(sqlite={"path": Path(name)})) for name in ("a/x.db", "b/x.db"))
        assert one.sqlite.path != other.sqlite.path
        in_memory = store._own(CacheSettings(sqlite={"path": Path(":memory:")}))
        assert str(in_memory.sqlite.path) == ":memory:"
