"""The pytest plugin of aiohttp-cache-di, which pytest loads wherever the package is installed.

Therefore it is a package of its own that imports neither aiohttp nor the cache until a test uses them: other test runs
do not get slower, and coverage sees all imports of an app. Everything it offers is made in `aiohttp_cache_di.testing`.

- ``@pytest.mark.recorded``: responses of upstreams come from a file; ``--record-mode`` says when they are recorded.
- ``--block-network``: connections to other machines are refused.
- Fixtures: ``fake_upstream``, ``cache_seed``, ``assert_cached``, ``assert_not_cached``, ``assert_hit``,
  ``cache_clock``, ``cache_in_memory``, ``cache_container``, ``cached_session``, ``cache_per_worker``, ``recording``.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Awaitable, Callable, Generator
from contextlib import ExitStack
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from aiohttp_cache_di import CacheContainer, CacheSettings
    from aiohttp_cache_di.testing import CacheClock, CacheUnderTest, Cassette, FakeUpstream
    from aiohttp_cache_di.testing.stores import StoreOfWorker

MODES = ("none", "once", "new_episodes", "all", "rewrite")
UNASKED = "aiohttp_cache_di_unasked"  # attribute of a report: the test was to be recorded, but sent no request
NAMES = ("filter_headers", "filter_query", "filter_json", "unfiltered", "match_headers", "ignore", "volatile")


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Add the options, except those that pytest-recording adds with the same names and meanings."""
    parser.addini("recorded_dir", "where recordings are, beside the module of their test", default="cassettes")
    for name in NAMES:
        parser.addini(f"recorded_{name}", f"names for {name}= of every mark recorded", type="args", default=[])
    if not _recording_comes(pluginmanager):
        group = parser.getgroup("aiohttp-cache-di", "responses of upstreams (aiohttp-cache-di)")
        when = "when to record what upstreams answer: none (the default), once, new_episodes, all or rewrite"
        group.addoption("--record-mode", choices=MODES, default=None, help=when)
        group.addoption("--block-network", action="store_true", help="refuse connections to other machines")


def _recording_comes(pluginmanager: pytest.PytestPluginManager) -> bool:
    """Whether pytest-recording is or will be loaded, so that the options would be defined twice."""
    if "pytest_recording.plugin" in sys.modules:
        return True
    environment = [os.environ.get(name, "") for name in ("PYTEST_PLUGINS", "PYTEST_ADDOPTS")]
    if os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD") or "--disable-plugin-autoload" in sys.argv:
        return any("pytest_recording" in text for text in (*sys.argv, *environment))
    return find_spec("pytest_recording") is not None and not pluginmanager.is_blocked("recording")


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark, and block the network if the option says so."""
    config.addinivalue_line(
        "markers",
        "recorded(path=None, *, mode=None, **options): answer requests of sessions with a cache from a recording "
        "(aiohttp-cache-di; docs/testing.md)",
    )
    if config.getoption("--block-network", False):
        from aiohttp_cache_di.testing.network import blocked_network

        stack = ExitStack()
        stack.enter_context(blocked_network())
        config.add_cleanup(stack.close)
    if _is_loaded(config, "asyncio", "pytest_asyncio", "pytest_asyncio.plugin"):
        from aiohttp_cache_di_pytest import with_asyncio

        config.pluginmanager.register(with_asyncio, "aiohttp-cache-di-asyncio")
    elif _is_loaded(config, "anyio", "anyio.pytest_plugin"):
        from aiohttp_cache_di_pytest import with_anyio

        config.pluginmanager.register(with_anyio, "aiohttp-cache-di-anyio")
    else:
        from aiohttp_cache_di_pytest import with_neither

        config.pluginmanager.register(with_neither, "aiohttp-cache-di-without-loop")


def _is_loaded(config: pytest.Config, *names: str) -> bool:
    """Whether a plugin is loaded, under any of *names*."""
    return any(map(config.pluginmanager.hasplugin, names))


@pytest.hookimpl(trylast=True)  # after other hooks, which may mark tests
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Register the hooks for recordings if a test is marked."""
    name = "aiohttp-cache-di-recorded"
    if _is_of_the_project(config) or config.pluginmanager.has_plugin(name):
        return
    if any(item.get_closest_marker("recorded") is not None for item in items):
        try:
            from aiohttp_cache_di_pytest.recorded import RecordedTests
        except ImportError as error:  # without PyYAML only the marked tests fail
            config.pluginmanager.register(_CannotRecord(error), name)
        else:
            config.pluginmanager.register(RecordedTests(config), name)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List the tests that were to be recorded but sent no request, perhaps because an older cache answered."""
    ended = terminalreporter.stats.get("", ())  # the category of passed set-ups and tear-downs
    unasked = [report.nodeid for report in ended if getattr(report, UNASKED, False)]
    if unasked:
        terminalreporter.section("not recorded")
        for test in unasked:
            terminalreporter.line(f"{test}: nothing was asked of an upstream")
        terminalreporter.line("A cache that outlives a test may have answered: the fixture cache_in_memory has none.")


def _is_of_the_project(config: pytest.Config) -> bool:
    """Whether the project has a mark ``recorded`` of its own."""
    names = [re.split(r"[:(]", line, maxsplit=1)[0].strip() for line in config.getini("markers")]
    return names.count("recorded") > 1


class _CannotRecord:
    def __init__(self, why: ImportError) -> None:
        self._why = why

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        if item.get_closest_marker("recorded") is not None:
            raise self._why


# ---- which store


@pytest.fixture
def cache_in_memory() -> Generator[CacheSettings]:
    """Make the app's containers keep responses in memory, initially empty, whatever the environment says."""
    from aiohttp_cache_di.testing import in_memory

    with in_memory() as settings:
        yield settings


@pytest.fixture
def cache_container(cache_in_memory: CacheSettings) -> CacheContainer:
    """Make a container that keeps responses in memory."""
    from aiohttp_cache_di import CacheContainer

    return CacheContainer()


@pytest.fixture(scope="session")
def _store_of_worker(tmp_path_factory: pytest.TempPathFactory) -> Generator[StoreOfWorker]:
    from aiohttp_cache_di.testing.stores import StoreOfWorker

    with StoreOfWorker(directory=tmp_path_factory.mktemp("aiohttp-cache")) as store:
        yield store


@pytest.fixture
def cache_per_worker(_store_of_worker: StoreOfWorker) -> Generator[str]:
    """Make the app's containers use the configured kind of store, a separate one for each worker of xdist.

    It is deleted at the end of the test run.
    """
    with _store_of_worker.used():
        yield _store_of_worker.worker


# ---- upstreams


@pytest.fixture
def fake_upstream() -> Generator[FakeUpstream]:
    """Answer the requests of the app's sessions from a server on this machine; see `FakeUpstream`."""
    from aiohttp_cache_di.testing import FakeUpstream, UnexpectedRequestError

    with FakeUpstream() as upstream:
        yield upstream
    if upstream.unexpected:
        asked = ", ".join(map(str, upstream.unexpected))
        raise UnexpectedRequestError(f"no route of the fake upstream answers {asked}, which the app has asked for")


@pytest.fixture
def recording(request: pytest.FixtureRequest) -> Cassette:
    """Return the recording of a test that is marked ``recorded``."""
    from aiohttp_cache_di_pytest.recorded import CASSETTE

    item: pytest.Item = request.node
    found = item.stash.get(CASSETTE, None)
    if found is None:
        raise pytest.UsageError(f"{item.nodeid} takes the fixture recording: mark it with pytest.mark.recorded")
    return found


# ---- what is in the cache


@pytest.fixture
def _cache_under_test() -> Generator[CacheUnderTest]:
    from aiohttp_cache_di.testing import CacheUnderTest

    with CacheUnderTest() as cache:
        yield cache


@pytest.fixture
def cache_seed(_cache_under_test: CacheUnderTest) -> Callable[..., None]:
    """Put a response into the cache of the app's sessions; see `CacheUnderTest.seed`."""
    return _cache_under_test.seed


@pytest.fixture
def assert_cached(_cache_under_test: CacheUnderTest) -> Callable[..., Awaitable[None]]:
    """Assert that the response for a URL is stored; see `CacheUnderTest.assert_cached`."""
    return _cache_under_test.assert_cached


@pytest.fixture
def assert_not_cached(_cache_under_test: CacheUnderTest) -> Callable[..., Awaitable[None]]:
    """Assert that no response for a URL is stored; see `CacheUnderTest.assert_not_cached`."""
    return _cache_under_test.assert_not_cached


@pytest.fixture
def assert_hit() -> Callable[[Any], None]:
    """Assert that a response came from the cache; see `aiohttp_cache_di.testing.assert_hit`."""
    from aiohttp_cache_di.testing import assert_hit

    return assert_hit


@pytest.fixture
def cache_clock() -> Generator[CacheClock]:
    """Let entries age without waiting; see `CacheClock`."""
    from aiohttp_cache_di.testing import CacheClock

    with CacheClock() as clock:
        yield clock
