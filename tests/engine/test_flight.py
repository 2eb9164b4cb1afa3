"""One request to the origin, and the callers that wait for its outcome."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from aiohttp_cache_di.engine.flights import Flights, Outcome, unless_ended
from tests.test_response import entry


async def test_an_outcome_reaches_all_who_wait() -> None:
    flight, outcome = Flights().start("key"), entry()
    waiting = [asyncio.create_task(flight.join(1)) for _ in range(3)]
    await asyncio.sleep(0)
    flight.end(outcome)
    flight.end(Outcome.UNSHARED)
    assert [await task for task in waiting] == [outcome] * 3
    assert await flight.join(0) is outcome


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, Outcome.UNSHARED),
        (ValueError(), Outcome.UNSHARED),
        (TimeoutError(), Outcome.ABANDONED),
        (asyncio.CancelledError(), Outcome.ABANDONED),
    ],
    ids=repr,
)
async def test_it_ends_with_its_owner(error: BaseException | None, expected: Outcome) -> None:
    flight = Flights().lead("key")
    with suppress(ValueError, TimeoutError, asyncio.CancelledError), flight:
        if error is not None:
            raise error
    assert await flight.join(0) is expected


async def test_it_goes_on_when_its_owner_hands_it_over() -> None:
    with Flights().lead("key") as flight:
        flight.is_handed_over = True
    assert flight.outcome is None


async def test_an_error_after_that_ends_it_all_the_same() -> None:
    flight = Flights().lead("key")
    with suppress(TimeoutError), flight:
        flight.is_handed_over = True
        raise TimeoutError
    assert await flight.join(0) is Outcome.ABANDONED


def test_what_waits_for_its_end_is_called_once() -> None:
    flight, calls = Flights().start("key"), list[str]()
    flight.when_free(lambda: calls.append("before"))
    flight.end(Outcome.UNSHARED)
    flight.end(Outcome.ABANDONED)
    flight.when_free(lambda: calls.append("after"))
    assert calls == ["before", "after"]


async def test_patience_ends() -> None:
    assert await Flights().start("key").join(0.001) == Outcome.LATE


async def test_one_that_is_late_frees_those_who_wait_and_may_still_bring_an_entry() -> None:
    flight, outcome, calls = Flights().start("key"), entry(), list[str]()
    flight.when_free(lambda: calls.append("free"))
    waiting = asyncio.create_task(flight.join())
    racing = asyncio.create_task(unless_ended(flight, lambda entry: entry, asyncio.Event().wait()))
    await asyncio.sleep(0)
    flight.mark_late()
    assert await waiting is Outcome.LATE
    assert await flight.join() is Outcome.LATE
    flight.when_free(lambda: calls.append("at once"))
    flight.end(outcome)
    assert await racing is outcome
    assert await flight.join() is outcome
    assert calls == ["free", "at once"]


async def test_a_follower_that_is_cancelled_leaves_the_others() -> None:
    flight = Flights().start("key")
    one, other = (asyncio.create_task(flight.join(1)) for _ in range(2))
    await asyncio.sleep(0)
    one.cancel()
    await asyncio.gather(one, return_exceptions=True)
    flight.end(Outcome.UNSHARED)
    assert await other == Outcome.UNSHARED


async def test_work_goes_on_until_the_flight_brings_something_of_use() -> None:
    flight, ended = Flights().start("key"), asyncio.Event()

    async def work() -> str:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return "work"

    task = asyncio.create_task(unless_ended(flight, lambda entry: entry.status, work()))
    await asyncio.sleep(0)
    flight.end(entry())
    assert await task == 200
    assert ended.is_set()
    assert task.cancelling() == 0


@pytest.mark.parametrize("outcome", [entry(), Outcome.UNSHARED, Outcome.ABANDONED])
async def test_work_comes_to_its_end_when_the_flight_brings_nothing_of_use(outcome: Outcome) -> None:
    flight, done = Flights().start("key"), asyncio.Event()
    task = asyncio.create_task(unless_ended(flight, lambda _: None, done.wait()))
    await asyncio.sleep(0)
    flight.end(outcome)
    await asyncio.sleep(0)
    done.set()
    assert await task is True


async def test_who_is_cancelled_while_the_flight_lands_is_cancelled() -> None:
    flight = Flights().start("key")
    task = asyncio.create_task(unless_ended(flight, lambda entry: entry, asyncio.Event().wait()))
    await asyncio.sleep(0)
    flight.end(entry())
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
