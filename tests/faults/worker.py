"""One of several processes that share a store; its argument is a job in JSON, its output a report in JSON.

``python -m tests.faults.worker '{"kind": "sqlite", "options": {…}, "task": "fetch", "urls": […], "tasks": 8}'`` prints
``ready``, waits for a line on its input, does the job, and prints the report on one line.
"""

from __future__ import annotations

import asyncio
import importlib
import itertools
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import ClientTimeout, TCPConnector
from msgspec.structs import asdict
from yarl import URL

from aiohttp_cache_di import CachedSession
from tests.described import described
from tests.faults.origin import body_of

NOBODY = 65534

Job = dict[str, Any]
Report = dict[str, Any]


async def fetch(session: CachedSession, job: Job) -> Report:
    """Request each URL in ``tasks`` tasks at once, in one or more rounds."""

    times_s: list[float] = []

    async def one(url: str) -> str:
        started = time.perf_counter()
        async with session.get(url) as response:
            times_s.append(time.perf_counter() - started)
            return "ok" if await response.read() == body_of(URL(url).raw_path_qs, job["size"]) else "wrong"

    begun = time.perf_counter()
    outcomes: Counter[str] = Counter()
    for _ in range(job.get("rounds", 1)):
        found = await asyncio.gather(
            *(one(url) for url in job["urls"] for _ in range(job["tasks"])), return_exceptions=True
        )
        outcomes.update(one if isinstance(one, str) else type(one).__name__ for one in found)
        await asyncio.sleep(job.get("pause_s", 0.0))
    return {"outcomes": outcomes, "took_s": time.perf_counter() - begun, "slowest_s": max(times_s, default=0.0)}


async def churn(session: CachedSession, job: Job) -> Report:
    """Read, write and occasionally delete at random for ``seconds``, in several tasks."""
    outcomes: Counter[str] = Counter()
    hits_s: list[float] = []
    turns_s: list[float] = []
    until = time.perf_counter() + job["seconds"]
    chance = random.Random(job["seed"])

    async def client() -> None:
        while time.perf_counter() < until:
            url = chance.choice(job["urls"])
            begun = time.perf_counter()
            try:
                async with session.get(url, refresh=False) as response:
                    body = await response.read()
                took_s = time.perf_counter() - begun
                if response.from_cache:
                    hits_s.append(took_s)
                outcomes["ok" if body == body_of(URL(url).raw_path_qs, job["size"]) else "wrong"] += 1
                if chance.random() < 0.02:
                    await session.cache.delete_url(url)
            except Exception as error:
                outcomes[f"{type(error).__name__}: {error}"] += 1
            await asyncio.sleep(chance.random() * job["pause_s"])

    async def watch() -> None:
        while time.perf_counter() < until:
            begun = time.perf_counter()
            await asyncio.sleep(0.005)
            turns_s.append(time.perf_counter() - begun - 0.005)

    await asyncio.gather(watch(), *(client() for _ in range(job["tasks"])))
    return {"outcomes": outcomes, "hits_s": hits_s, "turns_s": turns_s}


async def fill(session: CachedSession, job: Job) -> Report:
    """Request URLs of this worker's own for ``seconds``, in several tasks; report how many."""
    until = time.perf_counter() + job["seconds"]
    numbers = itertools.count()

    async def client() -> None:
        while time.perf_counter() < until:
            async with session.get(f"{job['url']}/{job['seed']}/{next(numbers)}") as response:
                await response.read()

    await asyncio.gather(*(client() for _ in range(job["tasks"])))
    return {"asked": next(numbers)}


TASKS: dict[str, Callable[[CachedSession, Job], Awaitable[Report]]] = {"fetch": fetch, "churn": churn, "fill": fill}


async def main() -> None:
    """Do the job that the argument describes."""
    job: Job = json.loads(sys.argv[1])
    if "file_size_limit" in job:  # writes beyond it fail, as on a full disk
        resource = importlib.import_module("resource")
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["file_size_limit"],) * 2)
    if job.get("unprivileged") and os.geteuid() == 0:  # root is not subject to permissions
        importlib.import_module("tests.stores")  # and all else that is needed, while those files may be read
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    backend = described(job["kind"], job["options"], **job.get("backend", {}))
    timeout = ClientTimeout(total=job.get("timeout_s", 20))
    async with CachedSession(cache=backend, connector=TCPConnector(limit=0), timeout=timeout) as session:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        report = await TASKS[job["task"]](session, job)
        await backend.settle()
        snapshot = backend.stats.snapshot()
        report["stats"] = asdict(snapshot) | {"store_errors": dict(snapshot.store_errors)}
    await backend.close()
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    # Background jobs of a shell ignore this signal, and their children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    asyncio.run(main())
