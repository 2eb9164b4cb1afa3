"""Fixtures of the fault-injection suite: stores of every kind, and figures that the summary prints."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from _pytest.terminal import TerminalReporter

from aiohttp_cache_di.backends.base import CacheBackend
from tests.faults.origin import Origin
from tests.stores import STORES, Store, new_store

FIGURES = "figures"

Note = Callable[..., None]


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Print the figures that the scenarios have measured."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.stats.get(outcome, [])]
    lines = [
        f"{report.nodeid.rpartition('::')[2]}: {value}"
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == FIGURES
    ]
    if lines:
        terminalreporter.section("faults: figures")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture(scope="module", autouse=True)
def own_garbage_only() -> None:
    """Exempt the objects of earlier tests from garbage collection, which would stop the loop for 200 ms."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def as_in_a_service(usual_deadline: None) -> None:
    """Use the package's default storage deadline: these tests measure how long a failing store delays requests."""


@pytest.fixture
def note(record_property: Callable[[str, object], None]) -> Note:
    """Record figures for the summary: ``note(failed=0, p99_ms=3.2)``."""

    def write(**figures: object) -> None:
        record_property(FIGURES, ", ".join(f"{name}={_shown(value)}" for name, value in figures.items()))

    return write


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    """Run an origin for this test."""
    async with Origin() as server:
        yield server


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store of each kind, whose bytes can be inspected."""
    return new_store(request.param, request, tmp_path)


@pytest.fixture
async def backend(store: Store) -> AsyncIterator[CacheBackend]:
    """A backend on each kind of store, closed after the test."""
    made = store.backend()
    yield made
    await made.close()
