"""The workloads, such as hits and misses. Each yields a function that runs a timed round."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import statistics
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

from benchmarks import floors, loads, scale, sharing
from benchmarks.clients import CLIENTS, Client, Place, SessionClient
from benchmarks.rounds import Round

__all__ = ["WORKLOADS", "Round"]

Made: TypeAlias = "AbstractAsyncContextManager[Round]"
TARGET_S = 0.15  # of a round: long against the noise of the clock, short against disturbances by other programs
MICRO = 1_000_000
REST_S = 0.001  # before each request with ``apart``: longer than a store works after its answer

assert floors.__name__  # imported because it registers clients


async def _run_tasks(client: Client, urls: list[str], tasks: int) -> None:
    if tasks == 1:
        await client.fetch(urls)
    else:
        await asyncio.gather(*(client.fetch(urls[number::tasks]) for number in range(tasks)))


async def _calibrated(client: Client, urls: list[str], tasks: int, target_s: float) -> list[str]:
    """*urls*, repeated so that requesting them takes about *target_s* seconds."""
    started = time.perf_counter()
    await _run_tasks(client, urls, tasks)
    per_request_s = (time.perf_counter() - started) / len(urls)
    wanted = max(len(urls), tasks, int(target_s / per_request_s))
    return list(itertools.islice(itertools.cycle(urls), wanted - wanted % tasks))


@asynccontextmanager
async def hits(name: str, place: Place, options: dict[str, Any], parameters: dict[str, Any]) -> AsyncGenerator[Round]:
    """Requests that are answered from the cache: for ``urls`` different URLs, by ``tasks`` concurrent tasks.

    They begin ``settled_s`` seconds after the bodies have been stored: a body in a file that has changed a moment ago
    is verified at each read, an older one only at the first.
    """
    tasks: int = parameters.get("tasks", 1)
    path = f"b/{parameters.get('body', 10_000)}/hit"
    urls = [f"{place.origin}{path}/{number}" for number in range(parameters.get("urls", 1))]
    async with CLIENTS[name](place, options) as client:
        await _run_tasks(client, urls, min(tasks, 32))
        await client.drain()
        await asyncio.sleep(parameters.get("settled_s", 0))
        await _run_tasks(client, urls * 2, min(tasks, 32))
        repeated: list[str] = []

        async def run_round() -> dict[str, float]:
            if not repeated:  # in the first round, when other processes no longer prepare their workloads
                repeated.extend(await _calibrated(client, urls, tasks, parameters.get("target_s", TARGET_S)))
            used_s, started = time.process_time(), time.perf_counter()
            await _run_tasks(client, repeated, tasks)
            took_s, used_s = time.perf_counter() - started, time.process_time() - used_s
            return {"us": took_s / len(repeated) * MICRO, "cpu_us": used_s / len(repeated) * MICRO}

        yield run_round


@asynccontextmanager
async def misses(name: str, place: Place, options: dict[str, Any], parameters: dict[str, Any]) -> AsyncGenerator[Round]:
    """Requests for new URLs, until all responses are stored.

    With ``apart``, requests are sent one at a time, each after the previous response has been stored, and only the time
    until the response is measured. All clients rest before each request: a processor is slower after a rest, and
    otherwise only clients that wait for a store would have had one.
    """
    tasks: int = parameters["tasks"]
    count: int = parameters["requests"]
    rounds = itertools.count()
    async with CLIENTS[name](place, options) as client:

        async def run_round() -> dict[str, float]:
            urls = [f"{place.origin}miss/{name}/{next(rounds)}/{number}" for number in range(count)]
            if parameters.get("apart"):
                return await _apart(client, urls)
            used_s, started = time.process_time(), time.perf_counter()
            await _run_tasks(client, urls, tasks)
            answered_s = time.perf_counter() - started
            await client.drain()
            took_s, used_s = time.perf_counter() - started, time.process_time() - used_s
            figures = {"us": took_s, "answered_us": answered_s, "cpu_us": used_s}
            return {name: value / count * MICRO for name, value in figures.items()}

        await run_round()
        yield run_round


async def _apart(client: Client, urls: list[str]) -> dict[str, float]:
    answered_s = used_s = 0.0
    for url in urls:
        begun_s, started = time.process_time(), time.perf_counter()
        await client.fetch((url,))
        answered_s += time.perf_counter() - started
        used_s += time.process_time() - begun_s
        await client.drain()
        await asyncio.sleep(REST_S)
    return {"us": answered_s / len(urls) * MICRO, "cpu_us": used_s / len(urls) * MICRO}


@asynccontextmanager
async def flood(name: str, place: Place, options: dict[str, Any], parameters: dict[str, Any]) -> AsyncGenerator[Round]:
    """Hits by ``tasks`` tasks that start together and send one request each; errors are counted."""
    tasks: int = parameters["tasks"]
    urls = [f"{place.origin}flood/{number}" for number in range(1000)]
    async with CLIENTS[name](place, options) as client:
        await _run_tasks(client, urls, 32)
        await client.drain()

        async def run_round() -> dict[str, float]:
            started = time.perf_counter()
            outcomes = await asyncio.gather(
                *(client.fetch((urls[number % len(urls)],)) for number in range(tasks)), return_exceptions=True
            )
            took_s = time.perf_counter() - started
            errors = sum(isinstance(outcome, BaseException) for outcome in outcomes)
            return {"us": took_s / tasks * MICRO, "errors": errors}

        yield run_round


@asynccontextmanager
async def first_byte(
    name: str, place: Place, options: dict[str, Any], parameters: dict[str, Any]
) -> AsyncGenerator[Round]:
    """The time to the first byte of a miss, if the rest of the body comes 50 ms later."""
    rounds = itertools.count()
    async with CLIENTS[name](place, options) as client:
        assert isinstance(client, SessionClient)

        async def once() -> float:
            started = time.perf_counter()
            async with client.session.get(f"{place.origin}slow/50/{next(rounds)}") as response:
                await response.content.read(100)
                took_s = time.perf_counter() - started
                await response.read()
            return took_s

        async def run_round() -> dict[str, float]:
            took_s = [await once() for _ in range(parameters.get("requests", 5))]
            await client.drain()
            return {"us": min(took_s) * MICRO}

        await run_round()
        yield run_round


@asynccontextmanager
async def asked(name: str, place: Place, options: dict[str, Any], parameters: dict[str, Any]) -> AsyncGenerator[Round]:
    """The time until the origin is asked, of requests for new URLs one at a time, with Redis at a distance."""
    numbers = itertools.count()
    async with CLIENTS[name](replace(place, redis=place.distant_redis), options) as client:
        assert isinstance(client, SessionClient)

        async def once() -> float:
            started = time.perf_counter()
            async with client.session.get(f"{place.origin}asked/{next(numbers)}") as response:
                asked_at = float(await response.read())
            await client.drain()
            return asked_at - started

        async def run_round() -> dict[str, float]:
            return {"us": statistics.median([await once() for _ in range(parameters["requests"])]) * MICRO}

        await run_round()
        yield run_round


@asynccontextmanager
async def key(name: str, place: Place, options: dict[str, Any], parameters: dict[str, Any]) -> AsyncGenerator[Round]:
    """``create_key`` for a URL with ten parameters; with ``new``, for a new URL each time."""
    package = {"ours": "aiohttp_cache_di", "relative": "aiohttp_client_cache"}[name]
    create_key = import_module(package).CacheBackend().create_key
    query = "&".join(f"parameter{number}=value%20{number}" for number in range(10))
    url = f"https://api.example.com/v1/items?{query}"
    numbers = itertools.count()
    count: int = parameters.get("keys", 2000)

    async def run_round() -> dict[str, float]:
        await asyncio.sleep(0)
        urls = [f"{url}&n={next(numbers)}" for _ in range(count)] if parameters.get("new") else [url] * count
        started = time.perf_counter()
        for each in urls:
            create_key("GET", each)
        return {"us": (time.perf_counter() - started) / count * MICRO}

    yield run_round


@asynccontextmanager
async def importing(
    name: str, place: Place, options: dict[str, Any], parameters: dict[str, Any]
) -> AsyncGenerator[Round]:
    """The time to import the module *name* in a new interpreter."""

    # With cached bytecode, as for an installed package, even if the environment disables writing it.
    compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(Path(place.directory, "compiled"))}

    async def run_round() -> dict[str, float]:
        with contextlib.closing(await loads.python("-c", _IMPORT.format(name), **compiled)) as process:
            return {"us": float(await process.line()) * MICRO}

    await run_round()
    yield run_round


_IMPORT = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"

WORKLOADS: dict[str, Callable[[str, Place, dict[str, Any], dict[str, Any]], Made]] = {
    "hits": hits,
    "misses": misses,
    "flood": flood,
    "first-byte": first_byte,
    "asked": asked,
    "key": key,
    "import": importing,
    "load": loads.load,
    "weight": scale.weight,
    "size": scale.size,
    "expire": scale.expire,
    "iterate": scale.iterate,
    "filled": scale.filled,
    "contention": sharing.contention,
    "traffic": sharing.traffic,
    "following": sharing.following,
    "fetching": sharing.fetching,
}
