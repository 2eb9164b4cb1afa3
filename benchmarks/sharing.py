"""Workloads of several processes that share a SQLite file: contention, and following a request of another process.

Their processes are workers (`benchmarks.worker`) with the workloads `traffic` and `fetching`. The process of the
implementation starts them, lets them run their rounds at the same time, and combines their figures.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import random
import sqlite3
import statistics
import time
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager, closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.clients import CLIENTS, Place, SessionClient
from benchmarks.rounds import Round, Subject, Worker

__all__ = ["commits", "committed_at", "contention", "fetching", "following", "not_stored", "traffic"]

OLD_URLS = 200
BODY_BYTES = 2000
PAUSE_S = 0.02  # the longest between two requests of a task
TURN_S = 0.005
MILLI = 1000

SLOW_MS = 60  # of the origin, while the other process begins to wait
HEAD_START_S = 0.03
LOOKS_EVERY_S = 0.0002
COMMITS_WITHIN_S = 30.0


# ---- contention


@asynccontextmanager
async def contention(
    name: str, place: Place, options: dict[str, Any], parameters: dict[str, Any]
) -> AsyncGenerator[Round]:
    """`traffic` in ``processes`` processes: the times of the slowest process, and what is counted in all together."""
    with ExitStack() as stack:
        workers = [
            stack.enter_context(
                Worker(
                    Subject(f"{name} {number}", name, options), "traffic", asdict(place), {**parameters, "of": number}
                )
            )
            for number in range(parameters["processes"])
        ]
        for worker in workers:
            worker.wait_until_ready()

        async def run_round() -> dict[str, float]:
            found = await asyncio.gather(*(asyncio.to_thread(worker.run_round) for worker in workers))
            return {name: (max if name.endswith("_ms") else sum)(one[name] for one in found) for name in found[0]}

        yield run_round


@asynccontextmanager
async def traffic(
    name: str, place: Place, options: dict[str, Any], parameters: dict[str, Any]
) -> AsyncGenerator[Round]:
    """Requests by ``tasks`` tasks for ``seconds`` seconds, by turns for stored URLs and for new ones.

    The figures are the times of requests for stored URLs (until they fail, if they do), the lateness of the event loop,
    and how many of the new responses are not in the file afterwards (*lost*), as a client finds that has nothing in
    memory.
    """
    chance = random.Random(parameters["of"])
    numbers = itertools.count()
    turns = itertools.cycle((False, True))
    old = [f"{place.origin}b/{BODY_BYTES}/old/{number}" for number in range(OLD_URLS)]
    async with CLIENTS[name](place, options) as client:
        await client.fetch(old)
        await client.drain()

        async def run_round() -> dict[str, float]:
            until = time.perf_counter() + parameters["seconds"]
            hits_s: list[float] = []
            turns_s: list[float] = []
            handed_out: list[str] = []
            errors = 0

            async def request() -> None:
                nonlocal errors
                while time.perf_counter() < until:
                    is_new = next(turns)
                    url = (
                        f"{place.origin}b/{BODY_BYTES}/new/{parameters['of']}/{next(numbers)}"
                        if is_new
                        else chance.choice(old)
                    )
                    started = time.perf_counter()
                    try:
                        await client.fetch((url,))
                    except Exception:
                        errors += 1
                    else:
                        if is_new:
                            handed_out.append(url)
                    if not is_new:
                        hits_s.append(time.perf_counter() - started)
                    await asyncio.sleep(chance.random() * PAUSE_S)

            async def watch() -> None:
                while (started := time.perf_counter()) < until:
                    await asyncio.sleep(TURN_S)
                    turns_s.append(time.perf_counter() - started - TURN_S)

            await asyncio.gather(watch(), *(request() for _ in range(parameters["tasks"])))
            await client.drain()
            return {
                "p99_ms": _p99(hits_s) * MILLI,
                "median_ms": statistics.median(hits_s) * MILLI,
                "turn_p99_ms": _p99(turns_s) * MILLI,
                "requests": len(hits_s) + len(handed_out),
                "errors": errors,
                "lost": await not_stored(name, place, options, handed_out),
            }

        yield run_round


def _p99(times_s: list[float]) -> float:
    return sorted(times_s)[math.ceil(0.99 * len(times_s)) - 1]


async def not_stored(name: str, place: Place, options: dict[str, Any], urls: list[str]) -> int:
    """How many of the *urls* a client that has nothing in memory gets from the origin."""
    async with CLIENTS[name](place, options) as client:
        assert isinstance(client, SessionClient)
        count = 0
        for url in urls:
            async with client.session.get(url) as response:
                await response.read()
            count += not response.from_cache
    return count


# ---- following


@asynccontextmanager
async def following(
    name: str, place: Place, options: dict[str, Any], parameters: dict[str, Any]
) -> AsyncGenerator[Round]:
    """The time from a commit until it answers a request in another process, which has waited for it.

    The figures are the median and the worst of a round, and how many of the waiting requests were sent to the origin.
    """
    with ExitStack() as stack:
        leader, follower = (
            stack.enter_context(
                Worker(Subject(label, name, options), "fetching", asdict(place), parameters)
            ).wait_until_ready()
            for label in ("leader", "follower")
        )
        connection = stack.enter_context(closing(_connected(place)))

        async def once() -> tuple[float, bool]:
            """Let both request the same new URL."""
            before, not_before = commits(connection), time.perf_counter() + SLOW_MS / MILLI
            committing = asyncio.create_task(asyncio.to_thread(committed_at, connection, before, not_before))
            leading = asyncio.create_task(asyncio.to_thread(leader.run_round))
            await asyncio.sleep(HEAD_START_S)
            followed = await asyncio.to_thread(follower.run_round)
            await leading
            return followed["answered_at"] - await committing, not followed["from_cache"]

        async def run_round() -> dict[str, float]:
            outcomes = [await once() for _ in range(parameters["requests"])]
            late_ms = [late_s * MILLI for late_s, _ in outcomes]
            return {
                "median_ms": statistics.median(late_ms),
                "worst_ms": max(late_ms),
                "asked": sum(asked for _, asked in outcomes),
            }

        yield run_round


@asynccontextmanager
async def fetching(
    name: str, place: Place, options: dict[str, Any], parameters: dict[str, Any]
) -> AsyncGenerator[Round]:
    """One request for a new URL, the same in each process with this workload: when it was answered, and from where."""
    numbers = itertools.count()
    async with CLIENTS[name](place, options) as client:
        assert isinstance(client, SessionClient)

        async def run_round() -> dict[str, float]:
            async with client.session.get(f"{place.origin}slow/{SLOW_MS}/{next(numbers)}") as response:
                await response.read()
            answered_at = time.perf_counter()
            await client.drain()  # the loop stands still until the next round
            return {"answered_at": answered_at, "from_cache": response.from_cache}

        await client.fetch((f"{place.origin}first",))
        await client.drain()
        yield run_round


def _connected(place: Place) -> sqlite3.Connection:
    (path,) = Path(place.directory).glob("*.sqlite")
    return sqlite3.connect(path, check_same_thread=False)


def commits(connection: sqlite3.Connection) -> int:
    """A number that changes with each commit of another connection."""
    number: int = connection.execute("PRAGMA data_version").fetchone()[0]
    return number


def committed_at(connection: sqlite3.Connection, before: int, not_before: float) -> float:
    """Wait for a commit at *not_before* or later, and return a time at which it was not there yet."""
    looked_at = time.perf_counter()
    while looked_at < not_before + COMMITS_WITHIN_S:
        time.sleep(LOOKS_EVERY_S)
        last, looked_at = looked_at, time.perf_counter()
        number = commits(connection)
        if number != before and looked_at >= not_before:
            return last
        before = number
    raise RuntimeError("the response was not stored")
