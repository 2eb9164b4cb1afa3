"""The clock of the cache: entries grow old without waiting, and nothing else does."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from aiohttp_cache_di import CacheBackend, CachedSession, SQLiteBackend
from aiohttp_cache_di.testing import CacheClock, FakeUpstream, reply

URL = "https://api.example.com/a"


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream() as made:
        yield made


@pytest.fixture
def clock() -> Iterator[CacheClock]:
    with CacheClock() as made:
        yield made


BACKENDS: dict[str, Callable[[Path], CacheBackend]] = {
    "memory": lambda _: CacheBackend(cache_control=True),
    "sqlite": lambda path: SQLiteBackend(str(path / "cache.db"), cache_control=True),
}


@pytest.fixture(params=BACKENDS)
async def session(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[CachedSession]:
    backend = BACKENDS[request.param](tmp_path)
    async with CachedSession(cache=backend) as made:
        yield made
    await backend.close()


async def ask(session: CachedSession) -> tuple[str, bool]:
    async with session.get(URL) as response:
        return await response.text(), response.from_cache


async def test_a_response_is_fresh_until_its_lifetime_is_over(
    session: CachedSession, upstream: FakeUpstream, clock: CacheClock
) -> None:
    upstream.get(URL, text="1", headers={"Cache-Control": "max-age=60"}).then(
        text="2", headers={"Cache-Control": "max-age=60"}
    )

    assert await ask(session) == ("1", False)
    clock.advance(55)
    assert await ask(session) == ("1", True)
    clock.advance(timedelta(seconds=10))
    assert await ask(session) == ("2", False)
    clock.advance("55s")
    assert await ask(session) == ("2", True)  # what came later is fresh by the clock that has moved


async def test_age_is_by_the_clock(session: CachedSession, upstream: FakeUpstream, clock: CacheClock) -> None:
    upstream.get(URL, text="1", headers={"Cache-Control": "max-age=60"})
    await ask(session)

    clock.advance(30)

    async with session.get(URL) as response:
        assert 30 <= int(response.headers["Age"]) <= 32
        assert not response.is_expired
        clock.advance(60)
        assert response.is_expired


async def test_a_stale_window_opens_and_closes(
    session: CachedSession, upstream: FakeUpstream, clock: CacheClock
) -> None:
    upstream.get(URL, text="1", headers={"Cache-Control": "max-age=60, stale-if-error=60"}).then(
        status=500, text="failed"
    )
    await ask(session)

    clock.advance(90)
    assert await ask(session) == ("1", True)
    clock.advance(60)
    assert await ask(session) == ("failed", False)


async def test_an_error_that_is_remembered_is_forgotten_in_time(upstream: FakeUpstream, clock: CacheClock) -> None:
    upstream.get(URL, status=404, text="no").then(text="yes")
    async with CachedSession(expire_after="1h", allowed_codes=(200, 404)) as session:
        assert await ask(session) == ("no", False)
        assert await ask(session) == ("no", True)
        clock.advance("61m")
        assert await ask(session) == ("yes", False)


async def test_what_may_not_be_shared_is_asked_for_one_by_one_for_a_while_only(
    upstream: FakeUpstream, clock: CacheClock
) -> None:
    upstream.get(URL, lambda _: reply(text="private", headers={"Cache-Control": "no-store"}, delay_s=0.02))
    async with CachedSession(cache_control=True) as session:
        flights = session.cache.stats
        await ask(session)
        await asyncio.gather(ask(session), ask(session))
        together = flights.coalesced
        clock.advance("1d")
        await asyncio.gather(ask(session), ask(session))

    assert together == 0
    assert upstream.count() == 5


async def test_timers_and_the_clocks_of_others_stay_as_they_are(clock: CacheClock) -> None:
    loop = asyncio.get_running_loop()
    before_s, loop_before_s = time.time(), loop.time()

    clock.advance("30d")

    assert time.time() - before_s < 60
    assert loop.time() - loop_before_s < 60
    assert clock.now() - datetime.now(UTC) > timedelta(days=29)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await asyncio.Event().wait()


async def test_after_it_the_cache_goes_by_the_real_time(session: CachedSession, upstream: FakeUpstream) -> None:
    upstream.get(URL, text="1", headers={"Cache-Control": "max-age=60"})
    await ask(session)
    with CacheClock() as clock:
        clock.advance("1h")
        async with session.get(URL, only_if_cached=True) as response:
            assert response.status == 504

    assert await ask(session) == ("1", True)


def test_a_clock_that_is_entered_again_advances_as_far_as_before() -> None:
    with CacheClock() as clock:
        clock.advance(100)
        with clock:
            assert clock.now() - datetime.now(UTC) < timedelta(seconds=110)


async def test_clocks_that_overlap_advance_the_same_clock(upstream: FakeUpstream) -> None:
    upstream.get(URL, text="1", headers={"Cache-Control": "max-age=60"})
    one, other = CacheClock(), CacheClock()
    async with CachedSession(cache_control=True) as session:
        await ask(session)
        with one, other:  # nested, as in a test with the fixture and a clock of its own
            other.advance("61s")
            assert await ask(session) == ("1", False)
            assert one.now() - datetime.now(UTC) > timedelta(seconds=60)
        assert time is sys.modules["aiohttp_cache_di.engine.hits_for_miss"].time

        one.__enter__()  # and as of tests that run concurrently
        other.__enter__()
        one.__exit__()
        other.advance("1h")
        assert await ask(session) == ("1", False)
        other.__exit__()
        assert time is sys.modules["aiohttp_cache_di.engine.hits_for_miss"].time


def test_a_module_that_is_imported_later_goes_by_it_as_well() -> None:
    code = """
import sys, time
from aiohttp_cache_di.testing import CacheClock
with CacheClock() as clock:
    assert "aiohttp_cache_di.backends.sqlite.store" not in sys.modules
    from aiohttp_cache_di.backends.sqlite import store
    clock.advance(1000)
    assert store.time.time() > time.time() + 900
    assert store.time.monotonic() < time.monotonic() + 900
    assert store.__spec__.loader.get_source(store.__name__)
assert store.time is time
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_clock_does_not_go_back(clock: CacheClock) -> None:
    with pytest.raises(ValueError, match="cannot go back"):
        clock.advance(-1)


@pytest.mark.parametrize("by", ["soon", None, float("nan"), float("inf")])
def test_a_duration_that_is_none_is_refused(clock: CacheClock, by: Any) -> None:
    with pytest.raises(ValueError, match=rf"advance\({by!r}\): use seconds, a text such as '1h30m', or a timedelta"):
        clock.advance(by)
