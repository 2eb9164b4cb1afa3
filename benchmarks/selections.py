"""What looking through a large store and purging it takes, and how long it holds the loop.

``python -m benchmarks.selections [--store sqlite] [--entries 100000] [--body 2000]``: for each case how many entries it
met, the seconds, and three looks at the event loop meanwhile: the longest callback by the processor's time of the loop's
thread (which other programs on the machine leave alone), the longest by the clock, and the longest time for which a timer
of one millisecond was late, as an idle loop has it too (the first row). The last rows are floors: bare statements.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import gc
import itertools
import sqlite3
import sys
import time
from asyncio import events
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from aiohttp_cache_di import CacheBackend
from aiohttp_cache_di.admin.hosts import survey
from aiohttp_cache_di.admin.listing import Query, collect
from benchmarks.clients import Place, make_backend
from benchmarks.rounds import Subject
from benchmarks.scale import WRITTEN_AT_ONCE, made_entries
from benchmarks.services import Services

__all__ = ["main"]

HOSTS = 10
EXPIRED = 19  # each so many is
IDLE_S = 0.5


@dataclasses.dataclass
class Held:
    """For how long the loop was held, in milliseconds."""

    cpu_ms: float = 0.0
    clock_ms: float = 0.0
    late_ms: float = 0.0

    async def watch(self) -> None:
        """Look each millisecond whether the loop is late, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + 0.001
            await asyncio.sleep(0.001)
            self.late_ms = max(self.late_ms, (loop.time() - due) * 1000)


@contextmanager
def callbacks_timed(held: Held) -> Iterator[None]:
    """Time each callback of the loop into *held*."""
    run = events.Handle._run

    def timed(self: events.Handle) -> None:
        cpu, clock = time.thread_time(), time.perf_counter()
        run(self)
        held.cpu_ms = max(held.cpu_ms, (time.thread_time() - cpu) * 1000)
        held.clock_ms = max(held.clock_ms, (time.perf_counter() - clock) * 1000)

    events.Handle._run = timed  # type: ignore[method-assign]  # all that the loop runs goes through it
    try:
        yield
    finally:
        events.Handle._run = run  # type: ignore[method-assign]  # as it was


async def measured(what: str, call: Callable[[], Awaitable[int]]) -> None:
    """Print the row of *call*, which tells how many entries it met."""
    gc.collect()
    held = Held()
    watcher = asyncio.create_task(held.watch())
    await asyncio.sleep(0.01)
    held.late_ms = 0.0
    with callbacks_timed(held):
        begun, cpu = time.perf_counter(), time.process_time()
        count = await call()
        took_s, cpu_s = time.perf_counter() - begun, time.process_time() - cpu
    watcher.cancel()
    row(what, count, took_s, cpu_s, held)


def row(what: str, count: int, took_s: float, cpu_s: float, held: Held | None = None) -> None:
    """Print a row."""
    stalls = "" if held is None else f" {held.cpu_ms:8.2f} {held.clock_ms:9.2f} {held.late_ms:8.2f}"
    sys.stdout.write(f"{what:<44} {count:>8,} {took_s:8.3f} {cpu_s:7.3f}{stalls}\n")
    sys.stdout.flush()


async def fill(backend: CacheBackend, count: int, body_bytes: int) -> None:
    """Write *count* entries of ten hosts, of which one has every tenth."""
    entries = (
        replace(
            entry,
            url=f"https://h{number % HOSTS}.test/items/{number}?page={number % 7}",
            fresh_until=entry.fresh_until if number % EXPIRED else entry.created_at - 1,
        )
        for number, entry in enumerate(made_entries(count, body_bytes))
    )
    while some := list(itertools.islice(entries, WRITTEN_AT_ONCE)):
        await asyncio.gather(*map(backend.responses.write_entry, some))


async def count_of(backend: CacheBackend, **selectors: Any) -> int:
    """Walk over what is selected."""
    return len([None async for _ in backend.entries(**selectors)])


async def purged(backend: CacheBackend, **how: Any) -> int:
    """Purge, and tell how many entries that concerned."""
    return (await backend.purge(**how)).entries


async def idle() -> int:
    """Do nothing for a while."""
    await asyncio.sleep(IDLE_S)
    return 0


async def run(backend: CacheBackend, count: int) -> None:
    """Print all rows."""
    sys.stdout.write(f"{'':<44} {'entries':>8} {'seconds':>8} {'cpu':>7} {'held/cpu':>8} {'held/clock':>9} {'late ms':>8}\n")

    async def listed() -> int:
        return len(await collect(backend.entries(), Query(sort="url")))

    async def surveyed() -> int:
        return sum(host.entries for host in (await survey(backend.entries())).largest)

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
        ("purge(all=True, soft=True)", lambda: purged(backend, all=True, soft=True)),
        ("purge(all=True)", lambda: purged(backend, all=True)),
    ]
    for what, call in cases:
        await measured(what, call)


def floors(path: Path) -> None:
    """Print what bare statements take on a file."""
    with closing(sqlite3.connect(path)) as connection:
        ((table,),) = connection.execute("SELECT name FROM sqlite_master WHERE name LIKE 'cache:%' AND type = 'table'")
        for what, sql in (
            ("floor: SELECT count(*)", f'SELECT count(*) FROM "{table}"'),
            ("floor: SELECT id, key, info", f'SELECT id, key, info FROM "{table}"'),
        ):
            begun, cpu = time.perf_counter(), time.process_time()
            rows = connection.execute(sql).fetchall()
            row(what, rows[0][0] if len(rows) == 1 else len(rows), time.perf_counter() - begun, time.process_time() - cpu)


async def bench(store: str, count: int, body_bytes: int) -> None:
    """Fill a store, and print all rows."""
    with Services() as services:
        place = Place(**services.place(Subject(store, "ours", {"store": store})))
        options: dict[str, Any] = {"storage_deadline": 60.0}
        if store in ("memory", "sqlite", "filesystem"):
            options["max_bytes"] = None
        backend = make_backend(store, place, options)
        try:
            await fill(backend, count, body_bytes)
            if store == "sqlite":
                await asyncio.to_thread(floors, Path(place.directory, "ours.sqlite"))
            await run(backend, count)
        finally:
            await backend.close()


def main() -> None:
    """Run what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", default="sqlite")
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--body", type=int, default=2_000)
    given = parser.parse_args()
    asyncio.run(bench(given.store, given.entries, given.body))


if __name__ == "__main__":
    main()
