"""Fill in the figures on pages of the documentation from the results of runs: ``python -m benchmarks.readme``.

These are the tables and some sentences of `README.md` in this directory, and a row of docs/stores.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks import interpreters, profiles
from benchmarks.aims import MISSES, Found, added_us, round_trips
from benchmarks.plan import FLOOR, INSTALLED, OTHER_STORES, OURS, RELATIVE, SCENARIOS
from benchmarks.report import aims_markdown, from_json, judged_again, write_json

__all__ = ["MADE", "NOT_MEASURED", "PAGE", "RESULTS", "STORES_PAGE", "filled", "filled_stores", "main"]

PAGE = Path(__file__).with_name("README.md")
STORES_PAGE = Path(__file__).parents[1] / "docs" / "stores.md"
RESULTS = Path(__file__).parent / "results" / "results.json"
NOTHING = "-"
NOT_MEASURED = "Not measured in the run above."
TIMES = "\N{MULTIPLICATION SIGN}"


def _us(found: Found, scenario: str, subject: str) -> str:
    """A time in microseconds, with three significant digits below 100; "-" if it was not measured."""
    measured = found[scenario].get(subject)
    if measured is None:
        return NOTHING
    value = measured.best["us"]
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    return "\n".join([_row(head), f"|---|{'---:|' * (len(head) - 1)}", *map(_row, rows)])


def _entries(found: Found) -> str:
    counts = ("1,000", "100,000", "1,000,000")
    return _table(
        ["entries", *counts],
        [
            [title, *(_us(found, scenario, count) for count in counts)]
            for title, scenario in (
                ("memory, through the middleware", "entries-memory"),
                ("SQLite, one at a time", "entries-sqlite"),
            )
        ],
    )


def _bodies(found: Found) -> str:
    sizes = ("1,000 B", "10,000 B", "100,000 B", "1,000,000 B")
    return _table(
        ["body", "1 kB", "10 kB", "100 kB", "1 MB"],
        [
            [store, *(_us(found, "body", f"{store} {size}") for size in sizes)]
            for store in ("memory", "SQLite", "Redis")
        ],
    )


def _concurrency(found: Found) -> str:
    rows = [
        [title, *(_us(found, f"{store}-{tasks}", subject) for subject in (label, "floor") for tasks in (1, 64, 1000))]
        for title, store, label in (
            ("SQLite as installed", "sqlite", INSTALLED),
            ("SQLite, from the file", "sqlite", OURS),
            ("Redis", "redis", OURS),
        )
    ]
    return _table(["per hit", "1 task", "64", "1,000", "floor: 1", "64", "1,000"], rows)


def _misses(found: Found, scenario: str = "miss") -> str:
    rows = [
        [
            label.replace(OURS, "this package,"),
            _us(found, scenario, label),
            f"{measured.best['cpu_us']:,.0f}",
            f"{added_us(found, label, 'httpx' if label.startswith('hishel') else 'aiohttp', scenario=scenario):,.0f}",
        ]
        for label, measured in found[scenario].items()
    ]
    return _table(["", "by the clock", "processor", "added to aiohttp (hishel: to httpx)"], rows)


def _misses_alone(found: Found) -> str:
    return _misses(found, "miss-1")


def _hot(found: Found) -> str:
    scenarios = ("near", "near-64", "near-1000")
    rows = [
        [
            store,
            f"{found['near'][store].best['cpu_us']:.3g}",
            *(f"{found[name][store].best['cpu_us'] / found[name]['memory'].best['cpu_us']:.2f}x" for name in scenarios),
        ]
        for store in ("memory", "SQLite", "Redis")
    ]
    return _table(["", "processor, one at a time", "over memory", "64 tasks", "1,000 tasks"], rows)


def _over(found: Found, scenario: str, subject: str = OURS) -> str:
    """The time of *subject* as a multiple of the floor's."""
    figures = found[scenario]
    return f"{figures[subject].best['us'] / figures[FLOOR].best['us']:.1f}"


def _others(found: Found) -> str:
    rows = [
        [
            title,
            *(
                cell
                for tasks in (1, 64)
                for cell in (
                    _us(found, f"{store}-{tasks}", OURS),
                    _us(found, f"{store}-{tasks}", FLOOR),
                    f"{_over(found, f'{store}-{tasks}')}x",
                    _us(found, f"{store}-{tasks}", RELATIVE),
                )
            ),
        ]
        for store, (title, *_) in OTHER_STORES.items()
    ]
    head = [name for tasks in ("1 task", "64 tasks") for name in (tasks, "floor", "", RELATIVE)]
    return _table(["per hit", *head], rows)


def _sizes(found: Found) -> str:
    weights, files, expired = found["weight"], found["file"], found["expire"]
    ratios = [measured.best["ratio"] for measured in files.values()]
    took = [expired[store].median["s"] for store in ("memory", "sqlite", "redis")]
    stalls = [expired[store].median["stall_ms"] for store in ("memory", "sqlite", "redis")]
    return (
        f"An entry in memory costs its body and {weights[OURS].median['bytes']:,.0f} bytes "
        f"({RELATIVE}: {weights[RELATIVE].median['bytes']:,.0f}).\n"
        f"A SQLite file is {ratios[0]:.2f} times as large as the bodies and header lines in it at 2 kB, "
        f"{ratios[1]:.2f} times at 10 kB.\n"
        f"Deleting the expired half of 100,000 entries takes {took[0]:.2g} s in memory, {took[1]:.2g} s in SQLite and "
        f"{took[2]:.2g} s in Redis,\nin steps between which others run; the longest takes "
        f"{stalls[0]:.1f}, {stalls[1]:.1f} and {stalls[2]:.1f} ms."
    )


def _first_byte(found: Found) -> str:
    ours, relative, bare = (found["first-byte"][name].best["us"] / 1000 for name in (OURS, RELATIVE, "aiohttp"))
    return (
        f"The first byte of a body that takes 50 ms more comes {ours - bare:.1f} ms later than aiohttp's; "
        f"with {RELATIVE}, {relative - bare:.0f} ms later."
    )


def _round_trips(found: Found) -> str:
    bare, ours, relative = (found["asked"][name].best["us"] / 1000 for name in ("aiohttp", OURS, RELATIVE))
    return (
        f"aiohttp alone asks the origin after {bare:.2f} ms, this package after {ours:.2f} ms "
        f"({round_trips(found, OURS):.1f} round trips),\n"
        f"{RELATIVE} after {relative:.2f} ms ({round_trips(found, RELATIVE):.1f} round trips)."
    )


def _contention(found: Found) -> str:
    rows = [
        [
            label,
            *(f"{measured.median[name]:,.3g}" for name in ("median_ms", "p99_ms", "turn_p99_ms")),
            f"{measured.median['requests']:,.0f}",
            *(f"{measured.worst[name]:,.0f}" for name in ("errors", "lost")),
        ]
        for label, measured in found["contention"].items()
    ]
    head = ["", "median, ms", "p99, ms", "p99 of a turn of the loop, ms", "requests", "failed", "not stored"]
    return _table(head, rows)


def _following(found: Found) -> str:
    measured = found["following"]["SQLite"]
    return (
        f"The other process has answered {measured.median['median_ms']:.1f} ms after the commit (median), "
        f"and {measured.worst['worst_ms']:.1f} ms after it at the latest."
    )


def _run(data: dict[str, Any], found: Found) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in data["versions"].items())
    took = f"It took {data['took_s']:,} s. " if "took_s" in data else ""
    floor = found["memory"]["middleware floor"].best["us"]
    bare = " and ".join(
        f"{misses.bare_us} µs ({misses.title.removeprefix('miss, ')}; here "
        f"{found[scenario]['aiohttp'].best[misses.figure]:,.0f})"
        for scenario, misses in MISSES.items()
        if scenario in found
    )
    return (
        f"Run on {data['system']}, CPython {data['python']}, {packages}.\n"
        f"{took}The microseconds aimed at were set where the floor of a middleware takes 12.8 µs (here {floor:.1f}),\n"
        f"and a request of aiohttp's alone {bare}.\n"
        "So read ratios, not times."
    )


def _interpreters() -> str:
    found: dict[str, dict[str, Any]] = json.loads(interpreters.RESULTS.read_text())
    labels = list(next(iter(found.values())))
    return _table(
        ["processor's time", f"{labels[0]}, µs", *labels[1:]],
        [
            [
                title,
                f"{figures[labels[0]]['median']['cpu_us']:.3g}",
                *(
                    f"{figures[label]['median']['cpu_us'] / figures[labels[0]]['median']['cpu_us']:.2f}x"
                    for label in labels[1:]
                ),
            ]
            for title, figures in found.items()
        ],
    )


def _profiles() -> str:
    found: dict[str, dict[str, float]] = json.loads(profiles.RESULTS.read_text())
    rows: list[list[str]] = []
    for title, shares in found.items():
        ours = {part.removeprefix("ours: "): share for part, share in shares.items() if part.startswith("ours: ")}
        most = ", ".join(f"{part} {100 * share:.0f}" for part, share in list(ours.items())[:4])
        others = {part: share for part, share in shares.items() if not part.startswith(("ours: ", "benchmarks"))}
        rest = ", ".join(f"{part} {100 * share:.0f}" for part, share in others.items())
        rows.append([title, f"{100 * sum(ours.values()):.0f} %{f': {most}' if most else ''}", rest])
    return "\n".join(["| | ours | others, % |", "|---|---|---|", *map(_row, rows)])


def _routes(found: Found) -> str:
    rows = [
        [label, f"{1e6 / measured.median['us']:,.0f}", f"{100 * (1 - measured.median['lost']):.0f} %"]
        for label, measured in found["fastapi"].items()
    ]
    return _table(["", "requests/s", "of the same app's constant route"], rows)


MADE: dict[str, Callable[[Found], str]] = {
    "entries": _entries,
    "sizes": _sizes,
    "bodies": _bodies,
    "concurrency": _concurrency,
    "hot": _hot,
    "misses": _misses,
    "misses-alone": _misses_alone,
    "first-byte": _first_byte,
    "round-trips": _round_trips,
    "contention": _contention,
    "following": _following,
    "others": _others,
    "routes": _routes,
}


def _made(make: Callable[[Found], str], found: Found) -> str:
    try:
        return make(found)
    except KeyError as error:
        if error.args[0] not in {scenario.name for scenario in SCENARIOS}:
            raise
        return NOT_MEASURED  # the run is older than the scenario


def filled(page: str, data: dict[str, Any]) -> str:
    """*page* with the figures of the run *data*, and of the saved runs of `interpreters` and `profiles`."""
    found = from_json(data)
    made = {name: _made(make, found) for name, make in MADE.items()}
    made |= {"aims": aims_markdown(data), "run": _run(data, found)}
    made |= {"interpreters": _interpreters(), "profiles": _profiles()}
    for name, text in made.items():
        page, count = re.subn(rf"(<!-- {name} -->\n).*?(<!-- end -->)", rf"\g<1>{text}\n\g<2>", page, flags=re.DOTALL)
        if count != 1:
            raise ValueError(f"the page has {count} places for {name!r}, not one")
    return page


def filled_stores(page: str, data: dict[str, Any]) -> str:
    """*page*, docs/stores.md, with the factors of the run *data* in the row about hits."""
    found = from_json(data)
    factors = {store: f"{_over(found, f'{store}-1')} {TIMES}" for store in ("sqlite", "redis", *OTHER_STORES)}
    cells = [
        f"{found['memory'][OURS].best['us']:.0f} µs",
        f"{factors['sqlite']} a switch to its thread (with copies: {_over(found, 'sqlite-1', INSTALLED)} {TIMES})",
        f"{factors['filesystem']} reading the file in a thread",
        f"{factors['redis']} a `GET`",
        f"{factors['mongodb']} a `find_one`",
        f"{factors['dynamodb']} a `GetItem`",
    ]
    title = "a hit, one at a time"
    page, count = re.subn(rf"^\| {title} \|.*$", _row([title, *cells]), page, flags=re.MULTILINE)
    if count != 1:
        raise ValueError(f"the page has {count} rows {title!r}, not one")
    return page


def main() -> None:
    """Compare the saved run with the current aims, and write its figures into the pages."""
    data = judged_again(json.loads(RESULTS.read_text()))
    write_json(RESULTS, data)
    PAGE.write_text(filled(PAGE.read_text(), data))
    STORES_PAGE.write_text(filled_stores(STORES_PAGE.read_text(), data))


if __name__ == "__main__":
    main()
