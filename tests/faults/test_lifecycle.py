"""Opening, closing, forgetting to close, forking and dying: nothing hangs and nothing is leaked."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from aiohttp import ClientConnectorError

from aiohttp_cache_di import CachedSession
from aiohttp_cache_di.backends.base import CacheBackend
from tests.faults.conftest import Note
from tests.faults.origin import Origin, body_of
from tests.faults.processes import ROOT, Workers, environment, run_python
from tests.faults.programs import PROGRAMS
from tests.posix import needs_proc
from tests.stores import Store

ENDS_WITHIN_S = 30.0  # includes the start of Python on a busy machine
PATIENT_S = 5.0  # a storage deadline that is long enough for a busy machine


async def body(session: CachedSession, url: str) -> bytes:
    async with session.get(url) as response:
        return await response.read()


def threads() -> int:
    """How many threads run, without those of a loop's executor, which stay as long as the loop."""
    return sum(not thread.name.startswith("asyncio_") for thread in threading.enumerate())


def descriptors() -> int:
    needs_proc()
    return len(os.listdir("/proc/self/fd"))


async def test_opening_and_closing_again_and_again_leaks_nothing(store: Store, origin: Origin, note: Note) -> None:
    async def once() -> None:
        backend = store.backend()
        async with CachedSession(cache=backend) as session:
            assert await body(session, f"{origin.url}/a") == body_of("/a")
            assert await body(session, f"{origin.url}/a") == body_of("/a")
        await backend.close()

    for _ in range(5):
        await once()
    gc.collect()
    before = descriptors(), threads(), len(asyncio.all_tasks())
    for _ in range(30 if store.is_slow else 200):
        await once()
    gc.collect()
    await asyncio.sleep(0.05)  # lets the origin close its side of the last connection
    after = descriptors(), threads(), len(asyncio.all_tasks())
    note(descriptors=f"{before[0]}→{after[0]}", threads=f"{before[1]}→{after[1]}", tasks=f"{before[2]}→{after[2]}")
    assert after[0] <= before[0] + 2
    assert after[1] <= before[1]
    assert after[2] <= before[2] + 1


async def test_closing_twice_is_no_error_and_use_after_it_is_one(store: Store, origin: Origin) -> None:
    backend = store.backend(autoclose=True)
    session = CachedSession(cache=backend)
    for _ in range(3):  # the last one through the fast lane
        await body(session, f"{origin.url}/a")
    await session.close()
    await session.close()
    await backend.close()
    for path in ("/a", "/never-seen"):
        with pytest.raises(RuntimeError, match="closed"):
            await body(session, origin.url + path)
    assert origin.total == 1


async def test_closing_with_requests_in_flight_ends_soon_and_loses_no_answer(
    store: Store, origin: Origin, note: Note
) -> None:
    origin.delay_s = 0.02
    backend = store.backend(autoclose=True)
    session = CachedSession(cache=backend)
    tasks = [asyncio.create_task(body(session, f"{origin.url}/{n % 20}")) for n in range(100)]
    async with asyncio.timeout(20):
        await origin.arrived.wait()
    begun = time.perf_counter()
    await session.close()
    took_s = time.perf_counter() - begun
    async with asyncio.timeout(10):
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    wrong = [one for number, one in enumerate(outcomes) if one != body_of(f"/{number % 20}")]
    note(close_s=took_s, answered=len(outcomes) - len(wrong), refused=len(wrong))
    assert all(isinstance(one, Exception) for one in wrong)
    assert took_s < 5
    await backend.close()


async def test_writes_under_way_are_there_after_closing(store: Store, origin: Origin) -> None:
    if store.kind == "memory":
        pytest.skip("memory ends with its backend")
    backend = store.backend()
    async with CachedSession(cache=backend) as session:
        await asyncio.gather(*(body(session, f"{origin.url}/{n}") for n in range(50)))
    await backend.close()
    again = store.backend()
    assert await again.responses.size() == 50
    await again.close()


async def test_several_sessions_share_a_backend_that_none_of_them_closes(backend: CacheBackend, origin: Origin) -> None:
    sessions = [CachedSession(cache=backend) for _ in range(5)]
    await asyncio.gather(*(body(session, f"{origin.url}/a") for session in sessions))
    assert origin.total == 1, "flights are shared too"
    while sessions:
        await sessions.pop().close()
        assert [await body(session, f"{origin.url}/a") for session in sessions] == [body_of("/a")] * len(sessions)
    assert origin.total == 1


def test_one_backend_serves_two_loops_in_sequence(store: Store) -> None:
    backend = store.backend(storage_deadline=PATIENT_S)

    async def work() -> bool:
        async with Origin() as origin, CachedSession(cache=backend) as session:
            await body(session, f"{origin.url}/a")
            async with session.get(f"{origin.url}/a") as response:
                assert await response.read() == body_of("/a")
                return response.from_cache

    assert [asyncio.run(work()) for _ in range(3)] == [True] * 3
    asyncio.run(backend.close())
    assert not backend.stats.store_errors


def test_one_backend_serves_two_loops_in_two_threads(store: Store) -> None:
    backend = store.backend(storage_deadline=PATIENT_S)
    failures: list[BaseException] = []

    async def work(number: int) -> None:
        async with Origin() as origin, CachedSession(cache=backend) as session:
            for round_number in range(30):
                path = f"/{number}/{round_number % 10}"
                assert await body(session, origin.url + path) == body_of(path)
        await asyncio.sleep(0)

    def run(number: int) -> None:
        try:
            asyncio.run(work(number))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    asyncio.run(backend.close())
    assert not failures
    assert not backend.stats.store_errors


async def test_programs_that_forget_to_close_end_by_themselves(store: Store, note: Note, tmp_path: Path) -> None:
    # A store in memory has nothing to close; these programs differ in which parts of aiohttp they leave open.
    names = ["forget_everything", "in_flight", "forked_child"] if store.kind == "memory" else list(PROGRAMS)

    arguments = json.dumps({"kind": store.kind, "options": store.options}), str(tmp_path), *names
    begun = time.perf_counter()
    _, ended, errors = await run_python("-m", "tests.faults.programs", *arguments, within_s=ENDS_WITHIN_S)
    reports = [json.loads(line) for line in ended.splitlines()]
    assert {report[0] for report in reports} == set(names), f"some did not end: {errors}"
    for name, status, output, errors in reports:
        assert output == "done\n", f"{name}: {errors}"
        assert status == (3 if name == "raise_an_error" else 0), f"{name} did not end: {errors}"
        if (store.kind, name) != ("dynamodb", "drop_the_loop"):  # aiobotocore's requests warn when they are dropped
            assert "Traceback" not in errors, name
            assert "Exception ignored" not in errors, name
        assert "Runtime." not in errors, f"{name}: a complaint of a task of the cache"
    note(programs=len(names), ended=len(names), all_within_s=time.perf_counter() - begun)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
async def test_a_signal_during_load_ends_the_process_and_leaves_the_store_whole(
    store: Store, origin: Origin, number: signal.Signals, note: Note
) -> None:
    if store.kind == "memory":
        pytest.skip("memory ends with its process")
    if store.is_slow and number == signal.SIGINT:
        pytest.skip("one signal is enough where another process does the writing")
    urls = [f"{origin.url}/{n}" for n in range(300)]
    job = {"kind": store.kind, "options": store.options, "task": "churn", "urls": urls, "size": origin.size}
    job |= {"tasks": 16, "seconds": 60, "pause_s": 0.0, "seed": 1}
    async with Workers(job) as workers:
        workers.go()
        looking = store.backend(storage_deadline=PATIENT_S)
        async with asyncio.timeout(20):
            # Responses are written a little later than they are requested.
            while origin.total < 150 or await looking.responses.size() <= 60:
                origin.arrived.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(origin.arrived.wait(), 0.1)
        await looking.close()
        begun = time.perf_counter()
        workers.processes[0].send_signal(number)
        async with asyncio.timeout(10):
            await workers.processes[0].communicate()
        took_s = time.perf_counter() - begun
    backend = store.backend(storage_deadline=PATIENT_S)
    async with CachedSession(cache=backend) as session:
        bodies = await asyncio.gather(*(body(session, f"{origin.url}/{index}") for index in range(300)))
    wrong = sum(found != body_of(f"/{index}") for index, found in enumerate(bodies))
    note(ended_after_s=took_s, wrong=wrong, hits_afterwards=backend.stats.hits, unreadable=backend.stats.unreadable)
    await backend.close()
    assert wrong == 0
    assert backend.stats.hits > 50
    assert backend.stats.unreadable == 0
    assert not backend.stats.store_errors
    assert took_s < 5


async def test_a_server_that_reloads_comes_back_with_its_cache(tmp_path: Path, origin: Origin) -> None:
    """`uvicorn --reload`: the worker is ended by SIGTERM and started anew whenever a file changes."""
    app = tmp_path / "service_under_reload.py"
    app.write_text(
        "from typing import Annotated\n"
        "from aiohttp_cache_di_fastapi import CachedSessionDep, lifespan\n"
        "from fastapi import FastAPI\n"
        "app = FastAPI(lifespan=lifespan)\n"
        "@app.get('/')\n"
        "async def root(session: CachedSessionDep) -> dict[str, object]:\n"
        f"    async with session.get('{origin.url}/a') as response:\n"
        "        await response.read()\n"
        "        return {'from_cache': response.from_cache, 'generation': 0}\n"
    )
    variables = {**environment(), "AIOHTTP_CACHE_SQLITE__PATH": str(tmp_path / "cache.sqlite")}
    variables |= {"AIOHTTP_CACHE_BACKEND": "sqlite", "XDG_CACHE_HOME": str(tmp_path)}
    variables["PYTHONPATH"] += f"{os.pathsep}{ROOT / 'integrations'}{os.pathsep}{tmp_path}"
    command = [sys.executable, "-m", "uvicorn", "--reload", "--reload-dir", str(tmp_path), "--port", "0"]
    process = await asyncio.create_subprocess_exec(
        *command,
        "service_under_reload:app",
        cwd=tmp_path,
        env=variables,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(40), CachedSession() as session:
            url = ""
            while not url:
                line = (await process.stderr.readline()).decode()
                assert line, "uvicorn has ended"
                url = line.partition("running on ")[2].partition(" ")[0]
            lines = await until_started(process.stderr)
            with session.disabled():
                assert await answer_of(session, url) == {"from_cache": False, "generation": 0}
                app.write_text(app.read_text().replace("'generation': 0", "'generation': 1"))
                lines += await until_started(process.stderr)
                assert await answer_of(session, url) == {"from_cache": True, "generation": 1}
            process.send_signal(signal.SIGTERM)
            lines += (await process.communicate())[1].decode()
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)  # and the worker, a child of uvicorn
            await process.communicate()
    assert "Traceback" not in lines
    assert "Warning" not in lines


async def answer_of(session: CachedSession, url: str) -> object:
    """Request *url* from a service that has started and is about to listen."""
    while True:
        try:
            async with session.get(url) as response:
                return await response.json()
        except ClientConnectorError:
            await asyncio.sleep(0.02)  # there is no event for it


async def until_started(stream: asyncio.StreamReader) -> str:
    """Read until a worker reports that it has started."""
    lines = ""
    while not lines.endswith("startup complete.\n"):
        line = (await stream.readline()).decode()
        assert line, f"uvicorn has ended:\n{lines}"
        lines += line
    return lines
