"""What looking through a large store and purging it takes, and how long it holds the loop.

``python -m benchmarks.selections``, with ``--store``, ``--entries`` and ``--body``: for each case how many entries it
met, the seconds by the clock and of the processor, and three looks at the event loop meanwhile: the longest callback by
the processor's time of the loop's thread (which the other programs of the machine leave alone), the longest by the
clock, and by how much a timer of a millisecond was late at most. An idle loop has the latter as well: the first row.
The rows before it are floors: bare statements.
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
EXPIRED = 19  # each so many is
IDLE_S = 0.5
SPUN_S = 0.0002


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
def callbacks_timed(held: Held) -> Generator[None]:
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


async def work() -> None:
    """Use the loop as a service under load does, until cancelled."""
    while True:
        until = time.perf_counter() + SPUN_S
        while time.perf_counter() < until:
            pass
        await asyncio.sleep(0)


async def measured(what: str, call: Callable[[], Awaitable[int]], *, is_busy: bool = False) -> None:
    """Print the row of *call*, which tells how many entries it met."""
    gc.collect()
    gc.freeze()  # the collector's walks over what the program has besides are not the case's affair
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
    """Print a row."""
    stalls = "" if held is None else f" {held.cpu_ms:8.2f} {held.clock_ms:9.2f} {held.late_ms:8.2f}"
    sys.stdout.write(f"{what:<44} {count:>8,} {took_s:8.3f} {cpu_s:7.3f}{stalls}\n")
    sys.stdout.flush()


async def fill(backend: CacheBackend, count: int, body_bytes: int, *, tagged: bool = False) -> None:
    """Write *count* entries of ten hosts, of which one has every tenth; *tagged* with their host and their page."""
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
    """Walk over what is selected."""
    return len([None async for _ in backend.entries(**selectors)])


async def purged(backend: CacheBackend, **how: Any) -> int:
    """Purge, and tell how many entries that concerned."""
    return (await backend.purge(**how)).entries


async def idle() -> int:
    """Do nothing for a while."""
    await asyncio.sleep(IDLE_S)
    return 0


async def run(backend: CacheBackend, count: int, *, is_busy: bool) -> None:
    """Print all rows."""
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
    """Print what bare statements take on a file."""
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
    """Fill a store, and print all rows."""
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
    """Run what the command line says."""
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
