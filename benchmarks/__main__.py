"""Run the benchmarks: ``python -m benchmarks [--quick] [--only NAME …] [--out DIRECTORY]``."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from benchmarks import chart
from benchmarks.plan import SCENARIOS, Scenario, alone, quick
from benchmarks.report import aims_table, as_json, scenario_table, write_json
from benchmarks.rounds import Measured, measure
from benchmarks.services import Services

__all__ = ["main"]

RESULTS = Path(__file__).parent / "results"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and smaller rounds, and not the largest scenarios")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="these scenarios only, some for longer; nothing is written"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="where results.json and chart.svg go")
    return parser.parse_args()


def _chosen(only: list[str] | None, *, is_quick: bool) -> list[Scenario]:
    known = {scenario.name for scenario in SCENARIOS}
    if unknown := set(only or ()) - known:
        raise SystemExit(f"no such scenario: {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")
    scenarios = [scenario for scenario in SCENARIOS if not only or scenario.name in only]
    if is_quick:
        return [quick(scenario) for scenario in scenarios if scenario.quick_parameters is not None]
    return [alone(scenario) for scenario in scenarios] if only else scenarios


def main() -> None:
    """Run the scenarios, print their tables, and write the results."""
    arguments = _arguments()
    started = time.monotonic()
    print(f"load of the machine before: {os.getloadavg()[0]:.1f}", flush=True)
    found: dict[str, dict[str, Measured]] = {}
    with Services() as services:
        for scenario in _chosen(arguments.only, is_quick=arguments.quick):
            begun = time.monotonic()
            found[scenario.name] = measure(
                scenario.subjects, scenario.workload, scenario.parameters, scenario.rounds, services.place
            )
            services.clear()
            print(f"\n{scenario_table(scenario, found)}\n  {time.monotonic() - begun:.0f} s", flush=True)
    took_s = time.monotonic() - started
    print(f"\n{aims_table(found)}\n\n{took_s:.0f} s", flush=True)
    if not arguments.only:
        arguments.out.mkdir(parents=True, exist_ok=True)
        data = as_json(found, is_quick=arguments.quick, took_s=took_s)
        suffix = "-quick" if arguments.quick else ""
        write_json(arguments.out / f"results{suffix}.json", data)
        if not arguments.quick:
            (arguments.out / "chart.svg").write_text(chart.draw(data))


if __name__ == "__main__":
    main()
