"""Simulate the hit ratio of our eviction policies and others, by cache size: ``python -m benchmarks.simulation``.

The requests are generated from a seed: their popularity follows Zipf's law, sizes and lifetimes are like those of APIs
and sites, and a share of the URLs is requested only once (crawlers, searches). A hit is a fresh entry that is in the
cache. With each policy, expired entries are evicted first, as in our stores.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import math
import random
from dataclasses import dataclass
from typing import Final

from benchmarks.policies import POLICIES, Policy

URLS: Final = 50_000
REQUESTS: Final = 400_000
PER_SECOND: Final = 200.0
ONCE: Final = 0.1  # the share of requests whose URL is requested only once
LIFETIMES_S: Final = ((10, 0.10), (60, 0.20), (300, 0.30), (3_600, 0.25), (86_400, 0.15))
MEDIAN_BYTES, SPREAD = 6_000, 1.3  # sizes have a log-normal distribution
SEED: Final = 20_260


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, its time in seconds, and the size and the lifetime of the response."""

    at: float
    key: str
    size: int
    lifetime_s: float


def requests(alpha: float, *, once: float = ONCE, seed: int = SEED) -> list[Asked]:
    """Generate requests: *alpha* is the exponent of Zipf's law, *once* the share of those with a URL of their own."""
    chance = random.Random(seed)
    weights = list(itertools.accumulate(float(rank) ** -alpha for rank in range(1, URLS + 1)))
    popular = iter(chance.choices(range(URLS), cum_weights=weights, k=REQUESTS))
    spans, shares = zip(*LIFETIMES_S, strict=True)
    sizes = [max(200, int(chance.lognormvariate(0, SPREAD) * MEDIAN_BYTES)) for _ in range(URLS)]
    lifetimes = chance.choices(spans, shares, k=URLS)
    asked: list[Asked] = []
    at = 0.0
    for number in range(REQUESTS):
        at += chance.expovariate(PER_SECOND)
        if chance.random() < once:
            asked.append(Asked(at, str(URLS + number), sizes[number % URLS], lifetimes[number % URLS]))
        else:
            url = next(popular)
            asked.append(Asked(at, str(url), sizes[url], lifetimes[url]))
    return asked


def hit_ratio(policy: Policy, bound: int, asked: list[Asked]) -> float:
    """The share of *asked* that are hits, in a cache of at most *bound* bytes."""
    fresh_until: dict[str, float] = {}
    expiries: list[tuple[float, str]] = []
    hits = 0
    for one in asked:
        if one.key in policy and fresh_until[one.key] > one.at:
            hits += 1
            policy.used(one.key)
            continue
        if one.key in policy:
            policy.drop(one.key)
        if one.size > bound:
            continue
        fresh_until[one.key] = one.at + one.lifetime_s
        heapq.heappush(expiries, (fresh_until[one.key], one.key))
        while policy.total + one.size > bound:
            if expiries and expiries[0][0] <= one.at:
                _, key = heapq.heappop(expiries)
                if key in policy and fresh_until[key] <= one.at:
                    policy.drop(key)
            else:
                policy.evict()
        policy.add(one.key, one.size)
    return hits / len(asked)


def table(alphas: tuple[float, ...], shares: tuple[float, ...]) -> list[str]:
    """The lines of a Markdown table of hit ratios, by policy, and by *alphas* and *shares* of the total size."""
    heads = [f"Zipf {alpha}, {share:.0%}" for alpha in alphas for share in shares]
    rows: dict[str, list[float]] = {name: [] for name in POLICIES}
    for alpha in alphas:
        asked = requests(alpha)
        everything = sum({one.key: one.size for one in asked}.values())
        for share in shares:
            bound = int(everything * share)
            for name, make in POLICIES.items():
                rows[name].append(hit_ratio(make(bound), bound, asked))
    lines = [f"| | {' | '.join(heads)} |", "|---|" + "---:|" * len(heads)]
    lines += [f"| {name} | {' | '.join(f'{ratio:.1%}' for ratio in ratios)} |" for name, ratios in rows.items()]
    return lines


def on_paper(alpha: float = 0.9, *, per_day: float = 1e8, body_bytes: float = 10_000, near_s: float = 5.0) -> list[str]:
    """Compute the load on the origin and on a store without eviction; the lines of a Markdown table.

    If a URL is requested *r* times per second at random times, and its response is fresh for *t* seconds, then
    ``rt / (1 + rt)`` of the requests are hits. Each worker gets its share of *r*. A worker that may use its own copy of
    an entry for *near_s* seconds reads the store only if it has no copy that is younger.

    Args:
        alpha: the exponent of Zipf's law.
        per_day: the number of requests per day.
        body_bytes: the size of a body.
        near_s: how long a worker may use its copy.
    """
    weights = [float(rank) ** -alpha for rank in range(1, URLS + 1)]
    total_per_s = per_day / 86_400
    per_s = [total_per_s * weight / sum(weights) for weight in weights]

    def hits(workers: int, at_most_s: float = math.inf) -> float:
        found: float = sum(
            rate * share * (rate / workers * min(span, at_most_s)) / (1 + rate / workers * min(span, at_most_s))
            for rate in per_s
            for span, share in LIFETIMES_S
        )
        return found / total_per_s

    lines = [
        "| workers | store | hits | origin calls | reads of the store | writes | bytes read |",
        "|---|---|" + "---:|" * 5,
    ]
    for workers in (1, 10, 100):
        for name, is_shared, near in (
            ("memory of each", False, 0.0),
            ("shared, no copies", True, 0.0),
            ("shared, copies for 5 s", True, hits(workers, near_s)),
            ("shared, copies as long as they are fresh (SQLite)", True, hits(workers)),
        ):
            ratio = hits(1 if is_shared else workers)
            reads = (1 - near) * per_day if is_shared else 0.0
            moved = max(0.0, ratio - near) * per_day * body_bytes if is_shared else 0.0
            figures = (f"{value / 1e6:,.1f} M" for value in ((1 - ratio) * per_day, reads, (1 - ratio) * per_day))
            calls, read, written = figures
            lines.append(f"| {workers} | {name} | {ratio:.1%} | {calls} | {read} | {written} | {moved / 1e9:,.0f} GB |")
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Hit ratios by policy and size.")
    parser.add_argument("--alphas", type=float, nargs="*", default=[0.7, 0.9, 1.1])
    parser.add_argument("--shares", type=float, nargs="*", default=[0.01, 0.05, 0.2])
    parser.add_argument("--on-paper", action="store_true", help="what 10^8 requests a day cost, without simulation")
    given = parser.parse_args()
    print("\n".join(on_paper()) if given.on_paper else "\n".join(table(tuple(given.alphas), tuple(given.shares))))
