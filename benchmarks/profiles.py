"""Profile a hit on each backend: ``python -m benchmarks.profiles``, which writes ``results/profiles.json``.

The profiler slows functions in Python down more than others. So it yields shares only, and the time of a hit is
measured without it.
"""

from __future__ import annotations

import asyncio
import cProfile
import json
import pstats
import time
from collections import Counter
from pathlib import Path, PurePath
from typing import Any

from benchmarks import floors
from benchmarks.clients import CLIENTS, Place
from benchmarks.rounds import Subject
from benchmarks.services import Services

__all__ = ["RESULTS", "main"]

RESULTS = Path(__file__).parent / "results" / "profiles.json"
URLS = 200
REPEATS = 20
LEAST_SHARE = 0.02
SUBJECTS = (
    Subject("memory", "ours"),
    Subject("memory, middleware only", "ours-middleware"),
    Subject("the floor of a middleware", "floor-middleware"),
    Subject("SQLite", "ours", {"store": "sqlite", "near_tier": False}),
    Subject("SQLite, near tier", "ours", {"store": "sqlite"}),
    Subject("Redis", "ours", {"store": "redis"}),
    Subject("Redis, near tier", "ours", {"store": "redis", "near_tier_s": 60.0}),
)

assert floors.__name__  # imported because it registers clients


def _part(filename: str, function: str) -> str:
    """The part of the program that the time spent in *function* counts for."""
    path = PurePath(filename)
    if "aiohttp_cache_di" in path.parts:
        return f"ours: {path.stem}"
    for package in ("aiohttp", "yarl", "multidict", "asyncio", "aiosqlite", "benchmarks"):
        if package in path.parts:
            return package
    if path.name in ("selectors.py", "contextvars.py"):
        return "asyncio"
    if any(word in function for word in ("epoll", "socket", "SimpleQueue")):
        return "waiting: epoll, sockets, the other thread"
    return "built-in functions" if filename == "~" else "other"


def _shares(profile: cProfile.Profile) -> Counter[str]:
    shares: Counter[str] = Counter()
    figures: dict[tuple[str, int, str], Any] = vars(pstats.Stats(profile))["stats"]
    for (filename, _, function), (_, _, own_s, _, _) in figures.items():
        shares[_part(filename, function)] += own_s
    return shares


async def _profile(subject: Subject, place: Place) -> tuple[float, Counter[str]]:
    urls = [f"{place.origin}hit/{number}" for number in range(URLS)]
    async with CLIENTS[subject.client](place, dict(subject.options)) as client:
        await client.fetch(urls)
        await client.drain()
        await client.fetch(urls * 2)
        best_s = float("inf")
        for _ in range(REPEATS):
            started = time.perf_counter()
            await client.fetch(urls)
            best_s = min(best_s, (time.perf_counter() - started) / URLS)
        profile = cProfile.Profile()
        with profile:
            await client.fetch(urls * REPEATS)
    return best_s, _shares(profile)


def main() -> None:
    """Print the shares on each backend, and write them to a file."""
    found: dict[str, dict[str, float]] = {}
    with Services() as services:
        for subject in SUBJECTS:
            best_s, shares = asyncio.run(_profile(subject, Place(**services.place(subject))))
            of = {part: round(own_s / shares.total(), 3) for part, own_s in shares.most_common()}
            found[subject.label] = {part: share for part, share in of.items() if share >= LEAST_SHARE}
            print(f"\n{subject.label}: {best_s * 1e6:.1f} µs, one at a time")
            for part, share in found[subject.label].items():
                print(f"  {share:6.1%}  {part}")
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
