"""The process of one implementation: it prepares a workload, reports that it is ready, and runs rounds on request."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
from importlib import import_module
from typing import Any

from benchmarks import workloads
from benchmarks.clients import Place

__all__ = ["main"]


async def _open(stack: contextlib.AsyncExitStack, spec: dict[str, Any]) -> workloads.Round:
    make = workloads.WORKLOADS[spec["workload"]]
    place = Place(**spec["place"])
    return await stack.enter_async_context(make(spec["client"], place, spec["options"], spec["parameters"]))


def main() -> None:
    """Run a round for each line on standard input, and print its figures as a line of JSON; first ``{}`` when ready."""
    spec = json.loads(sys.argv[1])
    logging.disable()  # a peer that fails a thousand times would log it a thousand times
    loop_factory = import_module("uvloop").new_event_loop if spec.get("uvloop") else None
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        stack = contextlib.AsyncExitStack()
        try:
            run_round = runner.run(_open(stack, spec))
            print("{}", flush=True)
            for _ in sys.stdin:
                print(json.dumps(runner.run(run_round())), flush=True)
        finally:
            runner.run(stack.aclose())


if __name__ == "__main__":
    main()
