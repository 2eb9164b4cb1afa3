"""The aims of the benchmarks, each a bound for a figure that a run yields."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from benchmarks.plan import FLOOR, INSTALLED, OTHER_STORES, OURS, RELATIVE
from benchmarks.rounds import Measured

__all__ = ["AIMS", "MISSES", "Aim", "Found", "Misses", "added_us", "round_trips"]

Found: TypeAlias = Mapping[str, Mapping[str, Measured]]
"""Figures by scenario and subject."""


@dataclass(frozen=True)
class Aim:
    """A bound for a figure.

    Args:
        item: the number in the list of aims, 1 to 13.
        text: a description.
        value: computes the figure from those of a run.
        bound: the figure to reach.
        unit: the unit that is shown after the figure; "x" for a ratio.
        at_least: whether the bound is a minimum; otherwise it is a maximum.
    """

    item: int
    text: str
    value: Callable[[Found], float]
    bound: float
    unit: str = "x"
    at_least: bool = False

    def is_reached(self, value: float) -> bool:
        """Whether *value* is within the bound."""
        return value >= self.bound if self.at_least else value <= self.bound


@dataclass(frozen=True)
class Misses:
    """What a cache may add to a miss.

    Args:
        title: a description.
        figure: the name of the figure that is compared.
        bare_us: what a request of aiohttp alone took where the bounds were set; on other machines, compare the shares.
        bounds_us: the bounds, by store.
    """

    title: str
    figure: str
    bare_us: int
    bounds_us: Mapping[str, int]


MISSES: Mapping[str, Misses] = {
    # Not by the clock: the client waits for the origin, which other programs may slow down, and what a cache does
    # during that wait would seem to cost nothing.
    "miss": Misses("miss, 32 tasks", "cpu_us", 57, {"memory": 80, "SQLite": 150, "Redis": 110}),
    # By the clock: the caller also waits for the store.
    "miss-1": Misses("miss, one at a time", "us", 152, {"SQLite": 330, "Redis": 200}),
}
"""By scenario."""


def _best(found: Found, scenario: str, subject: str, name: str = "us") -> float:
    return found[scenario][subject].best[name]


def _ratio(scenario: str, subject: str, other: str) -> Callable[[Found], float]:
    return lambda found: _best(found, scenario, subject) / _best(found, scenario, other)


def _work(scenario: str, subject: str, other: str) -> Callable[[Found], float]:
    """The ratio of CPU times: for work without waiting, since other programs affect them least."""
    return lambda found: _best(found, scenario, subject, "cpu_us") / _best(found, scenario, other, "cpu_us")


def _less(scenario: str, subject: str, other: str, scale: float = 1.0) -> Callable[[Found], float]:
    return lambda found: (_best(found, scenario, subject) - _best(found, scenario, other)) / scale


def added_us(found: Found, subject: str, to: str = "aiohttp", *, scenario: str = "miss") -> float:
    """The time in microseconds that *subject* adds to a miss, beyond that of the client *to* without a cache."""
    figure = MISSES[scenario].figure
    return _best(found, scenario, subject, figure) - _best(found, scenario, to, figure)


def _added(scenario: str, store: str) -> Callable[[Found], float]:
    return lambda found: added_us(found, f"{OURS} {store.lower()}", scenario=scenario)


def _added_share(scenario: str, store: str) -> Callable[[Found], float]:
    added, figure = _added(scenario, store), MISSES[scenario].figure
    return lambda found: added(found) / _best(found, scenario, "aiohttp", figure)


def _waited(store: str) -> Callable[[Found], float]:
    """The time that a store adds to a miss, beyond one in memory, as a number of bare calls to the store."""

    def calls(found: Found) -> float:
        of = found[f"{store}-miss"]
        return 2 * (of[OURS].best["us"] - of["memory"].best["us"]) / of[FLOOR].best["us"]

    return calls


def round_trips(found: Found, subject: str) -> float:
    """How many round trips to a distant Redis *subject* waits for before it asks the origin; the floor waits for 1."""
    bare = _best(found, "asked", "aiohttp")
    return (_best(found, "asked", subject) - bare) / (_best(found, "asked", FLOOR) - bare)


def _figure(scenario: str, subject: str, name: str = "us") -> Callable[[Found], float]:
    return lambda found: _best(found, scenario, subject, name)


def _median(scenario: str, subject: str, name: str) -> Callable[[Found], float]:
    return lambda found: found[scenario][subject].median[name]


def _worst(scenario: str, subject: str, name: str) -> Callable[[Found], float]:
    return lambda found: found[scenario][subject].worst[name]


def _throughput(subject: str) -> Callable[[Found], float]:
    return lambda found: 100 * (1 - found["fastapi"][subject].median["lost"])


AIMS: tuple[Aim, ...] = (
    Aim(1, f"memory hit: {RELATIVE} takes … as long", _work("memory", RELATIVE, OURS), 15, at_least=True),
    Aim(1, "memory hit over its floor", _work("memory", OURS, FLOOR), 2.5),
    Aim(1, "memory hit, middleware only", _figure("memory", f"{OURS} middleware only", "cpu_us"), 30, " µs"),
    Aim(
        1,
        "memory hit, middleware only, over its floor",
        _work("memory", f"{OURS} middleware only", "middleware floor"),
        30 / 12.8,
    ),
    *(
        aim
        for subject, where in ((INSTALLED, "SQLite as installed"), (OURS, "SQLite, from the file"))
        for aim in (
            Aim(2, f"{where}, one at a time, over one hop", _ratio("sqlite-1", subject, FLOOR), 1.3),
            *(
                Aim(
                    2,
                    f"{where}, {tasks:,} tasks: {RELATIVE} takes …",
                    _ratio(name, RELATIVE, subject),
                    8,
                    at_least=True,
                )
                for tasks, name in ((64, "sqlite-64"), (1000, "sqlite-1000"))
            ),
            *(
                Aim(2, f"{where}, {tasks:,} tasks, over the micro-batch floor", _ratio(name, subject, FLOOR), 2)
                for tasks, name in ((64, "sqlite-64"), (1000, "sqlite-1000"))
            ),
        )
    ),
    Aim(3, "Redis, one at a time, over one GET", _ratio("redis-1", OURS, FLOOR), 1.3),
    Aim(3, f"Redis, 64 tasks: {RELATIVE} takes …", _ratio("redis-64", RELATIVE, OURS), 8, at_least=True),
    Aim(3, "Redis, 64 tasks, over the MGET floor", _ratio("redis-64", OURS, FLOOR), 2),
    Aim(3, "Redis, 1,000 tasks, over the MGET floor", _ratio("redis-1000", OURS, FLOOR), 2),
    Aim(3, "Redis, errors of 1,000 tasks", _worst("flood-1000", OURS, "errors"), 0, ""),
    Aim(3, "Redis, errors of 10,000 tasks", _worst("flood-10000", OURS, "errors"), 0, ""),
    *(
        aim
        for scenario, misses in MISSES.items()
        for store, bound_us in misses.bounds_us.items()
        for aim in (
            Aim(4, f"{misses.title}, added to aiohttp, {store}", _added(scenario, store), bound_us, " µs"),
            Aim(4, "… over aiohttp alone", _added_share(scenario, store), bound_us / misses.bare_us),
        )
    ),
    # Beyond 1 is the time of our own work.
    Aim(
        4,
        "Redis at a distance, round trips before the origin is asked",
        lambda found: round_trips(found, OURS),
        1.25,
        "",
    ),
    Aim(4, "first byte later than aiohttp's", _less("first-byte", OURS, "aiohttp", 1000), 1, " ms"),
    Aim(5, "memory hit at 100,000 entries over 1,000", _ratio("entries-memory", "100,000", "1,000"), 1.2),
    Aim(5, "memory hit at 1,000,000 entries over 1,000", _ratio("entries-memory", "1,000,000", "1,000"), 1.2),
    Aim(5, "SQLite hit at 100,000 entries over 1,000", _ratio("entries-sqlite", "100,000", "1,000"), 1.2),
    Aim(5, "memory per entry beside its body", _figure("weight", OURS, "bytes"), 700, " B"),
    Aim(5, "SQLite file over content, 2 kB", _figure("file", "100,000 entries of 2,000 bytes", "ratio"), 1.15),
    Aim(5, "SQLite file over content, 10 kB", _figure("file", "10,000 entries of 10,000 bytes", "ratio"), 1.15),
    *(
        aim
        # CPU time for memory, which does not wait; wall-clock time for SQLite, whose thread can stall the loop, too.
        for store, stall in (("memory", "stall_cpu_ms"), ("sqlite", "stall_ms"))
        for aim in (
            Aim(5, f"expired half of 100,000 deleted, {store}", _median("expire", store, "s"), 2, " s"),
            Aim(5, f"… longest stall of the loop, {store}", _median("expire", store, stall), 10, " ms"),
        )
    ),
    Aim(5, "walking over all of SQLite holds", _figure("iterate", "sqlite", "share"), 0.25, " of it"),
    Aim(6, "key, ten parameters", _figure("key", OURS), 10, " µs"),
    Aim(7, "import, over aiohttp", _less("import", OURS, "aiohttp", 1000), 40, " ms"),
    Aim(8, "FastAPI throughput, memory", _throughput(f"{OURS} memory"), 85, " %", at_least=True),
    Aim(8, "FastAPI throughput, SQLite", _throughput(f"{OURS} sqlite"), 60, " %", at_least=True),
    *(
        aim
        for store, (title, bare, batch, _) in OTHER_STORES.items()
        for aim in (
            Aim(12, f"{title}, one at a time, over {bare}", _ratio(f"{store}-1", OURS, FLOOR), 1.3),
            Aim(12, f"{title}, 64 tasks, over {batch}", _ratio(f"{store}-64", OURS, FLOOR), 2),
        )
    ),
    *(
        Aim(12, f"{title} miss, bare calls that it waits for", _waited(store), 2, "")
        for store, title in (*((store, each[0]) for store, each in OTHER_STORES.items()), ("redis", "Redis"))
    ),
    Aim(
        12,
        "files, hit of 10 MiB, speed over reading a file",
        _ratio("filesystem-large", FLOOR, OURS),
        0.8,
        at_least=True,
    ),
    *(
        Aim(11, f"hot hit, SQLite over memory, {tasks}", _work(name, "SQLite", "memory"), 1.25)
        for tasks, name in (("one at a time", "near"), ("64 tasks", "near-64"), ("1,000 tasks", "near-1000"))
    ),
    Aim(11, "hot hit, Redis over memory", _work("near", "Redis", "memory"), 3),
    *(
        aim
        for subject, where in ((INSTALLED, "as installed"), (OURS, "from the file"))
        for aim in (
            Aim(
                13,
                f"4 processes on a SQLite file, {where}, p99 of a hit",
                _median("contention", subject, "p99_ms"),
                5,
                " ms",
            ),
            Aim(13, "… failed requests", _worst("contention", subject, "errors"), 0, ""),
            Aim(13, "… answered, but not stored", _worst("contention", subject, "lost"), 0, ""),
        )
    ),
    Aim(13, "after a commit, a waiting process answers", _median("following", "SQLite", "median_ms"), 5, " ms"),
    Aim(13, "… at the latest", _worst("following", "SQLite", "worst_ms"), 5, " ms"),
)
