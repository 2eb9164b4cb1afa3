"""Interleaved rounds: each implementation has its own process, and they run one round each in turn: A B C A B C."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TypeAlias

__all__ = ["Measured", "Round", "Subject", "Worker", "measure"]

Round: TypeAlias = Callable[[], Coroutine[Any, Any, dict[str, float]]]
"""Runs one round and returns its figures by name; ``us`` is the time per operation in microseconds."""

STOP_WITHIN_S = 30.0


@dataclass(frozen=True)
class Subject:
    """One implementation in a scenario.

    Args:
        label: its name in tables.
        client: its name in `benchmarks.clients`.
        options: the options of that client.
        parameters: parameters of the workload that replace those of the scenario.
        python: the interpreter that runs it; by default this one.
        uvloop: whether it runs on uvloop.
    """

    label: str
    client: str
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    python: str = sys.executable
    uvloop: bool = False


@dataclass(frozen=True)
class Measured:
    """The figures of one implementation over all rounds, by name."""

    best: dict[str, float]
    median: dict[str, float]
    rounds: int
    worst: dict[str, float] = field(default_factory=dict[str, float])

    @classmethod
    def of(cls, rounds: Sequence[Mapping[str, float]]) -> Measured:
        """Combine the figures of *rounds*."""
        names = rounds[0].keys()
        return cls(
            best={name: min(one[name] for one in rounds) for name in names},
            median={name: statistics.median(one[name] for one in rounds) for name in names},
            rounds=len(rounds),
            worst={name: max(one[name] for one in rounds) for name in names},
        )


class Worker(AbstractContextManager["Worker"]):
    """The process of one implementation, which is started and prepares its workload when this object is made."""

    def __init__(
        self, subject: Subject, workload: str, place: Mapping[str, str], parameters: Mapping[str, Any]
    ) -> None:
        spec = {
            "client": subject.client,
            "workload": workload,
            "place": dict(place),
            "options": dict(subject.options),
            "parameters": {**parameters, **subject.parameters},
            "uvloop": subject.uvloop,
        }
        self._label = subject.label
        self._process = subprocess.Popen(
            [subject.python, "-m", "benchmarks.worker", json.dumps(spec)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def wait_until_ready(self) -> Self:
        """Wait until the process has prepared its workload."""
        self._answer()
        return self

    def run_round(self) -> dict[str, float]:
        """Run a round, and return its figures."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, float]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._label} ended with status {self._process.wait()}")
        figures: dict[str, float] = json.loads(line)
        return figures

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


def measure(
    subjects: Sequence[Subject],
    workload: str,
    parameters: Mapping[str, Any],
    rounds: int,
    place_of: Callable[[Subject], Mapping[str, str]],
) -> dict[str, Measured]:
    """Run *rounds* rounds of every subject, interleaved.

    Args:
        place_of: returns the addresses and the directory of a subject (`benchmarks.clients.Place`).
    """
    with ExitStack() as stack:
        begun = [
            (subject.label, stack.enter_context(Worker(subject, workload, place_of(subject), parameters)))
            for subject in subjects
        ]
        workers = {label: worker.wait_until_ready() for label, worker in begun}
        found: dict[str, list[dict[str, float]]] = {label: [] for label in workers}
        for _ in range(rounds):
            for label, worker in workers.items():
                found[label].append(worker.run_round())
    return {label: Measured.of(figures) for label, figures in found.items()}
