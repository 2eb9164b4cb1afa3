"""The command line as a separate program, on the store of a running service."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from aiohttp_cache_di import CachedSession, CacheSettings
from aiohttp_cache_di.settings.build import build_backend, build_session
from tests.origin import Origin, Received, answer
from tests.programs import dismiss

pytestmark = pytest.mark.processes

WITHIN_S = 60.0


def numbered(request: Received) -> bytes:
    return answer(str(request.number), headers={"ETag": '"a"'})


class Service:
    """A service and the command line, which use the same cache through the same variables."""

    def __init__(self, directory: Path, variables: dict[str, str]) -> None:
        self.variables = variables
        self.directory = directory

    async def begin(self, *arguments: str) -> asyncio.subprocess.Process:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIOHTTP_CACHE_")}
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *("-W", "error", "-m", "aiohttp_cache_di", *arguments),
            cwd=self.directory,
            env=inherited | self.variables,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # background jobs of a shell ignore it
        )

    async def run(self, *arguments: str) -> tuple[int | None, str, str]:
        process = await self.begin(*arguments)
        return await ended(process)


async def ended(process: asyncio.subprocess.Process) -> tuple[int | None, str, str]:
    try:
        async with asyncio.timeout(WITHIN_S):
            said, error = await process.communicate()
    finally:
        await dismiss(process)
    return process.returncode, said.decode(), error.decode()


@pytest.fixture(params=["sqlite", "redis"])
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Service:
    variables = {"AIOHTTP_CACHE_BACKEND": request.param, "AIOHTTP_CACHE_CACHE_NAME": uuid.uuid4().hex}
    if request.param == "redis":
        variables["AIOHTTP_CACHE_REDIS__URL"] = request.getfixturevalue("valkey").url
    else:
        variables["AIOHTTP_CACHE_SQLITE__PATH"] = str(tmp_path / "cache.sqlite")
    return Service(tmp_path, variables)


@pytest.fixture
async def session(service: Service, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[CachedSession]:
    """The session of the service, which keeps copies in memory."""
    for name, value in service.variables.items():
        monkeypatch.setenv(name, value)
    settings = await asyncio.to_thread(CacheSettings.load)
    backend = await asyncio.to_thread(build_backend, settings)
    async with build_session(backend, settings) as made:
        yield made
    await backend.close()


async def fetch(session: CachedSession, url: str) -> str:
    async with session.get(url) as response:
        return await response.text()


async def test_a_service_that_runs_sees_with_its_next_request_what_the_command_has_purged(
    service: Service, session: CachedSession, origin: Origin
) -> None:
    urls = [origin.on("/one", numbered), origin.on("/two", numbered)]
    for url in urls * 3:
        assert await fetch(session, url) == "1"
    await session.cache.settle()

    status, said, error = await service.run("ls", "--json")
    assert (status, error) == (0, "")
    assert [entry["url"] for entry in json.loads(said)] == urls
    status, said, error = await service.run("purge", "--url", urls[0])
    assert (status, said, error) == (0, "1 entry, 1 B: dropped\n", "")
    assert await fetch(session, urls[0]) == "2"
    assert await fetch(session, urls[1]) == "1"
    status, said, error = await service.run("purge", "--all", "--yes", "--soft", "--json")
    assert (status, json.loads(said)["entries"], error) == (0, 2, "")
    assert await fetch(session, urls[1]) == "2"


async def test_a_service_that_runs_sees_with_its_next_request_which_tag_the_command_has_purged(
    service: Service, session: CachedSession, origin: Origin
) -> None:
    def tagged(request: Received) -> bytes:
        return answer(str(request.number), headers={"ETag": '"a"', "Surrogate-Key": f"all {request.path}"})

    urls = [origin.on("/one", tagged), origin.on("/two", tagged)]
    for url in urls * 3:
        assert await fetch(session, url) == "1"
    await session.cache.settle()

    status, said, error = await service.run("ls", "--tag", "/one", "--json")
    assert (status, [entry["tags"] for entry in json.loads(said)], error) == (0, [["all", "/one"]], "")
    status, said, error = await service.run("purge", "--tag", "all", "--dry-run")
    assert (status, said, error) == (0, "2 entries, 2 B: would be dropped\n", "")
    status, said, error = await service.run("purge", "--tag", "/one", "--tag", "none", "--soft")
    assert (status, said, error) == (0, "1 entry, 1 B: made stale\n", "")
    async with session.get(urls[0]) as response:
        assert (await response.text(), 'purged="/one"' in response.cache_status) == ("2", True)
    assert await fetch(session, urls[1]) == "1"
    await session.cache.settle()
    status, said, error = await service.run("purge", "--tag", "all")
    assert (status, said, error) == (0, "2 entries, 2 B: dropped\n", "")
    assert [await fetch(session, url) for url in urls] == ["3", "2"]
    assert [await fetch(session, url) for url in urls] == ["3", "2"]


async def test_what_the_command_has_warmed_is_a_hit_of_the_service(
    service: Service, session: CachedSession, origin: Origin
) -> None:
    url, failing = origin.on("/one", numbered), origin.on("/two", answer(status=500))
    status, said, error = await service.run("check")
    assert (status, error) == (0, "")
    status, said, error = await service.run("warm", url, failing, "--concurrency", "2", "--json")
    assert (status, error) == (1, "")
    told = {each["url"]: each for each in json.loads(said)}
    assert (told[url]["status"], told[url]["error"], told[failing]["error"]) == (200, "", "status 500")
    async with session.get(url) as response:
        assert (await response.text(), response.from_cache) == ("1", True)


async def test_what_was_obtained_with_credentials_is_a_hit_in_the_copy_for_these_alone(
    service: Service, session: CachedSession, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = origin.on("/one", numbered)
    headers = {"Authorization": "Bearer a"}
    async with session.get(url, headers=headers) as response:
        assert await response.text() == "1"
    await session.cache.settle()
    copy = {"COPY_BACKEND": "sqlite", "COPY_SQLITE__PATH": str(service.directory / "copy.sqlite")}
    service.variables |= copy
    status, said, error = await service.run("copy", "--to-prefix", "COPY_", "--json")
    assert (status, json.loads(said), error) == (0, {"copied": 1, "left": 0, "reasons": {}}, "")
    for name, value in copy.items():
        monkeypatch.setenv(name, value)
    backend = await asyncio.to_thread(lambda: build_backend(CacheSettings.load("COPY_")))
    try:
        async with CachedSession(cache=backend) as other:
            assert (await other.explain("GET", url, headers=headers)).decision == "Serve"
            assert (await other.explain("GET", url)).decision == "Fetch"
            async with other.get(url, headers=headers) as response:
                assert (await response.text(), response.from_cache) == ("1", True)
    finally:
        await backend.close()


async def test_an_interrupt_ends_the_command_cleanly(service: Service, origin: Origin) -> None:
    never = asyncio.Event()

    async def hang(request: Received) -> bytes:
        await never.wait()
        return b""

    process = await service.begin("warm", origin.on("/x", hang))
    try:
        async with asyncio.timeout(WITHIN_S):
            await origin.arrival()
        process.send_signal(signal.SIGINT)
        assert await ended(process) == (130, "", "aiohttp-cache: interrupted\n")
    finally:
        never.set()
        await dismiss(process)
