from __future__ import annotations

import asyncio
import gc
import logging
import math
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from aiohttp_cache_di.backends.wrap.guarding.circuit import FIRST_BACKOFF_S, MAX_BACKOFF_S, THRESHOLD, Circuit
from aiohttp_cache_di.backends.wrap.guarding.deadline import MAX_EXTENSIONS
from aiohttp_cache_di.backends.wrap.guarding.guard import StoreGuard
from aiohttp_cache_di.errors import ConfigurationError, StorageError, StorageTimeoutError, UnreadableEntryError
from aiohttp_cache_di.telemetry import CacheStats
from tests.times import shortest

DEADLINE_S = 0.02
LONG_S = 30.0


class FakeClock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class FakeStore:
    """A store that fails or hangs as a test says, and counts calls."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.hangs = False
        self.calls = 0
        self.cancelled = 0
        self.release = asyncio.Event()

    async def get(self) -> str:
        self.calls += 1
        if self.hangs:
            try:
                await self.release.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        else:
            await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return "value"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def guard(clock: FakeClock) -> StoreGuard:
    return StoreGuard(deadline_s=DEADLINE_S, clock=clock)


@pytest.fixture
async def store() -> FakeStore:
    return FakeStore()


async def opened(guard: StoreGuard, store: FakeStore, operation: str = "read") -> None:
    store.error = OSError("gone")
    for _ in range(THRESHOLD):
        await guard.run(operation, store.get, "")
    assert guard.stats.circuits[operation] == "open"
    store.calls = 0


async def test_the_result_of_a_storage_is_handed_on(guard: StoreGuard, store: FakeStore) -> None:
    assert await guard.run("read", store.get, None) == "value"
    assert guard.stats.store_errors == {}


async def test_an_error_becomes_the_default_and_is_counted_by_its_cause(guard: StoreGuard, store: FakeStore) -> None:
    wrapped = StorageError("the store failed")
    wrapped.__cause__ = ConnectionResetError("peer")
    for error in (OSError("x"), wrapped, StorageError("own"), TimeoutError(), StorageTimeoutError("late")):
        guard = StoreGuard(guard.stats, deadline_s=DEADLINE_S)
        store.error = error
        assert await guard.run("read", store.get, "default") == "default"
    assert guard.stats.store_errors == {"OSError": 1, "ConnectionResetError": 1, "StorageError": 1, "timeout": 2}


async def test_an_error_before_the_first_await_is_an_error_as_any_other(guard: StoreGuard) -> None:
    def refuse() -> Awaitable[str]:
        raise ConnectionError("refused")

    assert await guard.run("read", refuse, "default") == "default"
    assert guard.stats.store_errors == {"ConnectionError": 1}


async def test_an_operation_that_hangs_ends_at_the_deadline(guard: StoreGuard, store: FakeStore) -> None:
    store.hangs = True

    async def took() -> float:
        before = time.perf_counter()
        assert await guard.run("read", store.get, "default") == "default"
        took_s = time.perf_counter() - before
        assert took_s > DEADLINE_S * 0.9
        return took_s

    assert await shortest(DEADLINE_S + 0.2, took) < DEADLINE_S + 0.2
    assert store.cancelled == store.calls > 0
    assert guard.stats.store_errors == {"timeout": store.calls}
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_each_of_many_operations_has_its_own_deadline(store: FakeStore) -> None:
    guard = StoreGuard(deadline_s=0.1)
    store.hangs = True
    loop = asyncio.get_running_loop()

    async def one() -> float:
        begun = loop.time()
        assert await guard.run("read", store.get, "default") == "default"
        return loop.time() - begun

    async def longest() -> float:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one())]
            for _ in range(5):
                await asyncio.sleep(0.01)
                tasks.append(group.create_task(one()))
        assert all(task.result() > 0.09 for task in tasks)
        return max(task.result() for task in tasks)

    assert await shortest(0.4, longest) < 0.4


async def test_a_deadline_that_is_met_cancels_nothing_later(guard: StoreGuard, store: FakeStore) -> None:
    assert await guard.run("read", store.get, "") == "value"
    await asyncio.sleep(DEADLINE_S * 2)
    assert await guard.run("read", store.get, "") == "value"
    assert guard.stats.store_errors == {}


@pytest.mark.parametrize("deadlines", [1.1, 3, 8])
async def test_a_busy_loop_is_not_blamed_on_the_storage(deadlines: float) -> None:
    guard = StoreGuard(deadline_s=0.1)  # long enough that a busy machine does not add to it

    async def answered_meanwhile() -> str:
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(guard.deadline_s / 2, future.set_result, "value")
        await asyncio.sleep(0)
        return str(await future)

    task = asyncio.ensure_future(guard.run("read", answered_meanwhile, "default"))
    await asyncio.sleep(0)
    time.sleep(guard.deadline_s * deadlines)  # noqa: ASYNC251  # The test is about a handler that blocks.
    assert await task == "value"
    assert guard.stats.store_errors == {}


async def test_a_storage_has_its_time_though_the_loop_takes_most_of_it() -> None:
    """As at the start of a flood: the first request calls the storage, and runs again only after all have begun."""
    guard = StoreGuard(deadline_s=0.5)

    async def answered_later() -> str:
        await asyncio.sleep(0)
        time.sleep(0.51)  # noqa: ASYNC251  # as above
        await asyncio.sleep(0.2)
        return "value"

    assert await guard.run("read", answered_later, "default") == "value"
    assert guard.stats.store_errors == {}


async def test_a_loop_that_is_always_busy_gives_no_storage_time_for_ever(store: FakeStore) -> None:
    guard = StoreGuard(deadline_s=0.05)
    store.hangs = True
    task = asyncio.ensure_future(guard.run("read", store.get, "default"))
    turns = 0
    while not task.done():
        turns += 1
        await asyncio.sleep(0)
        time.sleep(0.04)  # noqa: ASYNC251  # as above
    assert await task == "default"
    assert turns <= 2 * (MAX_EXTENSIONS + 2), "each check is late by a turn, and comes in every second one"


async def test_an_operation_that_swallows_its_cancellation_has_its_result_taken(guard: StoreGuard) -> None:
    async def stubborn() -> str:
        try:
            await asyncio.sleep(LONG_S)
        except asyncio.CancelledError:
            return "saved"
        return "never"

    assert await guard.run("read", stubborn, "default") == "saved"
    await asyncio.sleep(0)


async def test_an_operation_that_makes_an_error_of_its_deadline_has_timed_out(guard: StoreGuard) -> None:
    async def converting() -> str:
        try:
            await asyncio.sleep(LONG_S)
        except asyncio.CancelledError as exc:
            raise StorageError("interrupted") from exc
        return "never"

    assert await guard.run("read", converting, "default") == "default"
    assert guard.stats.store_errors == {"timeout": 1}
    await asyncio.sleep(0)


async def test_cancellation_of_the_caller_passes_through_at_once(store: FakeStore) -> None:
    guard = StoreGuard(deadline_s=LONG_S)
    store.hangs = True
    task = asyncio.ensure_future(guard.run("read", store.get, ""))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert store.cancelled == 1
    assert guard.stats.store_errors == {}
    assert guard.stats.circuits == {}


async def test_the_callers_own_timeout_stays_the_callers(store: FakeStore) -> None:
    guard = StoreGuard(deadline_s=LONG_S)
    store.hangs = True
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await guard.run("read", store.get, "")


async def test_cancellation_that_a_storage_makes_an_error_of_is_still_the_callers(guard: StoreGuard) -> None:
    async def converting() -> str:
        try:
            await asyncio.sleep(LONG_S)
        except asyncio.CancelledError as exc:
            raise StorageError("interrupted") from exc
        return "never"

    task = asyncio.ensure_future(guard.run("read", converting, ""))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancellation_requested_before_the_operation_began_is_not_swallowed(
    guard: StoreGuard, store: FakeStore
) -> None:
    async def caller() -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return await guard.run("read", store.get, "")

    with pytest.raises(asyncio.CancelledError):
        await asyncio.ensure_future(caller())


async def test_cancellation_at_the_moment_of_the_deadline_reaches_the_caller(store: FakeStore) -> None:
    guard = StoreGuard(deadline_s=0.01)
    store.hangs = True

    async def cancelled_twice() -> str:
        try:
            return await store.get()
        except asyncio.CancelledError:
            task.cancel()
            raise

    task = asyncio.ensure_future(guard.run("read", cancelled_twice, ""))
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancellation_swallowed_along_with_the_deadline_still_reaches_the_caller(guard: StoreGuard) -> None:
    async def stubborn() -> str:
        try:
            await asyncio.sleep(LONG_S)
        except asyncio.CancelledError:
            task.cancel()
        try:
            await asyncio.sleep(LONG_S)
        except asyncio.CancelledError:
            return "saved"
        return "never"

    task = asyncio.ensure_future(guard.run("read", stubborn, ""))
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancellation_that_a_storage_ignores_reaches_the_caller() -> None:
    async def stubborn() -> str:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(LONG_S)
        return "saved"

    task = asyncio.ensure_future(StoreGuard(deadline_s=LONG_S).run("read", stubborn, ""))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_future_that_the_storage_itself_cancels_is_a_failure_of_the_storage(guard: StoreGuard) -> None:
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.cancel)

    async def wait() -> str:
        return await future

    assert await guard.run("read", wait, "default") == "default"
    assert guard.stats.store_errors == {"cancelled": 1}


async def test_a_shielded_future_outlives_the_deadline_of_one_of_its_waiters(guard: StoreGuard) -> None:
    batch: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    other = asyncio.ensure_future(asyncio.shield(batch))

    async def wait() -> str:
        return await asyncio.shield(batch)

    assert await guard.run("read", wait, "default") == "default"
    batch.set_result("value")
    assert await other == "value"


async def test_an_abandoned_operation_leaves_no_noise(store: FakeStore) -> None:
    noise: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: noise.append(context))
    guard = StoreGuard(deadline_s=0.01)

    async def failing_late() -> str:
        try:
            await asyncio.sleep(LONG_S)
        finally:
            raise OSError("late")

    assert await guard.run("read", failing_late, "default") == "default"
    gc.collect()
    await asyncio.sleep(0)
    assert noise == []


async def test_errors_in_a_row_open_the_circuit_and_the_store_is_left_alone(
    guard: StoreGuard, store: FakeStore
) -> None:
    await opened(guard, store)
    store.error = None
    before = time.process_time()
    for _ in range(1_000):
        assert await guard.run("read", store.get, "default") == "default"
    assert (time.process_time() - before) / 1_000 < 0.001
    assert store.calls == 0
    assert guard.is_open
    assert guard.stats.skipped == 1_000
    assert guard.stats.health().status == "degraded"


async def test_health_is_well_at_the_first_success_after_a_failure(guard: StoreGuard, store: FakeStore) -> None:
    store.error = OSError("down")
    await guard.run("read", store.get, "default")
    assert guard.stats.health().status == "degraded"
    store.error = None
    await guard.run("read", store.get, "default")
    assert guard.stats.health().is_ok


async def test_timeouts_open_the_circuit_too(guard: StoreGuard, store: FakeStore) -> None:
    store.hangs = True
    await asyncio.gather(*(guard.run("read", store.get, "") for _ in range(THRESHOLD)))
    assert guard.is_open


async def test_a_success_between_errors_keeps_the_circuit_closed(guard: StoreGuard, store: FakeStore) -> None:
    for _ in range(5):
        store.error = OSError()
        for _ in range(THRESHOLD - 1):
            await guard.run("read", store.get, "")
        store.error = None
        assert await guard.run("read", store.get, "") == "value"
    assert guard.stats.circuits == {}


async def test_one_probe_after_the_backoff_closes_the_circuit(
    guard: StoreGuard, store: FakeStore, clock: FakeClock
) -> None:
    await opened(guard, store)
    store.error = None
    clock.now += FIRST_BACKOFF_S - 0.01
    assert await guard.run("read", store.get, "") == ""
    clock.now += 0.01
    assert await guard.run("read", store.get, "") == "value"
    assert guard.stats.circuits == {}
    assert not guard.is_open


async def test_only_one_probe_is_under_way_at_a_time(guard: StoreGuard, store: FakeStore, clock: FakeClock) -> None:
    await opened(guard, store)
    store.error, store.hangs = None, True
    clock.now += FIRST_BACKOFF_S
    probe = asyncio.ensure_future(guard.run("read", store.get, ""))
    await asyncio.sleep(0)
    assert guard.stats.circuit == "half-open"
    assert await guard.run("read", store.get, "default") == "default"
    assert store.calls == 1
    store.release.set()
    assert await probe == "value"
    assert guard.stats.circuits == {}


async def test_a_cancelled_probe_lets_the_next_caller_try(
    guard: StoreGuard, store: FakeStore, clock: FakeClock
) -> None:
    await opened(guard, store)
    store.error, store.hangs = None, True
    clock.now += FIRST_BACKOFF_S
    probe = asyncio.ensure_future(guard.run("read", store.get, ""))
    await asyncio.sleep(0)
    probe.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probe
    assert guard.stats.circuit == "open"
    store.hangs = False
    assert await guard.run("read", store.get, "") == "value"
    assert guard.stats.circuits == {}


async def test_the_backoff_doubles_to_its_limit_so_that_hits_resume_in_seconds(
    guard: StoreGuard, store: FakeStore, clock: FakeClock
) -> None:
    await opened(guard, store)
    waits = [FIRST_BACKOFF_S, 1.0, MAX_BACKOFF_S, MAX_BACKOFF_S, MAX_BACKOFF_S]
    for wait in waits:
        store.calls = 0
        clock.now += wait - 0.01
        await guard.run("read", store.get, "")
        assert store.calls == 0
        clock.now += 0.01
        await guard.run("read", store.get, "")
        assert store.calls == 1
    store.error = None
    clock.now += MAX_BACKOFF_S
    assert await guard.run("read", store.get, "") == "value"
    await opened(guard, store)
    store.error = None
    clock.now += FIRST_BACKOFF_S
    assert await guard.run("read", store.get, "") == "value"


async def test_late_failures_of_operations_begun_before_do_not_prolong_an_open_circuit(
    guard: StoreGuard, store: FakeStore, clock: FakeClock
) -> None:
    store.hangs = True
    await asyncio.gather(*(guard.run("read", store.get, "") for _ in range(64)))
    assert guard.is_open
    assert guard.stats.store_errors == {"timeout": 64}
    store.hangs = False
    clock.now += FIRST_BACKOFF_S
    assert await guard.run("read", store.get, "") == "value"


async def test_a_late_success_of_an_operation_begun_before_does_not_close_an_open_circuit(
    clock: FakeClock, store: FakeStore
) -> None:
    guard = StoreGuard(deadline_s=LONG_S, clock=clock)
    store.hangs = True
    late = asyncio.ensure_future(guard.run("read", store.get, ""))
    await asyncio.sleep(0)
    other = FakeStore()
    await opened(guard, other)
    store.release.set()
    assert await late == "value"
    assert guard.is_open


async def test_a_storage_that_refuses_writes_is_still_read(guard: StoreGuard, store: FakeStore) -> None:
    await opened(guard, store, "write")
    store.error = None
    assert await guard.run("read", store.get, "") == "value"
    assert await guard.run("write", store.get, "default") == "default"
    assert not guard.is_open
    assert guard.stats.circuit == "open"


async def test_when_one_operation_recovers_the_others_are_tried_at_once(
    guard: StoreGuard, store: FakeStore, clock: FakeClock
) -> None:
    await opened(guard, store, "read")
    clock.now += FIRST_BACKOFF_S
    await guard.run("read", store.get, "")  # a probe that fails
    for _ in range(THRESHOLD):
        await guard.run("write", store.get, "", patient=True)
    clock.now += FIRST_BACKOFF_S  # of the write; the read has to wait for twice as long
    store.error = None
    assert await guard.run("read", store.get, "") == ""
    assert await guard.run("write", store.get, "", patient=True) == "value"
    assert await guard.run("read", store.get, "") == "value"
    assert not guard.is_open


async def test_while_an_operation_fails_alone_the_success_of_others_does_not_hurry_it(
    guard: StoreGuard, store: FakeStore
) -> None:
    await opened(guard, store, "write")
    store.error = None
    assert await guard.run("read", store.get, "") == "value"
    assert await guard.run("write", store.get, "") == ""


async def test_while_reads_fail_nothing_else_is_tried(guard: StoreGuard, store: FakeStore, clock: FakeClock) -> None:
    await opened(guard, store)
    store.error = None
    clock.now += FIRST_BACKOFF_S
    assert await guard.run("write", store.get, "default") == "default"
    assert store.calls == 0
    assert await guard.run("read", store.get, "") == "value"
    assert await guard.run("write", store.get, "") == "value"


async def test_a_read_that_timed_out_spares_its_request_a_second_wait(
    guard: StoreGuard, store: FakeStore, clock: FakeClock
) -> None:
    store.hangs = True
    await guard.run("read", store.get, "")
    assert await guard.run("lease", store.get, "default") == "default"
    assert store.calls == 1
    store.hangs = False
    assert await guard.run("read", store.get, "") == "value"
    assert await guard.run("lease", store.get, "") == "value"
    store.hangs = True
    await guard.run("read", store.get, "")
    store.hangs = False
    clock.now += MAX_BACKOFF_S
    assert await guard.run("write", store.get, "") == "value"


async def test_one_bad_entry_does_not_open_the_circuit(guard: StoreGuard, store: FakeStore) -> None:
    store.error = UnreadableEntryError("damaged")
    for _ in range(THRESHOLD * 2):
        await guard.run("read", store.get, "")
    assert guard.stats.circuits == {}
    assert guard.stats.store_errors == {"UnreadableEntryError": THRESHOLD * 2}


async def test_callers_who_give_up_on_a_slow_storage_open_the_circuit(store: FakeStore) -> None:
    guard = StoreGuard(deadline_s=0.1)
    store.hangs = True
    for _ in range(1 + THRESHOLD):  # the first is no evidence yet
        assert not guard.is_open
        await give_up(guard, store)
    assert guard.is_open
    assert guard.stats.store_errors == {"abandoned": THRESHOLD}


async def test_callers_who_give_up_at_once_are_no_failure_of_the_storage(
    store: FakeStore, caplog: pytest.LogCaptureFixture
) -> None:
    guard = StoreGuard(deadline_s=0.1)
    store.hangs = True
    await asyncio.gather(*(give_up(guard, store) for _ in range(4 * THRESHOLD)))
    assert guard.stats.store_errors == {}
    assert guard.stats.circuits == {}
    assert not guard.is_failing("read")
    assert caplog.messages == []


async def test_callers_who_give_up_now_and_then_are_no_failure_of_a_storage_that_answers_others(
    store: FakeStore,
) -> None:
    guard = StoreGuard(deadline_s=0.1)
    for _ in range(1 + THRESHOLD):
        store.hangs = True
        await give_up(guard, store)
        store.hangs = False
        assert await guard.run("read", store.get, "") == "value"
    assert guard.stats.store_errors == {}
    assert guard.stats.circuits == {}


async def give_up(guard: StoreGuard, store: FakeStore) -> None:
    """Call a storage that hangs, with a timeout shorter than the deadline."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.04):
            await guard.run("read", store.get, "")


async def test_one_line_a_minute_is_logged_per_kind_and_without_secrets(
    guard: StoreGuard, store: FakeStore, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for _ in range(20):
        store.error = OSError("redis://user:secret@host")
        await guard.run("write", store.get, "")
        clock.now += MAX_BACKOFF_S
    assert len(caplog.records) == 1
    store.error = StorageError("another kind")
    await guard.run("write", store.get, "")
    assert len(caplog.records) == 2
    clock.now += 60
    store.error = OSError("redis://user:secret@host")
    await guard.run("write", store.get, "")
    assert len(caplog.records) == 3
    assert "19 more" in caplog.messages[-1]
    assert "secret" not in caplog.text
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


async def test_a_recovery_is_logged_once_and_only_where_the_failure_was(
    guard: StoreGuard, store: FakeStore, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(2):
        store.error = OSError("gone")
        for _ in range(2):
            await guard.run("read", store.get, "")
        clock.now += 5
        store.error = None
        for _ in range(3):
            await guard.run("read", store.get, "")

    told = [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]
    assert told == ["The store works again (read), after 2 failures in 5.0 s"]

    caplog.clear()
    clock.now += 3600
    store.error = OSError("gone")
    await guard.run("read", store.get, "")
    clock.now += 5
    store.error = None
    await guard.run("read", store.get, "")
    assert caplog.messages[-1] == "The store works again (read), after 1 failure in 5.0 s"
    assert guard.outages.causes == {}


@pytest.mark.parametrize("deadline_s", [0, -1, math.nan])
def test_a_deadline_that_is_none_is_refused(deadline_s: float) -> None:
    with pytest.raises(ConfigurationError, match="storage_deadline"):
        StoreGuard(deadline_s=deadline_s)


async def test_an_infinite_deadline_never_ends_an_operation(store: FakeStore) -> None:
    assert await StoreGuard(deadline_s=math.inf).run("read", store.get, "") == "value"


def test_one_guard_serves_several_loops_one_after_the_other() -> None:
    stats = CacheStats()
    guard = StoreGuard(stats, deadline_s=DEADLINE_S)

    async def hang() -> str:
        await asyncio.sleep(LONG_S)
        return "never"

    async def answer() -> str:
        return "value"

    for _ in range(2):
        assert asyncio.run(guard.run("read", hang, "default")) == "default"
        assert asyncio.run(guard.run("read", answer, "")) == "value"
    assert stats.store_errors == {"timeout": 2}


async def test_a_thousand_concurrent_operations_all_end(guard: StoreGuard) -> None:
    def operation(number: int) -> Callable[[], Awaitable[int]]:
        async def call() -> int:
            await asyncio.sleep(0 if number % 2 else LONG_S)
            return number

        return call

    results = await asyncio.gather(*(guard.run("read", operation(number), -1) for number in range(1_000)))
    assert results == [number if number % 2 else -1 for number in range(1_000)]


async def test_another_thread_may_use_a_new_kind_of_operation_while_others_are_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fail() -> int:
        raise OSError

    async def answer() -> int:
        return 1

    now = 0.0
    guard = StoreGuard(clock=lambda: now)
    for _ in range(THRESHOLD):
        await guard.run("read", fail, None)
    await guard.run("write", answer, None, patient=True)
    retry_now = Circuit.retry_now

    def meanwhile(circuit: Circuit) -> None:
        retry_now(circuit)
        guard._circuit(f"of another thread, {len(guard._circuits)}")

    monkeypatch.setattr(Circuit, "retry_now", meanwhile)
    now = MAX_BACKOFF_S
    assert await guard.run("read", answer, None) == 1
