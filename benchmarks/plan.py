"""The scenarios: what is measured, and on which implementations. For the aims see `aims`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from benchmarks.rounds import Subject

__all__ = ["FLOOR", "INSTALLED", "OTHER_STORES", "OURS", "RELATIVE", "SCENARIOS", "Scenario", "alone", "quick"]

OURS = "aiohttp-cache-di"
INSTALLED = f"{OURS} as installed"
"""This package with its defaults; `OURS` has no near tier in those scenarios."""
RELATIVE = "aiohttp-client-cache"
HISHEL = "hishel"
FLOOR = "floor"
NOT_QUICK = frozenset({"hishel", "httpx", "hishel.httpx"})


@dataclass(frozen=True)
class Scenario:
    """One comparison.

    Args:
        name: a short name for results and for ``--only``.
        title: what is measured.
        workload: a name in `benchmarks.workloads`.
        subjects: the implementations that are compared.
        parameters: the parameters of the workload.
        rounds: how many rounds each subject runs.
        quick_rounds: the same in a quick run.
        quick_parameters: parameters that replace others in a quick run; None leaves the scenario out of it.
        alone_parameters: parameters that replace others where scenarios are picked (``--only``): for more time.
    """

    name: str
    title: str
    workload: str
    subjects: tuple[Subject, ...]
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    rounds: int = 12
    quick_rounds: int = 4
    quick_parameters: Mapping[str, Any] | None = field(default_factory=dict[str, Any])
    alone_parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])


def alone(scenario: Scenario) -> Scenario:
    """The same scenario with the parameters for a run of its own."""
    return replace(scenario, parameters={**scenario.parameters, **scenario.alone_parameters})


def quick(scenario: Scenario) -> Scenario:
    """The same scenario with fewer and smaller rounds, and without the slowest subjects (`NOT_QUICK`)."""
    parameters = {"target_s": 0.05, **scenario.parameters, **(scenario.quick_parameters or {})}
    subjects = tuple(subject for subject in scenario.subjects if subject.client not in NOT_QUICK)
    return replace(scenario, subjects=subjects, parameters=parameters, rounds=scenario.quick_rounds)


def _hits(store: str, tasks: int) -> Scenario:
    one = "one GET" if store == "redis" else "one aiosqlite hop"
    many = "one MGET per tick" if store == "redis" else "one IN (…) per tick"
    off: dict[str, Any] = {"near_tier": False} if store == "sqlite" else {}
    installed = (Subject(INSTALLED, "ours", {"store": store}),) if off else ()
    floors: tuple[Subject, ...] = (Subject(FLOOR if tasks == 1 else "one each", f"floor-{store}"),)
    if tasks > 1:
        floors = (Subject(FLOOR, f"floor-{store}", {"batched": True}), *floors)
    title = {"sqlite": "SQLite", "redis": "Redis"}[store]
    peers: tuple[Subject, ...] = (
        Subject(RELATIVE, "relative", {"store": store}),
        Subject(HISHEL, "hishel", {"store": store}, {"urls": max(100, tasks)}),
    )
    if tasks > 64:
        floors, peers = floors[:1], peers[:1] if store == "sqlite" else ()  # the flood scenario shows the others
    return Scenario(
        f"{store}-{tasks}",
        f"{title} hit, {'one at a time' if tasks == 1 else f'{tasks:,} tasks'} (floor: {one if tasks == 1 else many})",
        "hits",
        (*floors, Subject(OURS, "ours", {"store": store, **off}), *installed, *peers),
        {"urls": 1000, "tasks": tasks},
        rounds=8,
        quick_rounds=2,
        quick_parameters={"urls": 200} if tasks < 1000 else None,
    )


def _misses(name: str, tasks: int, rounds: int) -> Scenario:
    return Scenario(
        name,
        f"cold miss, {'one at a time' if tasks == 1 else f'{tasks} tasks'}",
        "misses",
        (
            Subject("aiohttp", "aiohttp"),
            *(Subject(f"{OURS} {store}", "ours", {"store": store}) for store in ("memory", "sqlite", "redis")),
            *(Subject(f"{RELATIVE} {store}", "relative", {"store": store}) for store in ("memory", "sqlite", "redis")),
            Subject("httpx", "httpx", parameters={"requests": 40}),
            *(
                Subject(f"{HISHEL} {store}", "hishel", {"store": store}, {"requests": 40})
                for store in ("sqlite", "redis")
            ),
        ),
        {"tasks": tasks, "requests": 250},
        rounds=rounds,
        quick_rounds=rounds // 4,
        quick_parameters={"requests": 100},
    )


def _hot(name: str, tasks: int) -> Scenario:
    """Hits of entries of which the near tier has copies."""
    return Scenario(
        name,
        f"hot hit of a shared store, 100 URLs, {'one at a time' if tasks == 1 else f'{tasks:,} tasks'} (near tier)",
        "hits",
        (
            Subject("memory", "ours"),
            *((Subject("memory, fast lane off", "ours", {"fast_lane": False}),) if tasks == 1 else ()),
            Subject("SQLite", "ours", {"store": "sqlite"}),
            Subject("Redis", "ours", {"store": "redis", "near_tier_s": 60.0}),
        ),
        {"urls": 100, "tasks": tasks},
        quick_parameters={} if tasks == 1 else None,
    )


def _other_hits(store: str, tasks: int) -> Scenario:
    """Hits of a store in `OTHER_STORES`, with bodies of 10 kB and without the near tier."""
    title, bare, batch, peers = OTHER_STORES[store]
    return Scenario(
        f"{store}-{tasks}",
        f"{title} hit, {'one at a time' if tasks == 1 else f'{tasks} tasks'} (floor: {bare if tasks == 1 else batch})",
        "hits",
        (
            Subject(FLOOR, f"floor-{store}", {"batched": tasks > 1}),
            Subject(OURS, "ours", {"store": store}),
            *(Subject(peer, "relative", {"store": store}) for peer in peers),
        ),
        {"urls": 128, "tasks": tasks},
        rounds=4,
        quick_rounds=2,
        quick_parameters={"urls": 64},
    )


def _other_misses(store: str) -> Scenario:
    """Misses compared with those in memory: the store takes the difference. The floor is one write and one read."""
    title, *_, peers = OTHER_STORES.get(store, ("Redis", "", "", (RELATIVE,)))
    return Scenario(
        f"{store}-miss",
        f"{title} cold miss until it is answered, when the last one is stored (floor: a bare write and a bare read)",
        "misses",
        (
            Subject("aiohttp", "aiohttp"),
            Subject("memory", "ours"),
            Subject(FLOOR, f"floor-{store}"),
            Subject(OURS, "ours", {"store": store}),
            *(Subject(peer, "relative", {"store": store}) for peer in peers),
        ),
        {"tasks": 1, "requests": 60, "apart": True},
        rounds=8,
        quick_rounds=2,
        quick_parameters={"requests": 40},
    )


OTHER_STORES: Mapping[str, tuple[str, str, str, tuple[str, ...]]] = {
    "filesystem": ("files", "one read in a thread", "one hop for the files of a tick", (RELATIVE,)),
    "mongodb": ("MongoDB", "one find_one", "one find per tick", (RELATIVE,)),
    "dynamodb": ("DynamoDB", "one GetItem", "one BatchGetItem per tick", ()),
}
"""Title, bare call, bare batch, and peers; there is none for DynamoDB: it needs an aiobotocore that ours cannot use."""

LARGE = 10 * 1024 * 1024

SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        "memory",
        "memory hit, one URL (floor: a ClientSession subclass that answers from a dict)",
        "hits",
        (
            Subject(FLOOR, "floor-session"),
            Subject(OURS, "ours"),
            Subject("middleware floor", "floor-middleware"),
            Subject(f"{OURS} middleware only", "ours-middleware"),
            Subject(f"{OURS} fast lane off", "ours", {"fast_lane": False}),
            Subject(RELATIVE, "relative"),
        ),
        rounds=15,
    ),
    Scenario(
        "memory-1000",
        "memory hit, 1,000 URLs in turn",
        "hits",
        (
            Subject(FLOOR, "floor-session"),
            Subject(OURS, "ours"),
            Subject("middleware floor", "floor-middleware"),
            Subject(f"{OURS} middleware only", "ours-middleware"),
            Subject(RELATIVE, "relative"),
        ),
        {"urls": 1000},
        quick_parameters=None,
    ),
    Scenario(
        "standard",
        "memory hit that follows RFC 9111 (cache_control=True)",
        "hits",
        (
            Subject(OURS, "ours", {"cache_control": True}),
            Subject(f"{OURS} middleware only", "ours-middleware", {"cache_control": True}),
        ),
    ),
    *(_hits("sqlite", tasks) for tasks in (1, 64, 1000)),
    *(_hits("redis", tasks) for tasks in (1, 64, 1000)),
    *(_other_hits(store, tasks) for store in OTHER_STORES for tasks in (1, 64)),
    *map(_other_misses, (*OTHER_STORES, "redis")),
    Scenario(
        "filesystem-large",
        "hit of 10 MiB in files, one at a time (floor: reading such a file in a thread)",
        "hits",
        (
            Subject(FLOOR, "floor-filesystem", {"body": LARGE}),
            Subject(OURS, "ours", {"store": "filesystem", "max_body_bytes": 2 * LARGE}),
        ),
        {"urls": 4, "body": LARGE, "settled_s": 0.3},
        rounds=8,
        quick_rounds=4,
        quick_parameters={"target_s": 0.15},
    ),
    Scenario(
        "body",
        "hit by size of its body, one at a time",
        "hits",
        tuple(
            Subject(f"{title} {size:,} B", "ours", options, {"body": size})
            for title, options in (
                ("memory", {}),
                ("SQLite", {"store": "sqlite", "near_tier": False}),
                ("Redis", {"store": "redis"}),
            )
            for size in (1000, 10_000, 100_000, 1_000_000)
        ),
        {"urls": 20},
        rounds=6,
        quick_parameters=None,
    ),
    _hot("near", 1),
    _hot("near-64", 64),
    _hot("near-1000", 1000),
    Scenario(
        "flood-1000",
        "Redis hits by 1,000 tasks at once",
        "flood",
        tuple(
            Subject(label, client, {"store": "redis"})
            for label, client in ((OURS, "ours"), (RELATIVE, "relative"), (HISHEL, "hishel"))
        ),
        {"tasks": 1000},
        rounds=2,
        quick_rounds=1,
    ),
    Scenario(
        "flood-10000",
        "Redis hits by 10,000 tasks at once",
        "flood",
        (Subject(OURS, "ours", {"store": "redis"}),),
        {"tasks": 10_000},
        rounds=3,
        quick_parameters=None,
    ),
    _misses("miss", 32, rounds=16),
    _misses("miss-1", 1, rounds=8),
    Scenario(
        "contention",
        "hits while 4 processes of 8 tasks each request stored and new URLs, with one SQLite file",
        "contention",
        (
            Subject(INSTALLED, "ours", {"store": "sqlite"}),
            Subject(OURS, "ours", {"store": "sqlite", "near_tier": False}),
        ),  # no peer: with aiohttp-client-cache, requests fail, as the database is locked
        {"processes": 4, "tasks": 8, "seconds": 2},
        rounds=3,
        quick_rounds=1,
        quick_parameters={"seconds": 0.5},
        alone_parameters={"seconds": 15},
    ),
    Scenario(
        "following",
        "after the commit of a response until it answers a request that waits for it in another process",
        "following",
        (Subject("SQLite", "ours", {"store": "sqlite"}),),
        {"requests": 20},
        rounds=3,
        quick_rounds=1,
        quick_parameters={"requests": 5},
    ),
    Scenario(
        "first-byte",
        "first byte of a miss whose body takes 50 ms more",
        "first-byte",
        (Subject("aiohttp", "aiohttp"), Subject(OURS, "ours"), Subject(RELATIVE, "relative")),
        rounds=6,
        quick_rounds=2,
    ),
    Scenario(
        "asked",
        "cold miss until the origin is asked, with 1 ms to Redis and 1 ms back (floor: one GET before)",
        "asked",
        (
            Subject("aiohttp", "aiohttp"),
            Subject(FLOOR, "floor-look-up"),
            *(Subject(label, client, {"store": "redis"}) for label, client in ((OURS, "ours"), (RELATIVE, "relative"))),
        ),
        {"requests": 20},
        rounds=10,
        quick_rounds=2,
    ),
    Scenario(
        "key",
        "create_key, ten parameters",
        "key",
        (
            Subject(OURS, "ours"),
            Subject(RELATIVE, "relative"),
            Subject(f"{OURS} new URL", "ours", parameters={"new": True}),
            Subject(f"{RELATIVE} new URL", "relative", parameters={"new": True}),
        ),
        quick_parameters={"keys": 500},
    ),
    Scenario(
        "import",
        "import",
        "import",
        (
            Subject("aiohttp", "aiohttp"),
            Subject(OURS, "aiohttp_cache_di"),
            Subject(RELATIVE, "aiohttp_client_cache"),
            Subject(HISHEL, "hishel.httpx"),
        ),
        rounds=6,
        quick_rounds=2,
    ),
    Scenario(
        "fastapi",
        "FastAPI route with one cached GET (uvicorn, 1 worker, 32 connections)",
        "load",
        (
            *(Subject(f"{OURS} {store}", "ours", {"store": store}) for store in ("memory", "sqlite", "redis")),
            Subject(f"{OURS} sqlite, near tier off", "ours", {"store": "sqlite", "near_tier": False}),
            *(Subject(f"{RELATIVE} {store}", "relative", {"store": store}) for store in ("memory", "sqlite")),
            Subject(f"{HISHEL} sqlite", "hishel", {"store": "sqlite"}),
        ),
        {"seconds": 0.45},
        rounds=4,
        quick_rounds=1,
        quick_parameters={"seconds": 0.15},
    ),
    Scenario(
        "entries-memory",
        "memory hit among so many entries (through the middleware)",
        "filled",
        tuple(
            Subject(f"{count:,}", "ours", {"fast_lane": False, "max_bytes": None}, {"entries": count})
            for count in (1000, 100_000, 1_000_000)
        ),
        {"body": 96},
        rounds=15,
        quick_parameters=None,
    ),
    Scenario(
        "entries-sqlite",
        "SQLite hit among so many entries, one at a time",
        "filled",
        tuple(
            Subject(
                f"{count:,}",
                "ours",
                {"store": "sqlite", "near_tier": False, "max_bytes": None},
                {"entries": count},
            )
            for count in (1000, 100_000)
        ),
        {"body": 2000},
        quick_parameters=None,
    ),
    Scenario(
        "weight",
        "memory per entry beside its 2 kB body, eight headers",
        "weight",
        (
            Subject(OURS, "ours", {"max_bytes": None}),
            Subject(RELATIVE, "relative", parameters={"entries": 6000}),
        ),
        {"entries": 40_000, "body": 2000},
        rounds=1,
        quick_parameters=None,
    ),
    Scenario(
        "file",
        "SQLite file over the bodies and headers in it",
        "size",
        tuple(
            Subject(f"{count:,} entries of {body:,} bytes", "ours", {}, {"entries": count, "body": body})
            for count, body in ((100_000, 2000), (10_000, 10_000))
        ),
        rounds=1,
        quick_parameters=None,
    ),
    Scenario(
        "expire",
        "deleting the expired half of 100,000 entries of 2 kB",
        "expire",
        tuple(Subject(store, "ours", {"store": store}) for store in ("memory", "sqlite", "redis")),
        {"entries": 100_000, "body": 2000},
        rounds=1,
        quick_parameters=None,
    ),
    Scenario(
        "iterate",
        "memory for walking over 20,000 entries of 2 kB, as a share of them",
        "iterate",
        tuple(Subject(store, "ours", {"store": store}) for store in ("sqlite", "redis")),
        {"entries": 20_000, "body": 2000},
        rounds=1,
        quick_parameters=None,
    ),
)
