"""The plugin as a user's project meets it: a pytest in a process of its own, with warnings as errors."""

from __future__ import annotations

import http.server
import importlib.metadata
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiohttp_cache_di import testing
from tests.testing.projects import Project


class Upstream(http.server.BaseHTTPRequestHandler):
    """Answers every GET with how often its path was asked for."""

    counts: dict[str, int] = {}  # noqa: RUF012  # of one test each

    def do_GET(self) -> None:
        self.counts[self.path] = self.counts.get(self.path, 0) + 1
        body = f"{self.path} {self.counts[self.path]}".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # the name of the base
        pass


@pytest.fixture
def upstream() -> Iterator[str]:
    Upstream.counts = {}
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


RECORDED = """
import asyncio
import os

import pytest
from aiohttp_cache_di import CachedSession

UPSTREAM = os.environ["UPSTREAM"]


def ask(path, **options):
    async def asking():
        async with CachedSession() as session, session.get(UPSTREAM + path, **options) as response:
            return await response.text()

    return asyncio.run(asking())


@pytest.fixture
def before():
    return ask("/before")


@pytest.fixture
def after():
    yield
    assert ask("/after") == "/after 1"


@pytest.mark.recorded
def test_plain(before, after, recording):
    assert before == "/before 1"
    assert ask("/a") == "/a 1"
    assert recording.misses == []


@pytest.mark.recorded(filter_query=["who"])
@pytest.mark.parametrize("path", ["/x/y", "/z"])
class TestOfAClass:
    def test_of_a_method(self, path):
        assert ask(path + "?who=me") == f"{path}?who=me 1"


@pytest.mark.recorded("shared/one.yaml", mode="once")
def test_with_a_mode_of_its_own():
    assert ask("/own") == "/own 1"


@pytest.mark.skipif("FAIL" not in os.environ, reason="fails on purpose")
@pytest.mark.recorded
def test_that_fails():
    assert ask("/failing") == "1"


@pytest.mark.skipif("SWALLOW" not in os.environ, reason="fails on purpose")
@pytest.mark.recorded
def test_that_swallows():
    try:
        ask("/other")
    except Exception:
        pass


@pytest.mark.recorded
@pytest.mark.parametrize("form", ["yml", "har"])
def test_from_elsewhere(form):
    async def asking():
        async with CachedSession() as session, session.get("https://api.example.com/there") as response:
            return await response.text()

    assert asyncio.run(asking()) == form


def test_that_is_not_marked():
    pass
"""


VCR = """
interactions:
- request: {body: null, headers: {}, method: GET, uri: 'https://api.example.com/there'}
  response: {body: {string: yml}, headers: {}, status: {code: 200, message: OK}}
version: 1
"""
HAR = """{"log": {"entries": [{
    "request": {"method": "GET", "url": "https://api.example.com/there", "headers": []},
    "response": {"status": 200, "headers": [], "content": {"text": "har"}}}]}}"""


def test_recorded_tests_from_the_first_run_to_the_next(tmp_path: Path, upstream: str) -> None:
    place = "cassettes/test_a/test_from_elsewhere"
    project = Project(
        tmp_path, {"test_a.py": RECORDED, "pytest.ini": INI, f"{place}[yml].yml": VCR, f"{place}[har].har": HAR}
    )

    first = project.run("--record-mode=once", UPSTREAM=upstream, FAIL="1")
    first.failed("1 failed, 7 passed, 1 skipped")
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.yaml")}
    assert files == {
        "cassettes/test_a/test_plain.yaml",
        "cassettes/test_a/TestOfAClass.test_of_a_method[-x-y].yaml",
        "cassettes/test_a/TestOfAClass.test_of_a_method[-z].yaml",
        "shared/one.yaml",
    }
    assert "who=REDACTED" in project.read("cassettes/test_a/TestOfAClass.test_of_a_method[-z].yaml")
    Upstream.counts.clear()

    later = project.run("--block-network", UPSTREAM=upstream, SWALLOW="1")
    later.failed(
        "1 failed, 7 passed, 1 skipped",
        "test_that_swallows - ",
        "UnrecordedRequestError",
        "there is no such file; pytest --record-mode=once records it",
    )
    assert Upstream.counts == {}
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.yaml")} == files


SHARED = """
import asyncio
import os

import pytest
from aiohttp_cache_di import CachedSession

pytestmark = pytest.mark.recorded("shared.yaml")


@pytest.mark.parametrize("path", os.environ["PATHS"].split())
def test_it(path):
    async def asking():
        async with CachedSession() as session, session.get("UPSTREAM" + path) as response:
            assert (await response.text()).startswith(path)

    asyncio.run(asking())
    assert path != os.environ.get("FAILS")
"""


def test_tests_of_one_run_that_share_a_recording_add_to_it(tmp_path: Path, upstream: str) -> None:
    project = Project(tmp_path, {"test_a.py": SHARED.replace("UPSTREAM", upstream), "pytest.ini": INI})

    project.run("--record-mode=once", PATHS="/a /b /a").passed(3)
    assert Upstream.counts == {"/a": 1, "/b": 1}
    project.run(PATHS="/a /b").passed(2)

    project.run("--record-mode=rewrite", PATHS="/b /c").passed(2)
    project.run(PATHS="/b /c").passed(2)
    assert "/a" not in project.read("shared.yaml")

    Upstream.counts.clear()
    project.run("--record-mode=rewrite", PATHS="/b /c /b").passed(3)
    assert Upstream.counts == {"/b": 1, "/c": 1}, "each test replays what the first has recorded"
    project.run(PATHS="/b /c /b").passed(3)

    project.run("--record-mode=rewrite", PATHS="/b /c", FAILS="/b").failed("1 failed, 1 passed")
    project.run(PATHS="/b /c").passed(2)


def test_tests_in_several_folders_may_share_a_recording(tmp_path: Path, upstream: str) -> None:
    shared = SHARED.replace("UPSTREAM", upstream).replace('"shared.yaml"', '"../shared.yaml"')
    files = {f"{folder}/test_{folder}.py": shared.replace("PATHS", f"PATHS_{folder}") for folder in ("a", "b")}
    project = Project(tmp_path, {**files, "pytest.ini": INI})

    project.run("--record-mode=once", PATHS_a="/a", PATHS_b="/b").passed(2)
    project.run(PATHS_a="/a", PATHS_b="/b").passed(2)


WITH_A_STORE = """
import asyncio
import os

import pytest

from aiohttp_cache_di import CachedSession, SQLiteBackend

pytestmark = pytest.mark.recorded


@pytest.mark.parametrize("which", ["first", "second"])
def test_it(which):
    async def asking():
        async with CachedSession(cache=SQLiteBackend("cache.sqlite")) as session:
            async with session.get(os.environ["UPSTREAM"] + "/kept") as response:
                return await response.text()

    asyncio.run(asking())
"""


def test_a_test_that_was_to_be_recorded_and_was_answered_by_a_store_is_named(tmp_path: Path, upstream: str) -> None:
    project = Project(tmp_path, {"test_a.py": WITH_A_STORE, "pytest.ini": INI})

    said = project.run("--record-mode=once", UPSTREAM=upstream).passed(2).said

    assert "test_a.py::test_it[second]: nothing was asked of an upstream" in said
    assert "the fixture cache_in_memory has none" in said
    assert "test_it[first]" not in said


INI = "[pytest]\nfilterwarnings = error\naddopts = --strict-markers\n"

MISUSED = """
import pytest


def changed(text):
    return text


@pytest.mark.recorded(*ARGUMENTS)
def test_it():
    pass
"""
WITHOUT_THE_MARK = """
def test_it(recording):
    pass
"""
FAILS = {
    "'a.yaml', 'b.yaml'": "pytest.mark.recorded takes one path",
    "filter_jsn=['a']": "unknown option filter_jsn (did you mean filter_json?); use filter, filter_headers,",
    "'a.yaml', moode='once'": "unknown option moode (did you mean mode?)",
    "mode='onec'": "mode='onec': use one of none, once, new_episodes, all, rewrite",
    "ignore='a'": "ignore='a': give a collection of names, as in ignore=['a']",
    "ignore=5": "ignore=5: give a collection of names",
    "volatile=[5]": "volatile=[5]: give a collection of names",
    "filter_json={'a': 1}": "filter_json={'a': 1}: give a collection of names",
    "repeat='yes'": "repeat='yes': use True or False",
    "filter='a'": "filter='a': give a function that takes and returns text",
    "5": "5 is not the path of a file",
    "'broken.yaml'": "broken.yaml: this is not a recording",
    "'here'": "Is a directory" if sys.platform != "win32" else "here",
    "'a.txt', mode='once'": "a.txt cannot be recorded into; recordings are written only to files that end in .yaml",
}


def test_a_mark_that_is_misused_says_how_it_is_used(tmp_path: Path) -> None:
    tests = {
        f"test_{number}.py": MISUSED.replace("*ARGUMENTS", f"{arguments}") for number, arguments in enumerate(FAILS)
    }
    project = Project(tmp_path, {"broken.yaml": "- 1", "pytest.ini": INI, "here/a": "", **tests})
    project.write({"test_without.py": WITHOUT_THE_MARK})

    said = project.run().said

    assert f"{len(FAILS) + 1} errors" in said, said
    for words in (*FAILS.values(), "mark it with pytest.mark.recorded"):
        assert words in said, said
    assert "def rules_of" not in said  # an error of the test's, and no traceback of ours


def test_options_of_marks_and_of_the_project_come_together(tmp_path: Path, upstream: str) -> None:
    ini = f"{INI}recorded_filter_query = one\n"
    project = Project(tmp_path, {"test_a.py": TOGETHER, "pytest.ini": ini})

    project.run("--record-mode=once", UPSTREAM=upstream).passed(1)

    written = project.read("cassettes/test_a/TestIt.test_it.yaml")
    assert "/A/B?one=REDACTED&two=REDACTED&three=REDACTED&four=4" in written


TOGETHER = """
import asyncio
import os

import pytest
from aiohttp_cache_di import CachedSession

pytestmark = pytest.mark.recorded(filter_query=["two"], filter=lambda text: text.replace("/a", "/A"))


async def ask(path):
    async with CachedSession() as session, session.get(os.environ["UPSTREAM"] + path) as response:
        assert response.status == 200


@pytest.mark.recorded(filter_query=("three",))
class TestIt:
    @pytest.mark.recorded(filter=[lambda text: text.replace("/b", "/B")])
    def test_it(self):
        asyncio.run(ask("/a/b?one=1&two=2&three=3&four=4"))
"""


WITH_UNITTEST = """
import unittest

import pytest
from aiohttp_cache_di import CachedSession


async def ask(path):
    async with CachedSession() as session, session.get("https://api.example.com" + path) as response:
        return await response.text()


@pytest.fixture(autouse=True)
def faked(request, fake_upstream):
    fake_upstream.get("https://api.example.com/faked", text="faked")


class TestIt(unittest.IsolatedAsyncioTestCase):
    @pytest.mark.recorded("there.yml")
    async def test_recorded(self):
        self.assertEqual(await ask("/there"), "yml")
        self.assertEqual(await ask("/faked"), "faked")
        with self.assertRaisesRegex(AssertionError, "is not recorded in"):
            await ask("/other")

    async def test_without(self):
        self.assertEqual(await ask("/faked"), "faked")
"""


def test_cases_of_unittest_are_recorded_and_what_no_route_answers_may_be(tmp_path: Path) -> None:
    project = Project(tmp_path, {"test_a.py": WITH_UNITTEST, "there.yml": VCR, "pytest.ini": INI})

    project.run().failed("1 failed, 1 passed", "GET https://api.example.com/other is not recorded in")


USED = """
import pytest
from aiohttp_cache_di import CachedSession

URL = "https://api.example.com/a"
pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


async def test_with_anyio(cached_session, fake_upstream, cache_clock, assert_cached, assert_hit):
    route = fake_upstream.get(URL, text="1", headers={"Cache-Control": "max-age=60"})
    for _ in range(2):
        async with cached_session.get(URL) as response:
            assert await response.text() == "1"
    assert_hit(response)
    await assert_cached(URL)
    cache_clock.advance(61)
    async with cached_session.get(URL) as response:
        assert not response.from_cache
    assert route.count == 2


async def test_that_swallows(fake_upstream):
    async with CachedSession() as session:
        try:
            await session.get(URL)
        except Exception:
            pass
"""


def test_fixtures_work_with_anyio_and_an_app_that_swallows_fails(tmp_path: Path) -> None:
    run = Project(tmp_path, {"test_a.py": USED, "pytest.ini": INI}).run("-p", "anyio.pytest_plugin")

    assert "2 passed, 1 error" in run.said, run.said
    run.failed("no route of the fake upstream answers GET https://api.example.com/a, which the app has asked for")


def test_without_a_plugin_for_coroutines_the_session_says_which_are_missing(tmp_path: Path) -> None:
    run = Project(tmp_path, {"test_a.py": "def test_a(cached_session):\n    pass\n", "pytest.ini": INI}).run()

    assert "1 error" in run.said, run.said
    assert "nothing runs one: pip install pytest-asyncio, or anyio for its plugin" in run.said


LISTED = "import sys\nimport aiohttp_cache_di_pytest\nprint(*sorted(sys.modules))"


def test_the_plugin_imports_nothing_until_a_test_uses_it() -> None:
    done = subprocess.run([sys.executable, "-c", LISTED], capture_output=True, text=True, check=True)

    loaded = set(done.stdout.split())
    assert not loaded & {"aiohttp", "aiohttp_cache_di", "yaml", "yarl", "asyncio", "pytest_asyncio"}
    assert "aiohttp_cache_di_pytest" in loaded


UNUSED = """
import sys


def test_nothing_is_imported():
    assert not {"aiohttp", "aiohttp_cache_di", "yaml"} & set(sys.modules)
"""


def test_a_run_that_does_not_use_it_pays_nothing(tmp_path: Path) -> None:
    project = Project(tmp_path, {"test_a.py": UNUSED, "pytest.ini": INI})

    project.run().passed(1)


def test_a_project_may_name_the_fixtures_itself(tmp_path: Path) -> None:
    conftest = 'pytest_plugins = ["aiohttp_cache_di.testing"]\n'
    test = "async def test_it(cached_session):\n    assert not cached_session.closed\n"
    project = Project(tmp_path, {"conftest.py": conftest, "test_a.py": test})

    run = project.run("-p", "pytest_asyncio.plugin", "--asyncio-mode=auto", plugin="", AIOHTTP_CACHE_BACKEND="wrong")
    run.passed(1)


def test_every_public_name_is_there() -> None:
    for name in testing.__all__:
        assert getattr(testing, name).__doc__
    assert set(testing.__all__) <= set(dir(testing))
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        testing.nothing_of_the_kind  # type: ignore[attr-defined]  # noqa: B018  # that there is none is tested


def test_pytest_finds_the_plugin_by_its_entry_point() -> None:
    found = {one.name: one.value for one in importlib.metadata.entry_points(group="pytest11")}

    assert found["aiohttp_cache_di"] == "aiohttp_cache_di_pytest"


PREIMPORTED = """
import sys
import aiohttp_cache_di, aiohttp_cache_di_fastapi, aiohttp_cache_di_web
from _pytest.assertion.rewrite import AssertionRewriter

for module in (aiohttp_cache_di, aiohttp_cache_di_fastapi, aiohttp_cache_di_web):
    assert AssertionRewriter.is_rewrite_disabled(module.__doc__)
"""


def test_pytest_warns_of_no_package_that_is_imported_before_it() -> None:
    subprocess.run([sys.executable, "-c", PREIMPORTED], check=True)


OWN_MARK = """
import pytest

@pytest.mark.recorded(by="alice")
def test_it(request):
    assert request.node.get_closest_marker("recorded").kwargs == {"by": "alice"}
"""


def test_a_mark_recorded_of_the_project_s_own_is_left_alone(tmp_path: Path) -> None:
    ini = "[pytest]\nmarkers =\n    recorded: by whom\n"
    Project(tmp_path, {"pytest.ini": ini, "test_a.py": OWN_MARK}).run().passed(1)


def test_without_pyyaml_only_a_test_that_is_recorded_fails(tmp_path: Path) -> None:
    test = "import pytest\n\n@pytest.mark.recorded\ndef test_a():\n    pass\n\ndef test_b():\n    pass\n"
    files = {"pytest.ini": "[pytest]\n", "yaml.py": "raise ImportError('no yaml')\n", "test_a.py": test}
    run = Project(tmp_path, files).run()
    run.failed("1 passed, 1 error", "aiohttp-cache-di[testing]")
