"""Fixtures for every test."""

from __future__ import annotations

import gc
import os
from collections.abc import AsyncIterator, Generator, Iterator
from functools import wraps
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from aiohttp_cache_di.backends import CacheBackend, configured
from aiohttp_cache_di.backends.redis.connections import connection
from aiohttp_cache_di.backends.sqlite import SQLiteBackend
from aiohttp_cache_di.backends.sqlite.store import SQLiteStore
from aiohttp_cache_di.backends.sqlite.writing import writes
from aiohttp_cache_di.backends.store import Limits
from aiohttp_cache_di.backends.wrap.guarding.guard import DEFAULT_DEADLINE_S
from aiohttp_cache_di.backends.wrap.looking import first_looks
from aiohttp_cache_di.engine import notes
from tests.blocking import allow_blocking, forbid_blocking, no_blocking
from tests.clients import WAYS, Clients
from tests.ministack import MinistackServer, RunningDynamoDB
from tests.origin import Origin
from tests.secantus import RunningMongoDB, SecantusServer
from tests.shared import revive, shared
from tests.stores import PATIENT_S
from tests.valkey import ValkeyServer
from tests.valkey_cluster import ValkeyCluster
from tests.valkey_sentinels import Sentinels

LONG_STALL_MS = 120_000
"""How long a machine may stop altogether before a server that all tests share is replaced by its replica."""

# On a busy machine a single example may be slow.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that runs the whole suite without optimisations, to show that they change no behaviour."""
    without = "no fast lane, write-behind, batches or near tier"
    parser.addoption("--without-shortcuts", action="store_true", help=without)


def pytest_unconfigure() -> None:
    """Allow blocking calls again."""
    allow_blocking()


def pytest_runtest_setup() -> None:
    """Reset the rate limit of log messages, so that each test sees its own."""
    notes._noted.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None]:
    """Fail a test in which the package blocks an event loop."""
    with no_blocking():
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Generator[None]:
    """Fail a test in whose end the package lets an event loop wait."""
    with no_blocking():
        yield


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say which shared server no longer answers after a failed test, and collect no garbage while it is reported.

    pytest parses source code for a report. Before 3.11.8 and 3.12.2, CPython cannot parse while it parses (gh-106905),
    which a collected task does that logs its exception: the SystemError would end the whole run.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        report = yield
    finally:
        if was_enabled:
            gc.enable()
    if report.failed and (said := revive()):
        report.sections.append(("Servers of all tests", said))
    return report


def pytest_configure(config: pytest.Config) -> None:
    """Forbid blocking calls, raise the deadline of stores for busy machines, and turn optimisations off if asked to.

    These are defaults: a test may override each.
    """
    forbid_blocking()
    setattr(configured, "DEFAULT_DEADLINE_S", PATIENT_S)  # noqa: B010  # it is final for the package
    if config.getoption("--without-shortcuts"):
        turn_off(CacheBackend, fast_lane=False, write_behind=False)
        turn_off(SQLiteBackend, near_tier=False)
        SQLiteStore.limits = Limits()
        setattr(first_looks, "MAX_UNDER_WAY", 0)  # noqa: B010  # it is final for the package
        for module, name in ((writes, "MAX_GROUP"), (connection, "BATCH_BYTES")):
            assert getattr(module, name) > 1
            setattr(module, name, 1)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip the tests of optimisations that are turned off, and the slow tests unless ``-m slow`` selects them."""
    if "slow" not in config.option.markexpr:
        for item in items:
            if item.get_closest_marker("slow") is not None:
                item.add_marker(pytest.mark.skip(reason="a long one: -m slow"))
    if config.getoption("--without-shortcuts"):
        for item in items:
            if item.get_closest_marker("shortcuts") is not None:
                item.add_marker(pytest.mark.skip(reason="about what --without-shortcuts turns off"))


def pytest_collection_finish() -> None:
    """Exempt what was collected from garbage collection, which some tests ask for: thousands of tests hold it up."""
    gc.collect()
    gc.freeze()


def turn_off(made: type[CacheBackend], **options: bool) -> None:
    """Replace defaults of the constructor of *made*."""
    init: Any = made.__init__

    @wraps(init)
    def plain(self: CacheBackend, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **{**options, **kwargs})

    made.__init__ = plain  # type: ignore[method-assign]  # to change the defaults of the class


@pytest.fixture
def usual_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the package's own default deadline for operations of a store, not the longer one of the tests."""
    monkeypatch.setattr(configured, "DEFAULT_DEADLINE_S", DEFAULT_DEADLINE_S)


@pytest.fixture
def no_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Isolate settings from the machine's environment variables and from a ``.env`` in the working directory."""
    for name in os.environ:
        if name.upper().startswith("AIOHTTP_CACHE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """Run one Valkey server for the whole test run; each test takes a ``cache_name`` of its own."""
    with ValkeyServer(tmp_path_factory.mktemp("valkey")) as server, shared("valkey", [server]):
        yield server


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyCluster]:
    """Run one Valkey cluster for the whole test run; tests must not stop or freeze its servers."""
    directory = tmp_path_factory.mktemp("cluster")
    with ValkeyCluster(directory, node_timeout_ms=LONG_STALL_MS) as running, shared("cluster", running.nodes):
        yield running


@pytest.fixture(scope="session")
def sentinels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sentinels]:
    """Run sentinels and the two servers that they monitor for the whole test run; tests must not stop or freeze any."""
    with (
        Sentinels(tmp_path_factory.mktemp("sentinels"), down_after_ms=LONG_STALL_MS) as running,
        shared("sentinels", [*running.servers, *running.sentinels]),
    ):
        yield running


@pytest.fixture(scope="session")
def secantus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecantusServer]:
    """Run one server that speaks MongoDB's protocol; each test takes a database of its own."""
    directory, url = tmp_path_factory.mktemp("secantus"), os.environ.get("TEST_MONGODB_URL")
    with RunningMongoDB(directory, url) if url else SecantusServer(directory) as server, shared("secantus", [server]):
        yield server


@pytest.fixture(scope="session")
def ministack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinistackServer]:
    """Run one server that speaks DynamoDB's protocol; each test takes a table of its own."""
    directory, url = tmp_path_factory.mktemp("ministack"), os.environ.get("TEST_DYNAMODB_URL")
    with (
        RunningDynamoDB(directory, url) if url else MinistackServer(directory) as server,
        shared("ministack", [server]),
    ):
        yield server


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[ValkeyServer]:
    """Run a Valkey server for this test alone, which may kill or freeze it."""
    with ValkeyServer(tmp_path) as server:
        yield server


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    """Run an origin on a free port, in the loop of the test."""
    async with Origin() as running:
        yield running


@pytest.fixture(params=WAYS)
async def clients(request: pytest.FixtureRequest) -> AsyncIterator[Clients]:
    """Make clients of each kind that caches (see `tests.clients`)."""
    made = Clients(WAYS[request.param])
    yield made
    await made.close()
