"""Beside other tools for tests: none gets into another's way. `make neighbours` installs them."""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import io
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from aiohttp_cache_di import CachedSession, CacheMiddleware, SQLiteBackend
from aiohttp_cache_di.testing import CacheClock, FakeUpstream, NetworkBlockedError, blocked_network, recorded
from tests.origin import Origin, answer
from tests.testing.projects import Project

URL = "https://api.example.com/rates"
MINUTE = {"Cache-Control": "max-age=60"}


def needed(name: str) -> Any:
    """The module *name*; skips where it is not installed."""
    return pytest.importorskip(name, reason=f"needs {name}: make neighbours")


async def ask(session: ClientSession, url: str = URL, **options: Any) -> tuple[str, bool]:
    async with session.get(url, **options) as response:
        return await response.text(), bool(getattr(response, "from_cache", False))


# ---- vcrpy


@pytest.mark.parametrize("options", [{}, {"expire_after": 60}], ids=["plain", "with options"])
async def test_vcrpy_around_a_session_that_has_hits(options: dict[str, Any], tmp_path: Path, origin: Origin) -> None:
    vcr = needed("vcr")
    url = origin.on("/a", answer("hello"))
    cassette = str(tmp_path / "a.yaml")
    async with CachedSession(cache_control=True) as session:
        await ask(session, url)  # so that there is a hit before there is a cassette
        for _ in range(3):
            with vcr.use_cassette(cassette, record_mode="new_episodes", allow_playback_repeats=True):
                for _ in range(2):
                    assert (await ask(session, url, **options))[0] == "hello"
    assert origin.hits == 1


async def test_vcrpy_answers_a_new_session_which_caches_what_that_gives(tmp_path: Path, origin: Origin) -> None:
    vcr = needed("vcr")
    url = origin.on("/a", answer("hello"))
    cassette = str(tmp_path / "a.yaml")
    for number in range(3):
        async with CachedSession(cache_control=True) as session:
            with vcr.use_cassette(cassette, record_mode="once"):
                assert await ask(session, url) == ("hello", False)
                if number:  # once it plays
                    async with session.get(url) as response:
                        assert response.from_cache
                        assert "; hit" in response.cache_status
    assert origin.hits == 1


async def test_vcrpy_around_a_session_with_the_middleware(tmp_path: Path, origin: Origin) -> None:
    vcr = needed("vcr")
    url = origin.on("/a", answer("hello"))
    for _ in range(2):
        with vcr.use_cassette(str(tmp_path / "a.yaml"), record_mode="once", allow_playback_repeats=True):
            async with ClientSession(middlewares=(CacheMiddleware(),)) as session:
                assert (await ask(session, url))[0] == "hello"
                assert (await ask(session, url))[0] == "hello"
    assert origin.hits == 1


async def test_a_cassette_of_vcrpy_is_read_as_it_is(tmp_path: Path, origin: Origin) -> None:
    vcr = needed("vcr")
    url = origin.on("/a", answer('{"a": 1}', headers={"Content-Type": "application/json"}))
    gone = origin.on("/gone", answer("gone", status=410, reason="Gone"))
    for name, serializer in (("a.yaml", "yaml"), ("a.json", "json")):
        with vcr.use_cassette(str(tmp_path / name), serializer=serializer):
            async with ClientSession() as plain:
                await ask(plain, url)
                await ask(plain, gone)
    hits = origin.hits

    for name in ("a.yaml", "a.json"):
        async with recorded(tmp_path / name), CachedSession(cache_control=True) as session:
            assert json.loads((await ask(session, url))[0]) == {"a": 1}
            async with session.get(gone) as response:
                assert (response.status, await response.text()) == (410, "gone")
    assert origin.hits == hits


SENT: dict[str, dict[str, Any]] = {
    "json": {"json": {"a": 1, "b": [1, 2]}},
    "nothing": {"json": {}},
    "form": {"data": {"a": "1", "b": "x y"}},
    "pairs": {"data": [("a", "1"), ("a", "2")]},
    "text": {"data": '{"a":1}'},
    "bytes": {"data": b"\x00\x01"},
    "headers": {"json": {"a": 1}, "headers": {"Content-Type": "application/json", "X-A": "1"}},
}


async def test_bodies_that_vcrpy_has_recorded_are_found_again(tmp_path: Path, origin: Origin) -> None:
    vcr = needed("vcr")
    url = origin.on("/echo", lambda received: answer(received.body))
    with vcr.use_cassette(str(tmp_path / "a.yaml"), match_on=["method", "uri", "body"]):
        async with ClientSession() as plain:
            for options in SENT.values():
                async with plain.post(url, **options):
                    pass
            async with plain.post(url, data={"f": io.BytesIO(b"xyz")}):
                pass
    hits = origin.hits

    async with recorded(tmp_path / "a.yaml"), CachedSession() as session:
        for name, options in reversed(SENT.items()):
            async with session.post(url, **options) as response:
                assert response.status == 200, name
        async with session.post(url, data={"f": io.BytesIO(b"xyz")}) as response:
            assert b"xyz" in await response.read()
    assert origin.hits == hits


# ---- aiointercept


async def test_what_aiointercept_answers_is_cached() -> None:
    intercept = needed("aiointercept").aiointercept
    async with intercept(mock_external_urls=True) as mocked, CachedSession(cache_control=True) as session:
        mocked.get("http://api.example.com/rates", payload={"EUR": 1}, headers=MINUTE)
        assert await ask(session, "http://api.example.com/rates") == ('{"EUR": 1}', False)
        assert await ask(session, "http://api.example.com/rates") == ('{"EUR": 1}', True)


async def test_what_aiointercept_answers_is_recorded(tmp_path: Path) -> None:
    intercept = needed("aiointercept").aiointercept
    url = "http://api.example.com/rates"
    async with intercept(mock_external_urls=True) as mocked:
        mocked.get(url, payload={"EUR": 1}, headers=MINUTE)
        async with recorded(tmp_path / "a.yaml", "once"), CachedSession() as session:
            assert await ask(session, url) == ('{"EUR": 1}', False)
    async with recorded(tmp_path / "a.yaml"), CachedSession() as session:
        assert await ask(session, url) == ('{"EUR": 1}', False)


# ---- content codings


def module_of(coding: str) -> Any:
    """What codes and decodes *coding*, which aiohttp has asked for as well."""
    if coding == "br":
        return needed("brotli")
    return needed("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")


@pytest.mark.parametrize("coding", ["br", "zstd"])
@pytest.mark.parametrize("decodes", [True, False])
async def test_a_body_in_brotli_or_zstandard_is_recorded_as_text_and_comes_in_its_coding(
    coding: str, decodes: bool, tmp_path: Path, origin: Origin
) -> None:
    module, path, body = module_of(coding), tmp_path / "a.yaml", b"hello " * 100
    content = module.compress(body)
    head = answer(headers={"Content-Encoding": coding, "Content-Length": str(len(content)), **MINUTE})
    url = origin.on("/a", head + content)
    for mode in ("once", "none"):
        async with (
            recorded(path, mode),
            CachedSession() as session,
            session.get(url, auto_decompress=decodes) as response,
        ):
            assert response.headers["Content-Encoding"] == coding
            found = await response.read()
            assert (found if decodes else module.decompress(found)) == body
    assert b"hello hello" in path.read_bytes()
    assert origin.hits == 1


@pytest.mark.parametrize("coding", ["br", "zstd"])
async def test_a_body_that_a_cassette_has_in_its_coding_is_read(coding: str, tmp_path: Path) -> None:
    content = base64.b64encode(module_of(coding).compress(b"hello")).decode()
    cassette = CODED.replace("CODING", coding).replace("CONTENT", content)
    (tmp_path / "a.yaml").write_text(cassette)
    async with recorded(tmp_path / "a.yaml"), CachedSession() as session:
        assert await ask(session) == ("hello", False)


CODED = """
interactions:
- request: {body: null, headers: {}, method: GET, uri: 'https://api.example.com/rates'}
  response:
    body: {string: !!binary CONTENT}
    headers: {Content-Encoding: [CODING]}
    status: {code: 200, message: OK}
version: 1
"""


# ---- clocks


def time_machine() -> Any:
    """The time stands still, until it is shifted."""
    return needed("time_machine").travel("2030-01-01", tick=False)


def freezegun(**options: Any) -> Any:
    """As that, by freezegun."""
    return needed("freezegun").freeze_time("2030-01-01", **options)


def advance(moved: Any, seconds: float) -> None:
    """Move the clock of either."""
    (moved.tick if hasattr(moved, "move_to") and hasattr(moved, "tick") else moved.shift)(seconds)


CLOCKS: dict[str, Callable[[], Any]] = {
    "time-machine": time_machine,
    "freezegun": freezegun,
    "freezegun, real asyncio": partial(freezegun, real_asyncio=True),
}


@pytest.mark.parametrize("store", ["memory", "sqlite"])
@pytest.mark.parametrize("clock", CLOCKS)
def test_a_clock_that_is_moved_moves_the_caches(clock: str, store: str, tmp_path: Path) -> None:
    async def run(moved: Any) -> list[tuple[str, bool]]:
        options: dict[str, Any] = {"cache_control": True}
        if store == "sqlite":
            options = {"cache": SQLiteBackend(str(tmp_path / "a.db"), cache_control=True, autoclose=True)}
        found: list[tuple[str, bool]] = []
        with FakeUpstream() as upstream:
            upstream.get(URL, text="1", headers=MINUTE).then(text="2", headers=MINUTE)
            async with CachedSession(**options) as session:
                for seconds in (0, 50, 20):
                    advance(moved, seconds)
                    found.append(await ask(session))
                with CacheClock() as own:
                    own.advance(30)
                    found.append(await ask(session))
                    advance(moved, 40)  # both count
                    found.append(await ask(session))
        return found

    with CLOCKS[clock]() as moved:
        found = asyncio.run(run(moved))
    assert found == [("1", False), ("1", True), ("2", False), ("2", True), ("2", False)]


@pytest.mark.parametrize("clock", CLOCKS)
def test_a_recording_is_as_old_as_it_was_by_a_clock_that_stands_still(clock: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"

    async def record() -> None:
        with FakeUpstream() as upstream:
            upstream.get(URL, text="hello", headers=MINUTE)
            async with recorded(path, "once"), CachedSession() as session:
                await ask(session)

    async def run(moved: Any) -> list[tuple[str, bool]]:
        found: list[tuple[str, bool]] = []
        async with CachedSession(cache_control=True) as session:
            for seconds in (0, 50, 20):
                advance(moved, seconds)
                found.append(await ask(session))
        return found

    asyncio.run(record())
    with CLOCKS[clock]() as moved, recorded(path, repeat=True):
        found = asyncio.run(run(moved))
    assert found == [("hello", False), ("hello", True), ("hello", False)]


# ---- plugins of pytest

EMPTY = "format: aiohttp-cache-di/1\nexchanges: []\n"
WORKERS = """
import asyncio
import os

import pytest
from aiohttp_cache_di import CacheContainer, open_container

URL = "https://api.example.com/rates"


@pytest.mark.parametrize("number", range(4))
def test_it(number, cache_per_worker, fake_upstream):
    fake_upstream.get(URL, text=cache_per_worker, headers={"Cache-Control": "max-age=60"})

    async def ask():
        async with open_container(CacheContainer()) as session, session.get(URL) as response:
            return await response.text()

    assert cache_per_worker == os.environ["PYTEST_XDIST_WORKER"]
    assert asyncio.run(ask()) == cache_per_worker


@pytest.mark.recorded
@pytest.mark.parametrize("number", range(4))
def test_recorded(number, recording):
    assert recording.path.name == f"test_recorded[{number}].yaml"
"""


def test_each_worker_of_xdist_has_a_store_of_its_own(tmp_path: Path) -> None:
    needed("xdist")
    files = {f"cassettes/test_a/test_recorded[{number}].yaml": EMPTY for number in range(4)}
    project = Project(tmp_path, {"test_a.py": WORKERS, **files, "pytest.ini": "[pytest]\nfilterwarnings = error\n"})

    run = project.run(
        *("-p", "xdist.plugin", "-n2", "--dist=each", f"--basetemp={tmp_path / 'pytest'}"),
        AIOHTTP_CACHE_BACKEND="sqlite",
        AIOHTTP_CACHE_SQLITE__PATH=str(tmp_path / "cache.db"),
    )

    assert run.code == 0, run.said
    assert "16 passed" in run.said
    assert not list(tmp_path.rglob("*.db"))


UNASKED = """
import pytest


@pytest.mark.recorded
@pytest.mark.parametrize("number", range(2))
def test_it(number):
    pass
"""


def test_what_has_recorded_nothing_in_a_worker_of_xdist_is_named(tmp_path: Path) -> None:
    needed("xdist")
    project = Project(tmp_path, {"test_a.py": UNASKED, "pytest.ini": "[pytest]\nfilterwarnings = error\n"})

    run = project.run("-p", "xdist.plugin", "-n2", "--record-mode=once")

    assert run.code == 0, run.said
    for number in range(2):
        assert f"test_a.py::test_it[{number}]: nothing was asked of an upstream" in run.said


BOTH = """
import pytest
from aiohttp_cache_di.testing import NetworkBlockedError


@pytest.mark.recorded
def test_ours(recording, request):
    assert recording.mode == "once"
    assert request.config.getoption("--block-network")


@pytest.mark.vcr
def test_theirs():
    pass
"""


@pytest.mark.parametrize("first", ["aiohttp_cache_di_pytest", "pytest_recording.plugin"])
def test_pytest_recording_has_options_of_the_same_names(first: str, tmp_path: Path) -> None:
    needed("pytest_recording")
    others = {"aiohttp_cache_di_pytest", "pytest_recording.plugin"} - {first}
    project = Project(tmp_path, {"test_a.py": BOTH, "pytest.ini": "[pytest]\nfilterwarnings = error\n"})

    run = project.run("-p", *others, "--record-mode=once", "--block-network", plugin=first)

    run.passed(2)


def test_a_loop_in_c_does_not_connect_to_another_machine() -> None:
    uvloop = needed("winloop" if sys.platform == "win32" else "uvloop")

    async def run() -> None:
        loop = asyncio.get_running_loop()
        for host in ("api.example.com", "192.0.2.1"):
            with pytest.raises(NetworkBlockedError):
                await asyncio.open_connection(host, 9)
            with pytest.raises(NetworkBlockedError):
                await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=(host, 9))
        with pytest.raises(NetworkBlockedError):
            await loop.getaddrinfo("api.example.com", 9)
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            assert await reader.read() == b""
            writer.close()

    with blocked_network():
        uvloop.run(run())


def test_a_missing_neighbour_is_named_where_its_test_is_skipped() -> None:
    with pytest.raises(pytest.skip.Exception, match="needs no_such_thing: make neighbours"):
        needed("no_such_thing")
    assert importlib.util.find_spec("no_such_thing") is None
