"""Floods of equal requests: one goes to the origin, and none waits for a leader whose response cannot be shared."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from aiohttp import ClientError, ClientTimeout, TCPConnector, web

from aiohttp_cache_di import CachedSession
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.backends.wrap.stack import SECRET_KEY
from tests.faults.conftest import Note
from tests.faults.origin import Answer, Origin
from tests.faults.processes import Workers
from tests.stores import QUICK, SHARED, Store

FLOOD = 500
LEASE_S = 1.0
TURNS = 10  # iterations of the loop in which a cancelled task ends
SLACK_S = 3.0  # for a busy machine; a failure would take several times as long


def open_session(backend: CacheBackend, **options: Any) -> CachedSession:
    return CachedSession(cache=backend, connector=TCPConnector(limit=0), **options)


async def body(session: CachedSession, url: str, **options: Any) -> bytes:
    async with session.get(url, **options) as response:
        return await response.read()


async def test_500_equal_cold_requests_are_one_to_the_origin(
    backend: CacheBackend, store: Store, origin: Origin, note: Note
) -> None:
    async with open_session(backend) as session:
        begun = time.perf_counter()
        bodies = await asyncio.gather(*(body(session, f"{origin.url}/one") for _ in range(FLOOD)))
        took_s = time.perf_counter() - begun
    note(origin_hits=origin.total, took_s=took_s, coalesced=backend.stats.coalesced, errors=backend.stats.store_errors)
    assert set(bodies) == {origin.body_of("/one")}
    assert origin.total == 1
    assert backend.stats.coalesced + backend.stats.hits == FLOOD - 1, "the last may ask when it is stored already"


@pytest.mark.parametrize("store", SHARED, indirect=True)
@pytest.mark.parametrize("who", ["the same process", "another process"])
async def test_what_was_stored_since_a_request_has_looked_is_not_fetched_again(
    store: Store, origin: Origin, who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if who == "the same process" and store.kind == "sqlite":
        pytest.skip("a file is read one batch at a time: a look that dawdles holds up the next")
    late, other = store.backend(), store.backend()
    quick = late if who == "the same process" else other
    has_looked, may_go_on = asyncio.Event(), asyncio.Event()
    store_of_late: Any = late.stack.store
    get = store_of_late.get

    async def get_and_dawdle(keys: Any) -> Any:
        found = await get(keys)
        if SECRET_KEY not in keys and not has_looked.is_set():
            has_looked.set()
            await may_go_on.wait()
        return found

    late.guard.deadline_s = 30.0
    late.stack.here().first_looks = None  # they would lease a missing key
    monkeypatch.setattr(store_of_late, "get", get_and_dawdle)
    async with open_session(late) as session, open_session(quick) as another:
        first = asyncio.create_task(body(session, f"{origin.url}/one"))
        async with asyncio.timeout(10):
            await has_looked.wait()
        assert await body(another, f"{origin.url}/one") == origin.body_of("/one")
        await quick.settle()
        may_go_on.set()
        assert await first == origin.body_of("/one")
    assert origin.total == 1
    assert late.stats.coalesced == 1
    await late.close()
    await other.close()


@pytest.mark.parametrize("store", SHARED, indirect=True)
async def test_floods_in_four_processes_are_one_to_the_origin(store: Store, note: Note) -> None:
    async with Origin(delay_s=0.2) as origin:
        job = {"kind": store.kind, "options": store.options, "task": "fetch", "size": origin.size}
        job |= {"urls": [f"{origin.url}/one"], "tasks": 125}
        async with Workers(*[job] * 4) as workers:
            workers.go()
            reports = await workers.reports(within_s=40)
    errors = [report["stats"]["store_errors"] for report in reports]
    note(origin_hits=origin.total, slowest_s=max(report["took_s"] for report in reports), errors=errors)
    assert [report["outcomes"] for report in reports] == [{"ok": 125}] * 4
    # A process that gets no CPU time may find the store too slow, and send its own request.
    assert origin.total <= 1 + sum(map(bool, errors))


@pytest.mark.parametrize("store", SHARED, indirect=True)
async def test_a_killed_holder_of_a_lease_frees_other_processes_within_its_time(store: Store, note: Note) -> None:
    async with Origin() as origin:
        origin.gate = asyncio.Event()
        options = {"lease": LEASE_S, "coalesce_timeout": 10.0}
        job = {"kind": store.kind, "options": store.options, "task": "fetch", "size": origin.size}
        job |= {"urls": [f"{origin.url}/one"], "tasks": 1, "backend": options}
        async with Workers(job) as holder, Workers(job, job) as others:
            holder.go()
            async with asyncio.timeout(10):
                await origin.arrived.wait()
            holder.processes[0].kill()
            begun = time.perf_counter()
            origin.gate.set()
            others.go()
            reports = await others.reports(within_s=40)
        took_s = time.perf_counter() - begun
    errors = [report["stats"]["store_errors"] for report in reports]
    freed_after_s = max(report["took_s"] for report in reports)
    note(origin_hits=origin.total, freed_after_s=freed_after_s, all_s=took_s, errors=errors)
    assert [report["outcomes"] for report in reports] == [{"ok": 1}] * 2
    assert freed_after_s < LEASE_S + SLACK_S
    assert 2 <= origin.total <= 2 + sum(map(bool, errors))


@pytest.mark.parametrize("store", SHARED, indirect=True)
async def test_a_slow_origin_is_asked_once_by_all_processes_together(store: Store, note: Note) -> None:
    # The origin takes longer than the lease lasts without renewal, and than others wait for a body.
    options = {"lease": LEASE_S, "coalesce_timeout": 0.2}
    async with Origin(delay_s=3 * LEASE_S) as origin:
        job = {"kind": store.kind, "options": store.options, "task": "fetch", "size": origin.size}
        job |= {"urls": [f"{origin.url}/one"], "tasks": 6, "backend": options}
        async with Workers(*[job] * 2) as workers:
            workers.go()
            reports = await workers.reports(within_s=40)
    slowest_s, errors = max(report["took_s"] for report in reports), [r["stats"]["store_errors"] for r in reports]
    note(origin_hits=origin.total, slowest_s=slowest_s, errors=errors)
    assert [report["outcomes"] for report in reports] == [{"ok": 6}] * 2
    assert origin.total <= 1 + sum(map(bool, errors))
    assert slowest_s < 3 * LEASE_S + SLACK_S


@pytest.mark.parametrize("store", SHARED, indirect=True)
@pytest.mark.parametrize("how", ["cancelled", "failed"])
async def test_a_leader_that_ends_without_a_response_frees_other_processes_at_once(
    store: Store, origin: Origin, note: Note, how: str
) -> None:
    backend, other = store.backend(lease=60.0), store.backend(lease=60.0)
    origin.gate = asyncio.Event()
    if how == "failed":
        origin.answer = failing_behind(origin.gate)
    async with open_session(backend) as session, open_session(other) as another:
        leader = asyncio.create_task(body(session, f"{origin.url}/one"))
        async with asyncio.timeout(20):
            await origin.arrived.wait()
        follower = asyncio.create_task(body(another, f"{origin.url}/one"))
        await asyncio.sleep(0.1)  # until it waits for the lease; there is no event for it
        assert origin.total == 1
        begun = time.perf_counter()
        if how == "cancelled":
            leader.cancel()
        origin.gate.set()
        await asyncio.gather(follower, leader, return_exceptions=True)
        took_s = time.perf_counter() - begun
    await backend.close()
    await other.close()
    note(took_s=took_s)
    assert origin.total == (2 if how == "cancelled" else 4)  # aiohttp asks twice where it is cut off
    assert took_s < SLACK_S


@pytest.mark.parametrize("store", SHARED, indirect=True)
@pytest.mark.parametrize("kind", ["uncacheable", "failing", "streaming"])
async def test_processes_do_not_wait_for_each_other_in_vain_one_after_the_other(
    store: Store, origin: Origin, note: Note, kind: str
) -> None:
    delay_s, count = 0.6, 5
    held = served = 0
    all_ask = asyncio.Event()

    def look() -> None:
        if held + served == count:
            all_ask.set()

    async def ready() -> None:
        """Delay the first request, and the others until all are here or served: never, if one waits for another."""
        nonlocal held
        held += 1
        look()
        await (asyncio.sleep(delay_s) if origin.total == 1 else all_ask.wait())
        held -= 1

    async def ask(session: CachedSession) -> bytes:
        nonlocal served
        found = await body(session, f"{origin.url}/one")
        served += 1
        look()
        return found

    async def answer(request: web.Request) -> web.StreamResponse:
        if kind == "streaming":
            response = web.StreamResponse()
            await response.prepare(request)
            await ready()
            await response.write(b"mine")
            return response
        await ready()
        status = 500 if kind == "failing" else 200
        return web.Response(status=status, body=b"mine", headers={"Cache-Control": "no-store"})

    origin.answer = answer
    backends = [store.backend(coalesce_timeout=0.3, lease=60.0) for _ in range(count)]
    sessions = [open_session(backend) for backend in backends]
    begun = time.perf_counter()
    async with asyncio.timeout(30):
        bodies = await asyncio.gather(*map(ask, sessions))
    took_s = time.perf_counter() - begun
    for session, backend in zip(sessions, backends, strict=True):
        await session.close()
        await backend.close()
    note(took_s=took_s)
    assert bodies == [b"mine"] * count


@pytest.mark.parametrize("store", ["sqlite", "redis"], indirect=True)  # a kernel lock lasts as long as its process
async def test_a_lease_that_is_not_renewed_ends_and_those_who_waited_are_one_to_the_origin(
    store: Store, note: Note
) -> None:
    backend, other = store.backend(coalesce_timeout=0.1), store.backend()
    async with Origin(delay_s=0.4) as origin, open_session(backend) as session:
        key = backend.create_key("GET", f"{origin.url}/one")
        assert await other.responses.acquire_lease(key, LEASE_S)
        begun = time.perf_counter()
        bodies = await asyncio.gather(*(body(session, f"{origin.url}/one") for _ in range(50)))
        took_s = time.perf_counter() - begun
    note(origin_hits=origin.total, took_s=took_s)
    await backend.close()
    await other.close()
    assert set(bodies) == {origin.body_of("/one")}
    assert origin.total == 1
    assert LEASE_S / 2 < took_s < LEASE_S + 0.4 + SLACK_S


@pytest.mark.parametrize("store", SHARED, indirect=True)
async def test_who_waits_for_another_process_keeps_its_own_time(store: Store, origin: Origin, note: Note) -> None:
    backend, other = store.backend(), store.backend()
    async with open_session(backend) as session:
        assert await other.responses.acquire_lease(backend.create_key("GET", f"{origin.url}/one"), 60.0)
        begun = time.perf_counter()
        with pytest.raises(TimeoutError):
            await body(session, f"{origin.url}/one", timeout=ClientTimeout(total=0.2))
        took_s = time.perf_counter() - begun
        # It waits no longer than it would for the origin.
        assert await body(session, f"{origin.url}/one", timeout=ClientTimeout(sock_read=0.5)) == origin.body_of("/one")
    await backend.close()
    await other.close()
    note(took_s=took_s)
    assert took_s < 0.2 + SLACK_S


@pytest.mark.parametrize("store", QUICK, indirect=True)
async def test_a_leader_cancelled_at_any_step_leaves_its_followers_served(
    store: Store, origin: Origin, note: Note
) -> None:
    backend = store.backend()
    steps = 60
    cancelled = 0
    slowest_s = 0.0
    async with open_session(backend) as session:
        for step in range(steps):
            url = f"{origin.url}/{step}"
            begun = time.perf_counter()
            leader = asyncio.create_task(body(session, url))
            followers = [asyncio.create_task(body(session, url)) for _ in range(4)]
            for _ in range(step):
                await asyncio.sleep(0)
            leader.cancel()
            async with asyncio.timeout(20):
                bodies = await asyncio.gather(*followers)
                outcome = (await asyncio.gather(leader, return_exceptions=True))[0]
            cancelled += isinstance(outcome, asyncio.CancelledError)
            assert set(bodies) == {origin.body_of(f"/{step}")}
            assert origin.hits[f"/{step}"] <= 2, f"step {step}"
            assert await body(session, url) == origin.body_of(f"/{step}")
            slowest_s = max(slowest_s, time.perf_counter() - begun)
    await backend.close()
    note(steps=steps, leaders_cancelled=cancelled, origin_hits=origin.total, slowest_s=slowest_s)
    assert slowest_s < backend.coalesce_timeout_s * 0.8, "no one waits for a lease that its holder gave up"
    assert cancelled > 5


@pytest.mark.parametrize("store", QUICK, indirect=True)
async def test_a_followers_own_timeout_and_cancellation_act_at_once(
    backend: CacheBackend, origin: Origin, note: Note
) -> None:
    origin.gate = asyncio.Event()
    backend.coalesce_timeout_s = 60.0
    async with open_session(backend) as session:
        leader = asyncio.create_task(body(session, f"{origin.url}/one"))
        async with asyncio.timeout(20):
            await origin.arrived.wait()
        begun = time.perf_counter()
        with pytest.raises(TimeoutError):
            await body(session, f"{origin.url}/one", timeout=ClientTimeout(total=0.1))
        timeout_s = time.perf_counter() - begun
        follower = asyncio.create_task(body(session, f"{origin.url}/one"))
        await asyncio.sleep(0.02)  # until it waits for the leader; there is no event for it
        begun = time.perf_counter()
        follower.cancel()
        for _ in range(TURNS):
            await asyncio.sleep(0)
        assert follower.cancelled()
        cancel_s = time.perf_counter() - begun
        assert not leader.done()
        origin.gate.set()
        assert await leader == origin.body_of("/one")
    note(timeout_of_100_ms_took_s=timeout_s, cancel_s=cancel_s)
    assert timeout_s < 0.1 + SLACK_S
    assert origin.total == 1


def failing_behind(gate: asyncio.Event) -> Answer:
    """An answer that breaks the connection once *gate* is set."""

    async def answer(request: web.Request) -> web.StreamResponse:
        await gate.wait()
        return await resetting(request)

    return answer


async def uncacheable(request: web.Request) -> web.Response:
    await asyncio.sleep(0.1)
    return web.Response(body=b"mine", headers={"Cache-Control": "no-store"})


async def failing(request: web.Request) -> web.Response:
    await asyncio.sleep(0.1)
    return web.Response(status=500, body=b"mine")


async def resetting(request: web.Request) -> web.Response:
    await asyncio.sleep(0.1)
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def hanging(request: web.Request) -> web.Response:
    await asyncio.sleep(60)
    return web.Response()


@pytest.mark.parametrize("store", QUICK, indirect=True)
@pytest.mark.parametrize("kind", ["uncacheable", "failing", "resetting", "hanging"])
async def test_a_leader_that_helps_nobody_holds_nobody_up(
    backend: CacheBackend, origin: Origin, note: Note, kind: str
) -> None:
    origin.answer = {"uncacheable": uncacheable, "failing": failing, "resetting": resetting, "hanging": hanging}[kind]
    timeout = ClientTimeout(total=0.1 if kind == "hanging" else 30)
    count = FLOOD if kind in ("uncacheable", "failing") else FLOOD // 4  # aiohttp asks twice where it is cut off

    async def flood(url: str) -> tuple[float, list[str]]:
        async def one() -> str:
            try:
                async with session.get(url, timeout=timeout) as response:
                    await response.read()
                    return str(response.status)
            except (ClientError, TimeoutError) as error:
                return type(error).__name__

        begun = time.perf_counter()
        outcomes = await asyncio.gather(*(one() for _ in range(count)))
        return time.perf_counter() - begun, outcomes

    async with open_session(backend) as session:
        with session.disabled():
            plain_s, plain = await flood(f"{origin.url}/plain")
        took_s, outcomes = await flood(f"{origin.url}/cached")
    note(took_s=took_s, plain_aiohttp_s=plain_s, outcome=outcomes[0])
    assert set(outcomes) == set(plain)
    assert took_s < max(1.0, 3 * plain_s + 0.2), "a busy machine is slow without a cache too"


@pytest.mark.parametrize("store", QUICK, indirect=True)
async def test_a_body_of_unknown_length_holds_others_up_for_the_coalescing_timeout_at_most(
    backend: CacheBackend, origin: Origin, note: Note
) -> None:
    backend.coalesce_timeout_s = 0.2
    held = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        if origin.total == 1:
            await held.wait()
        await response.write(origin.body_of("/one"))
        return response

    origin.answer = answer
    async with open_session(backend) as session:
        leader = asyncio.create_task(body(session, f"{origin.url}/one"))
        async with asyncio.timeout(20):
            await origin.arrived.wait()
        begun = time.perf_counter()
        bodies = await asyncio.gather(*(body(session, f"{origin.url}/one") for _ in range(50)))
        took_s = time.perf_counter() - begun
        assert not leader.done()
        held.set()
        await leader
    note(took_s=took_s)
    assert set(bodies) == {origin.body_of("/one")}
    assert took_s < 0.2 + SLACK_S


@pytest.mark.parametrize("store", QUICK, indirect=True)
async def test_coalescing_is_off_by_one_setting(store: Store, origin: Origin) -> None:
    backend = store.backend(coalesce=False)
    origin.gate = asyncio.Event()
    async with open_session(backend) as session:
        tasks = [asyncio.create_task(body(session, f"{origin.url}/one")) for _ in range(50)]
        async with asyncio.timeout(20):
            while origin.total < 50:
                origin.arrived.clear()
                await origin.arrived.wait()
        origin.gate.set()
        assert set(await asyncio.gather(*tasks)) == {origin.body_of("/one")}
    await backend.close()
