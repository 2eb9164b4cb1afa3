"""Programs that end without cleaning up: ``python -m tests.faults.programs <store> <directory> <name> …``.

Each function below is one program. It runs in a process of its own, forked from one that has imported everything and
done nothing else. It prints ``done`` and must then end by itself. *store* is a kind and its options as JSON; the output
of the programs goes to *directory*.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import ClientSession

from aiohttp_cache_di import CachedSession, CacheMiddleware
from aiohttp_cache_di.backends.base import CacheBackend
from tests.described import class_of, described
from tests.faults.origin import Origin, body_of

kept: list[object] = []
"""What a program holds on to until its very end."""


def new_backend() -> CacheBackend:
    """A backend on the store that the arguments name."""
    job = json.loads(sys.argv[1])
    return described(job["kind"], job["options"], **job.get("backend", {}))


async def use(session: ClientSession, url: str) -> None:
    """Send the same request twice."""
    for _ in range(2):
        async with session.get(f"{url}/a") as response:
            assert await response.read() == body_of("/a")


async def forget_everything() -> None:
    """Neither session nor backend is closed."""
    async with Origin() as origin:
        session = CachedSession(cache=new_backend())
        await use(session, origin.url)
        kept.append(session)


async def forget_backend() -> None:
    """The session is closed, the backend is not."""
    async with Origin() as origin, CachedSession(cache=new_backend()) as session:
        await use(session, origin.url)
        kept.append(session.cache)


async def drop_everything() -> None:
    """The session is dropped and collected while the loop runs."""
    async with Origin() as origin:
        session = CachedSession(cache=new_backend())
        await use(session, origin.url)
        del session
        gc.collect()


async def plain_middleware() -> None:
    """A plain session is closed, which does not know the backend of its middleware."""
    async with Origin() as origin:
        middleware = CacheMiddleware(new_backend())
        async with ClientSession(middlewares=(middleware,)) as session:
            await use(session, origin.url)
        kept.append(middleware)


async def raise_an_error() -> None:
    """The program ends by an exception."""
    async with Origin() as origin:
        session = CachedSession(cache=new_backend())
        await use(session, origin.url)
        kept.append(session)
        print("done", flush=True)
        raise SystemExit(3)


async def drop_the_loop() -> None:
    """The loop is neither closed nor are its tasks cancelled while a response is being stored."""
    origin = await Origin().__aenter__()  # never left
    session = CachedSession(cache=new_backend())
    await use(session, origin.url)
    await session.cache.settle()  # so that MongoDB's index is made: pymongo complains of its call if that is dropped
    async with session.get(f"{origin.url}/last") as response:
        await response.read()
    kept.append(session)
    await asyncio.sleep(0)


async def in_flight() -> None:
    """The loop is closed while requests and writes are in flight."""
    origin = await Origin().__aenter__()  # never left, so that it is there to the end
    session = CachedSession(cache=new_backend())
    await use(session, origin.url)
    origin.gate = asyncio.Event()
    origin.arrived.clear()
    kept.extend(asyncio.create_task(use(session, f"{origin.url}/{n}")) for n in range(20))
    await origin.arrived.wait()
    kept.append(session)


async def several_loops() -> None:
    """Loops in threads use one backend and end without closing it."""
    backend = new_backend()
    kept.append(backend)

    async def work() -> None:
        async with Origin() as origin, CachedSession(cache=backend) as session:
            await use(session, origin.url)

    threads = [threading.Thread(target=asyncio.run, args=(work(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    await work()


async def forked_child() -> None:
    """A child is forked from a process that has used the cache; both end."""
    async with Origin() as origin:
        session = CachedSession(cache=new_backend())
        await use(session, origin.url)
        kept.append(session)
    child = os.fork()
    if child == 0:
        os._exit(in_child(session.cache))
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    assert os.waitstatus_to_exitcode(status) == 0, "the child could not use the cache"


def in_child(backend: CacheBackend) -> int:
    """Use the inherited backend in a loop of the child's own, and end without closing it."""

    async def work() -> None:
        async with Origin() as origin, CachedSession(cache=backend) as session:
            await use(session, origin.url)
            assert backend.stats.hits >= 2

    loop_running = asyncio.events._get_running_loop()
    asyncio.events._set_running_loop(None)  # the parent's loop, which does not run here
    try:
        asyncio.run(work())
    except BaseException as error:
        print(f"in the child: {error!r}", file=sys.stderr, flush=True)
        return 1
    finally:
        asyncio.events._set_running_loop(loop_running)
    return 0


async def created_outside() -> None:
    """The backend was made before any loop ran."""
    async with Origin() as origin:
        session = CachedSession(cache=made_early[0])
        await use(session, origin.url)
        kept.append(session)


made_early: list[CacheBackend] = []

PROGRAMS: dict[str, Callable[[], Any]] = {
    program.__name__: program
    for program in (
        forget_everything,
        forget_backend,
        drop_everything,
        plain_middleware,
        raise_an_error,
        drop_the_loop,
        in_flight,
        several_loops,
        forked_child,
        created_outside,
    )
}


def run(name: str) -> None:
    """Run a program; the interpreter ends after it."""
    made_early.append(new_backend())
    program = PROGRAMS[name]
    if program is drop_the_loop:
        asyncio.new_event_loop().run_until_complete(program())
    else:
        asyncio.run(program())
    print("done", flush=True)


def launch(directory: Path) -> str:
    """Fork a process for each program; return its name there, and "" in the parent when all have ended."""
    names: dict[int, str] = {}
    for name in sys.argv[3:]:
        child = os.fork()
        if child == 0:
            for number, suffix in ((1, "out"), (2, "err")):
                os.dup2(os.open(directory / f"{name}.{suffix}", os.O_WRONLY | os.O_CREAT), number)
            return name
        names[child] = name
    while names:
        child, status = os.wait()
        name = names.pop(child)
        output, errors = ((directory / f"{name}.{suffix}").read_text() for suffix in ("out", "err"))
        print(json.dumps([name, os.waitstatus_to_exitcode(status), output, errors]), flush=True)
    return ""


if __name__ == "__main__":
    class_of(json.loads(sys.argv[1])["kind"])  # imported once, before the processes are forked
    mine = launch(Path(sys.argv[2]))
    if mine:
        run(mine)
