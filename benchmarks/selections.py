"""Measure listings and purges of a large store, and for how long they stall the event loop.

``python -m benchmarks.selections``, with ``--store``, ``--entries`` and ``--body``, prints for each case the number of
entries that it found, its wall-clock and CPU time in seconds, and three figures of the loop: the longest callback in
CPU time of the loop's thread (which other programs do not affect), the longest callback in wall-clock time, and the
largest delay of a timer of one millisecond. The first case is an idle loop, whose timers are late as well. For SQLite,
the rows before it are floors: bare statements.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import gc
import itertools
import math
import sqlite3
import sys
import time
from asyncio import events
from collections.abc import Awaitable, Callable, Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from aiohttp_cache_di import CacheBackend
from aiohttp_cache_di.admin.hosts import survey
from aiohttp_cache_di.admin.listing import Query, collect
from aiohttp_cache_di.backends.sqlite.file.schema import Table
from aiohttp_cache_di.backends.sqlite.looking.walk import told_of
from aiohttp_cache_di.rfc9111.messages import Tagging
from benchmarks.clients import Place, make_backend
from benchmarks.rounds import Subject
from benchmarks.scale import WRITTEN_AT_ONCE, made_entries
from benchmarks.services import Services

__all__ = ["main"]

HOSTS = 10
EXPIRED = 19  # one entry in 19 is expired
IDLE_S = 0.5
SPUN_S = 0.0002


@dataclasses.dataclass
class Held:
    """The longest callback of the loop, in CPU and in wall-clock time, and the largest delay of a timer."""

    cpu_ms: float = 0.0
    clock_ms: float = 0.0
    late_ms: float = 0.0

    async def watch(self) -> None:
        """Measure the delay of a timer of one millisecond, over and over, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + 0.001
            await asyncio.sleep(0.001)
            self.late_ms = max(self.late_ms, (loop.time() - due) * 1000)


@contextmanager
def callbacks_timed(held: Held) -> Generator[None]:
    """Record the longest callback of the loop in *held*."""
    run = events.Handle._run

    def timed(self: events.Handle) -> None:
        cpu, clock = time.thread_time(), time.perf_counter()
        run(self)
        held.cpu_ms = max(held.cpu_ms, (time.thread_time() - cpu) * 1000)
        held.clock_ms = max(held.clock_ms, (time.perf_counter() - clock) * 1000)

    events.Handle._run = timed  # type: ignore[method-assign]  # the loop runs all callbacks by this method
    try:
        yield
    finally:
        events.Handle._run = run  # type: ignore[method-assign]  # restores the original


async def work() -> None:
    """Keep the loop busy, like a service under load, until cancelled."""
    while True:
        until = time.perf_counter() + SPUN_S
        while time.perf_counter() < until:
            pass
        await asyncio.sleep(0)


async def measured(what: str, call: Callable[[], Awaitable[int]], *, is_busy: bool = False) -> None:
    """Run *call*, which returns the number of entries that it found, and print its row."""
    gc.collect()
    gc.freeze()  # so that collections do not scan older objects
    held = Held()
    beside = [asyncio.create_task(held.watch()), *([asyncio.create_task(work())] if is_busy else [])]
    await asyncio.sleep(0.01)
    held.late_ms = 0.0
    with callbacks_timed(held):
        begun, cpu = time.perf_counter(), time.process_time()
        count = await call()
        took_s, cpu_s = time.perf_counter() - begun, time.process_time() - cpu
    for task in beside:
        task.cancel()
    row(what, count, took_s, cpu_s, held)


def row(what: str, count: int, took_s: float, cpu_s: float, held: Held | None = None) -> None:
    """Print a row of the table."""
    stalls = "" if held is None else f" {held.cpu_ms:8.2f} {held.clock_ms:9.2f} {held.late_ms:8.2f}"
    sys.stdout.write(f"{what:<44} {count:>8,} {took_s:8.3f} {cpu_s:7.3f}{stalls}\n")
    sys.stdout.flush()


async def fill(backend: CacheBackend, count: int, body_bytes: int, *, tagged: bool = False) -> None:
    """Write *count* entries, a tenth of them for each of ten hosts; if *tagged*, each with a tag for host and page."""
    entries = (
        replace(
            entry,
            url=f"https://h{number % HOSTS}.test/items/{number}?page={number % 7}",
            fresh_until=entry.fresh_until if number % EXPIRED else entry.created_at - 1,
            tagging=Tagging((f"host:{number % HOSTS}", f"page:{number % 7}")) if tagged else None,
        )
        for number, entry in enumerate(made_entries(count, body_bytes))
    )
    while some := list(itertools.islice(entries, WRITTEN_AT_ONCE)):
        await asyncio.gather(*map(backend.responses.write_entry, some))


async def count_of(backend: CacheBackend, **selectors: Any) -> int:
    """Iterate over the selected entries, and return their number."""
    return len([None async for _ in backend.entries(**selectors)])


async def purged(backend: CacheBackend, **how: Any) -> int:
    """Purge, and return the number of purged entries."""
    return (await backend.purge(**how)).entries


async def idle() -> int:
    """Wait for `IDLE_S` seconds."""
    await asyncio.sleep(IDLE_S)
    return 0


async def run(backend: CacheBackend, count: int, *, is_busy: bool) -> None:
    """Run all cases on *backend*, and print their rows."""
    sys.stdout.write(
        f"{'':<44} {'entries':>8} {'seconds':>8} {'cpu':>7} {'held/cpu':>8} {'held/clock':>9} {'late ms':>8}\n"
    )

    async def listed() -> int:
        return len(await collect(backend.entries(), Query(sort="url")))

    async def surveyed() -> int:
        return sum(host.entries for host in (await survey(backend.entries())).largest)

    async def read_all() -> int:
        return len([None async for _ in backend.responses.values()])

    cases: list[tuple[str, Callable[[], Awaitable[int]]]] = [
        ("an idle loop", idle),
        ("entries()", lambda: count_of(backend)),
        ("entries(host=)", lambda: count_of(backend, host="h1.test")),
        ("entries(match=)", lambda: count_of(backend, match="*.test/items/*7?page=*")),
        ("entries(url=)", lambda: count_of(backend, url=f"https://h3.test/items/{count - 7}?page={(count - 7) % 7}")),
        ("entries(larger_than=)", lambda: count_of(backend, larger_than="1MiB")),
        ("entries(expired=True)", lambda: count_of(backend, expired=True)),
        ("the page's table, by URL", listed),
        ("the page's upstreams", surveyed),
        ("purge(host=, dry_run=True)", lambda: purged(backend, host="h1.test", dry_run=True)),
        ("purge(host=, soft=True)", lambda: purged(backend, host="h1.test", soft=True)),
        ("purge(expired=True)", lambda: purged(backend, expired=True)),
        ("purge(match=)", lambda: purged(backend, match="h2.test/items/*")),
        ("purge(host=, match=)", lambda: purged(backend, host="h3.test", match="*/items/*")),
        ("purge(tags=, soft=True)", lambda: purged(backend, tags="page:1", soft=True)),
        ("purge(tags=)", lambda: purged(backend, tags="host:4", count_within_s=math.inf)),
        ("entries() after purges by tag", lambda: count_of(backend)),
        ("purge(all=True, soft=True)", lambda: purged(backend, all=True, soft=True)),
        ("reading all", read_all),
        ("purge(all=True)", lambda: purged(backend, all=True)),
    ]
    for what, call in cases:
        await measured(what, call, is_busy=is_busy)


def floors(path: Path) -> None:
    """Run bare statements on the SQLite file *path*, and print their rows."""
    with closing(sqlite3.connect(path)) as connection:
        ((name,),) = connection.execute("SELECT name FROM sqlite_master WHERE name LIKE 'cache:%' AND type = 'table'")
        table = Table(name.removeprefix("cache:"))
        counted = f"SELECT count(*) FROM {table.sql}"  # noqa: S608  # quoted in `Table`
        for what, sql in (("floor: SELECT count(*)", counted), ("floor: SELECT id, key, info", told_of(table))):
            begun, cpu = time.perf_counter(), time.process_time()
            rows = connection.execute(sql).fetchall()
            row(
                what,
                rows[0][0] if len(rows) == 1 else len(rows),
                time.perf_counter() - begun,
                time.process_time() - cpu,
            )


async def bench(store: str, count: int, body_bytes: int, *, is_busy: bool, tagged: bool) -> None:
    """Fill a store with *count* entries, and run all cases on it."""
    with Services() as services:
        place = Place(**services.place(Subject(store, "ours", {"store": store})))
        options: dict[str, Any] = {"storage_deadline": 60.0}
        if store in ("memory", "sqlite", "filesystem"):
            options["max_bytes"] = None
        backend = make_backend(store, place, options)
        try:
            await fill(backend, count, body_bytes, tagged=tagged)
            if store == "sqlite":
                await asyncio.to_thread(floors, Path(place.directory, "ours.sqlite"))
            await run(backend, count, is_busy=is_busy)
        finally:
            await backend.close()


def main() -> None:
    """Parse the command line, and run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", default="sqlite")
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--body", type=int, default=2_000)
    parser.add_argument("--busy", action="store_true", help="let the loop have as much else to do as it can")
    parser.add_argument("--tagged", action="store_true", help="let each entry have two tags")
    given = parser.parse_args()
    asyncio.run(bench(given.store, given.entries, given.body, is_busy=given.busy, tagged=given.tagged))


if __name__ == "__main__":
    main()
