"""Bodies of any size in the filesystem store: stored as they arrive, read in pieces or by path, and all failures."""

# tests may block
from __future__ import annotations

import asyncio
import errno
import gzip
import itertools
import json
import os
import re
import sys
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientPayloadError, web
from fastapi.responses import FileResponse
from starlette.testclient import TestClient

from aiohttp_cache_di import CachedResponse, CachedSession
from aiohttp_cache_di.backends import CacheBackend
from aiohttp_cache_di.backends.filesystem import FileBackend
from aiohttp_cache_di.backends.filesystem.bodies import reading, spool
from aiohttp_cache_di.backends.filesystem.bodies.reading import BodyFile
from aiohttp_cache_di.backends.filesystem.eviction import counting
from aiohttp_cache_di.backends.filesystem.records import files
from aiohttp_cache_di.backends.filesystem.records.packing import PIECE_BYTES
from aiohttp_cache_di.backends.filesystem.store import FileStore
from aiohttp_cache_di.entries.filed import FiledResponse
from tests.backends.filesystem.places import is_open
from tests.large_bodies import can_measure, large_origin
from tests.programs import started

SIZE = 4 * PIECE_BYTES + 1234
CONTENT = b"".join(n.to_bytes(4, "big") for n in range(SIZE // 4 + 1))[:SIZE]
MAX_MORE_BYTES = 8 * 2**20
FRESH = {"Cache-Control": "max-age=600", "ETag": '"1"'}


class Origin:
    """An origin with one large body, which a test can stop in the middle."""

    def __init__(self) -> None:
        self.hits = 0
        self.headers: dict[str, str] = dict(FRESH)
        self.content = CONTENT
        self.length: int | None = SIZE
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.hits += 1
        if request.headers.get("If-None-Match") == self.headers.get("ETag"):
            return web.Response(status=304, headers=self.headers)
        response = web.StreamResponse(headers=self.headers)
        response.content_length = self.length
        await response.prepare(request)
        half = len(self.content) // 2
        await response.write(self.content[:half])
        await self.may_end.wait()
        await response.write(self.content[half:])
        if request.transport is not None and self.length is not None and self.length > len(self.content):
            request.transport.close()
        await response.write_eof()
        return response


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    origin = Origin()
    app = web.Application()
    app.router.add_get("/{name}", origin.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        origin.url = f"http://127.0.0.1:{runner.addresses[0][1]}/large"
        yield origin
    finally:
        origin.may_end.set()
        await runner.cleanup()


@asynccontextmanager
async def caching(folder: Path, **options: Any) -> AsyncGenerator[CachedSession]:
    """A session with a cache of bodies of any size."""
    own: dict[str, Any] = {"cache_control": True, "max_body_bytes": None, **options}
    backend = FileBackend(folder / "cache", **own)
    async with CachedSession(cache=backend) as session:
        yield session


def same(one: object, other: object) -> bool:
    """Whether they are equal; pytest would take minutes to show how large bodies differ."""
    return one == other


def stored_files(folder: Path) -> list[Path]:
    """The files of all records."""
    return list((folder / "cache").glob("?/?/*"))


def pieces_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the pieces that are read from now on."""
    read, original = list[int](), BodyFile.read

    def noted(self: BodyFile, number: int) -> bytes:
        read.append(number)
        return original(self, number)

    monkeypatch.setattr(BodyFile, "read", noted)
    return read


async def until(is_so: Callable[[], object], within_s: float = 20) -> None:
    """Wait until *is_so* returns true, for something that another thread does."""
    async with asyncio.timeout(within_s):
        while not is_so():  # noqa: ASYNC110  # there is no event for it
            await asyncio.sleep(0.002)


async def fetched(session: CachedSession, origin: Origin, **options: Any) -> bytes:
    """The body; waits until the cache has stored it or has decided not to."""
    async with session.get(origin.url, **options) as response:
        body = await response.read()
        if not response.from_cache:
            await until(lambda: "stored" in response.cache_status or "detail" in response.cache_status)
    await session.cache.stack.settle()
    return body


async def hit(session: CachedSession, origin: Origin, **options: Any) -> CachedResponse:
    """A response from the cache."""
    response = await session.get(origin.url, **options)
    assert isinstance(response, CachedResponse), response.cache_status
    return response


# ---- how much memory it takes


async def measured(folder: Path, size: int) -> list[dict[str, Any]]:
    """The memory that plain aiohttp took, a miss, and two hits."""
    async with large_origin(size) as large:
        command = (sys.executable, "-m", "tests.large_bodies", large.url, str(folder / "cache"))
        async with started(*command, stdout=asyncio.subprocess.PIPE) as process:
            output, _ = await process.communicate()
        assert large.hits == 2, "aiohttp once and the cache once"
    return list(json.loads(output))


@pytest.mark.processes
@pytest.mark.skipif(not can_measure(), reason="the system does not tell how much memory a process had at most")
@pytest.mark.parametrize("size", [128 * 2**20, pytest.param(2**30, marks=[pytest.mark.slow, pytest.mark.timeout(600)])])
async def test_a_large_body_takes_no_more_memory_than_without_a_cache(
    tmp_path: Path, size: int, request: pytest.FixtureRequest
) -> None:
    if size >= 2**30 and "slow" not in request.config.option.markexpr:
        pytest.skip("a long one, run only by -m slow")
    plain, miss, *hits = await measured(tmp_path, size)
    assert [each["bytes"] for each in (plain, miss, *hits)] == [size] * 4
    assert [each["is_hit"] for each in (plain, miss, *hits)] == [False, False, True, True]
    for each in (miss, *hits):
        assert each["took"] - plain["took"] < MAX_MORE_BYTES


async def test_a_miss_gives_its_first_bytes_before_the_origin_has_sent_the_rest(origin: Origin, tmp_path: Path) -> None:
    origin.may_end.clear()
    async with caching(tmp_path) as session, session.get(origin.url) as response:
        first = await response.content.readany()
        assert CONTENT.startswith(first)
        await until(lambda: any(path.stat().st_size for path in stored_files(tmp_path)))  # as it arrives
        origin.may_end.set()
        assert same(first + await response.content.read(), CONTENT)


async def test_a_hit_gives_its_first_bytes_before_the_rest_is_read(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with caching(tmp_path) as session:
        await fetched(session, origin)
        response = await hit(session, origin)
        read = pieces_read(monkeypatch)
        assert same(await response.content.readexactly(1000), CONTENT[:1000])
        assert max(read) < 4
        response.close()


async def test_a_slow_reader_lets_no_more_in_than_fits(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin.content, origin.length = CONTENT * 3, 3 * SIZE
    async with caching(tmp_path) as session:
        assert same(await fetched(session, origin), origin.content)
        response = await hit(session, origin)
        read = pieces_read(monkeypatch)
        pieces = [await response.content.readexactly(10)]
        await until(lambda: len(read) == 3)
        await asyncio.sleep(0.02)  # there is no event for "nothing happens"
        assert read == [0, 1, 2]
        while piece := await response.content.readany():
            pieces.append(piece)
        assert same(b"".join(pieces), origin.content)


# ---- how a hit can be used


async def test_all_ways_to_read_a_body_read_one_in_a_file(origin: Origin, tmp_path: Path) -> None:
    origin.content = json.dumps({"numbers": list(range(400_000))}).encode() + b"\n"
    origin.length = len(origin.content)
    origin.headers["Content-Type"] = "application/json"
    async with caching(tmp_path) as session:
        assert same(await fetched(session, origin), origin.content)
        assert same((await (await hit(session, origin)).json())["numbers"], list(range(400_000)))
        assert same((await (await hit(session, origin)).text()).encode(), origin.content)
        chunks = [chunk async for chunk in (await hit(session, origin)).content.iter_chunked(10_000)]
        assert max(map(len, chunks)) == 10_000
        assert same(b"".join(chunks), origin.content)
        chunks = [chunk async for chunk in (await hit(session, origin)).content.iter_any()]
        assert same(b"".join(chunks), origin.content)
        response = await hit(session, origin)
        async with response:
            assert same(await response.read(), origin.content)
            assert same(await response.read(), origin.content), "what was read stays"
            assert response.content.at_eof()
            response.reset()
            assert same(await response.content.read(), origin.content)
    assert origin.hits == 1


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        (f"bytes={2 * PIECE_BYTES - 5}-{2 * PIECE_BYTES + 4}", 2 * PIECE_BYTES - 5, 2 * PIECE_BYTES + 4),
        ("bytes=0-0", 0, 0),
        ("bytes=-100", SIZE - 100, SIZE - 1),
        (f"bytes={PIECE_BYTES}-", PIECE_BYTES, SIZE - 1),
    ],
)
async def test_a_range_is_answered_by_seeking(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str, first: int, last: int
) -> None:
    async with caching(tmp_path) as session:
        await fetched(session, origin)
        read = pieces_read(monkeypatch)
        response = await hit(session, origin, headers={"Range": asked})
        async with response:
            assert response.status == 206
            assert response.headers["Content-Range"] == f"bytes {first}-{last}/{SIZE}"
            assert response.headers["Content-Length"] == str(last - first + 1)
            assert response.body_path is None
            assert same(await response.read(), CONTENT[first : last + 1])
        assert set(read) == set(range(first // PIECE_BYTES, last // PIECE_BYTES + 1))
        response = await hit(session, origin, headers={"Range": f"bytes={SIZE}-"})
        async with response:
            assert (response.status, await response.read()) == (416, b"")
    assert origin.hits == 1


async def test_what_has_no_body_reads_no_file(origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with caching(tmp_path) as session:
        await fetched(session, origin)
        monkeypatch.setattr(BodyFile, "read", None)
        monkeypatch.setattr(BodyFile, "read_whole", None)
        async with session.head(origin.url) as response:
            assert isinstance(response, CachedResponse)
            assert response.headers["Content-Length"] == str(SIZE)
            assert await response.read() == b""
            assert response.body_path is None
        found = await hit(session, origin, headers={"If-None-Match": '"1"'})
        async with found:
            assert (found.status, await found.read()) == (304, b"")
    assert origin.hits == 1


async def test_a_hit_tells_where_its_body_is(origin: Origin, tmp_path: Path) -> None:
    async with caching(tmp_path) as session:
        async with session.get(origin.url) as miss:
            assert miss.body_path is None
            await miss.read()
        await until(lambda: session.cache.stats.stored)
        found = await hit(session, origin)
        async with found:
            path = found.body_path
            assert path is not None
            assert same(path.read_bytes(), CONTENT)
            await session.cache.clear()
        del found
        assert same(path.read_bytes(), CONTENT), "it is kept for a while, for who opens it later"


async def test_a_small_body_has_no_path(origin: Origin, tmp_path: Path) -> None:
    origin.content, origin.length = b"small", 5
    async with caching(tmp_path) as session:
        await fetched(session, origin)
        assert (await hit(session, origin)).body_path is None


async def test_a_hit_is_read_to_its_end_though_its_entry_is_evicted(origin: Origin, tmp_path: Path) -> None:
    async with caching(tmp_path) as session:
        await fetched(session, origin)
        response = await hit(session, origin)
        async with response:
            first = await response.content.readany()
            await session.cache.clear()
            assert same(first + await response.content.read(), CONTENT)
        assert await fetched(session, origin)
    assert origin.hits == 2


async def test_another_process_reads_what_one_has_stored(origin: Origin, tmp_path: Path) -> None:
    async with caching(tmp_path) as session:
        await fetched(session, origin)
    async with caching(tmp_path) as session:
        assert same(await (await hit(session, origin)).read(), CONTENT)


async def test_a_validation_leaves_the_body_where_it_is(origin: Origin, tmp_path: Path) -> None:
    origin.headers["Cache-Control"] = "no-cache"
    async with caching(tmp_path) as session:
        await fetched(session, origin)
        (before,) = (path.stat() for path in stored_files(tmp_path) if "." in path.name)
        origin.headers["X-New"] = "yes"
        async with session.get(origin.url) as response:
            assert "fwd-status=304" in response.cache_status
            assert same(await response.read(), CONTENT)
        await session.cache.stack.settle()
        (after,) = (path.stat() for path in stored_files(tmp_path) if "." in path.name)
        assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
        async with session.get(origin.url) as response:
            assert response.headers["X-New"] == "yes"
            assert same(await response.read(), CONTENT)
    assert origin.hits == 3


async def test_variants_have_bodies_of_their_own(origin: Origin, tmp_path: Path) -> None:
    origin.headers["Vary"] = "Accept-Language"
    async with caching(tmp_path) as session:
        for language in ("de", "en"):
            origin.content = language.encode() * (SIZE // 2)
            origin.headers["ETag"] = f'"{language}"'
            await fetched(session, origin, headers={"Accept-Language": language})
        for language in ("de", "en"):
            response = await hit(session, origin, headers={"Accept-Language": language})
            assert same(await response.read(), language.encode() * (SIZE // 2))
    assert origin.hits == 2


@pytest.mark.parametrize("length", [True, False])
async def test_what_is_stored_is_decoded_as_ever(origin: Origin, tmp_path: Path, length: bool) -> None:
    origin.content = gzip.compress(CONTENT, 1)
    origin.length = len(origin.content) if length else None
    origin.headers["Content-Encoding"] = "gzip"
    async with caching(tmp_path) as session:
        assert same(await fetched(session, origin), CONTENT)
        response = await hit(session, origin)
        async with response:
            assert response.headers["Content-Encoding"] == "gzip"
            path = response.body_path
            assert path is not None
            assert same(path.read_bytes(), CONTENT)
            assert same(await response.read(), CONTENT)


async def test_a_body_of_unknown_length_is_stored_too(origin: Origin, tmp_path: Path) -> None:
    origin.length = None
    async with caching(tmp_path) as session:
        await fetched(session, origin)
        assert same(await (await hit(session, origin)).read(), CONTENT)
        chunks = [chunk async for chunk in (await hit(session, origin)).content.iter_chunks()]
        assert same(b"".join(chunk for chunk, _ in chunks), CONTENT)
        assert [ends for _, ends in chunks] == [False] * (len(chunks) - 1) + [True], "it came in chunks, and is one now"


def finish_when_told(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Delay the end of the writing of a body until the returned event is set."""
    finish, may_finish = spool.Growing.finish, threading.Event()

    def later(self: spool.Growing) -> BodyFile:
        may_finish.wait(10)
        return finish(self)

    monkeypatch.setattr(spool.Growing, "finish", later)
    return may_finish


async def test_who_asks_again_at_once_waits_for_the_end_of_the_writing(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_finish = finish_when_told(monkeypatch)
    async with caching(tmp_path) as session:
        for number in range(2):
            async with session.get(origin.url) as response:
                assert same(await response.read(), CONTENT)
                assert response.from_cache is bool(number)
            asyncio.get_running_loop().call_later(0.05, may_finish.set)
        assert await session.cache.has_url(origin.url)
    assert origin.hits == 1


async def test_what_is_deleted_while_its_end_is_written_is_not_stored(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_finish = finish_when_told(monkeypatch)
    async with caching(tmp_path) as session:
        async with session.get(origin.url) as response:
            await response.read()
        deleting = asyncio.ensure_future(session.cache.clear())
        await asyncio.sleep(0)
        may_finish.set()
        await deleting
        await until(lambda: not stored_files(tmp_path))
        assert "stored" not in response.cache_status


async def test_equal_requests_share_one_to_the_origin(origin: Origin, tmp_path: Path) -> None:
    async with caching(tmp_path) as session:
        got = await asyncio.gather(*(fetched(session, origin) for _ in range(3)))
        assert same(got, [CONTENT] * 3)
    assert origin.hits == 1


def example_of_the_page() -> str:
    """The example of the page about large downloads."""
    page = Path(__file__).parents[1] / "docs" / "downloads.md"
    (block,) = re.findall(r"```python\n([^`]*FileResponse.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    return str(block)


async def test_the_example_of_the_page_sends_the_file(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "BACKEND": "filesystem",
        "FILESYSTEM__PATH": str(tmp_path / "cache"),
        "MAX_BODY_BYTES": "none",
    }.items():
        monkeypatch.setenv(f"AIOHTTP_CACHE_{name}", value)
    example: dict[str, Any] = {"__name__": "example"}
    exec(compile(example_of_the_page(), "downloads.md", "exec"), example)  # noqa: S102  # ours
    example["UPSTREAM"] = origin.url.rpartition("/")[0]
    sent: list[type] = []

    class Sent(FileResponse):
        async def __call__(self, *args: Any) -> None:
            sent.append(type(self))
            await super().__call__(*args)

    example["FileResponse"] = Sent

    def ask() -> None:
        with TestClient(example["app"]) as client:
            assert same(client.get("/downloads/large").content, CONTENT)
            until_end = time.monotonic() + 20
            while len(stored_files(tmp_path)) != 2 or temporary(tmp_path):
                assert time.monotonic() < until_end
                time.sleep(0.005)
            assert same(client.get("/downloads/large").content, CONTENT)
            part = client.get("/downloads/large", headers={"Range": "bytes=5-9"})
            assert (part.status_code, part.content) == (206, CONTENT[5:10])

    await asyncio.to_thread(ask)
    assert sent == [Sent, Sent]
    assert origin.hits == 1


def temporary(folder: Path) -> list[Path]:
    return [path for path in stored_files(folder) if path.name.endswith(".tmp")]


# ---- what is stored, and what is not


@pytest.mark.parametrize("options", [{"max_body_bytes": SIZE - 1}, {"max_bytes": SIZE - 1}])
@pytest.mark.parametrize("known", [True, False])
async def test_a_body_beyond_the_bounds_is_not_stored(
    origin: Origin, tmp_path: Path, options: dict[str, Any], known: bool
) -> None:
    origin.length = SIZE if known else None
    async with caching(tmp_path, **options) as session, session.get(origin.url) as response:
        assert same(await response.read(), CONTENT)
        assert "detail=too-large" in response.cache_status
        await session.cache.stack.store._writers.finish(5)  # type: ignore[attr-defined]  # of a FileStore
    assert stored_files(tmp_path) == []


async def test_without_a_bound_a_store_in_memory_keeps_what_fits_its_budget(origin: Origin) -> None:
    backend = CacheBackend(cache_control=True, max_body_bytes=None)
    assert backend.largest_in_memory_bytes == 64 * 2**20
    async with CachedSession(cache=backend) as session:
        await fetched(session, origin)
        response = await hit(session, origin)
        assert same(await response.read(), CONTENT)
        assert response.body_path is None


async def test_a_serializer_of_the_users_sees_whole_bodies(origin: Origin, tmp_path: Path) -> None:
    class Upper:
        def dumps(self, response: CachedResponse) -> bytes:
            return response.stored.body

        def loads(self, data: bytes) -> None:
            return None

    async with caching(tmp_path, serializer=Upper(), max_body_bytes=2 * SIZE) as session:
        async with session.get(origin.url) as response:
            await response.read()
        await session.cache.stack.settle()
    assert max(path.stat().st_size for path in stored_files(tmp_path)) >= SIZE


async def test_a_filter_of_the_users_can_read_the_body(origin: Origin, tmp_path: Path) -> None:
    seen: list[bytes] = []

    async def accept(response: Any) -> bool:
        seen.append(await response.read())
        return True

    async with caching(tmp_path, filter_fn=accept) as session:
        await fetched(session, origin)
        assert same(seen[0], CONTENT)
        assert same(await (await hit(session, origin)).read(), CONTENT)


# ---- what goes wrong


@pytest.mark.parametrize("how", ["leaves", "is cancelled", "closes the session"])
async def test_a_reader_that_goes_leaves_nothing_behind(origin: Origin, tmp_path: Path, how: str) -> None:
    origin.may_end.clear()
    async with caching(tmp_path) as session:
        response = await session.get(origin.url)
        await response.content.readany()
        await until(lambda: stored_files(tmp_path))
        if how == "leaves":
            response.close()
        elif how == "closes the session":
            await session.close()
            response.close()
        else:
            reading = asyncio.ensure_future(response.read())
            await asyncio.sleep(0)
            reading.cancel()
            await asyncio.wait([reading])
            response.close()
        await until(lambda: not stored_files(tmp_path))
        origin.may_end.set()


KILLED = """
import asyncio, sys
from pathlib import Path
from aiohttp_cache_di import CachedSession, FileBackend

async def main(url, folder):
    backend = FileBackend(folder, cache_control=True, max_body_bytes=None)
    async with CachedSession(cache=backend) as session, session.get(url) as response:
        async for piece in response.content.iter_any():
            print(len(piece), flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.processes
async def test_a_process_that_is_killed_amid_a_body_leaves_a_miss_and_nothing_for_long(
    origin: Origin, tmp_path: Path
) -> None:
    origin.may_end.clear()
    arguments = ("-c", KILLED, origin.url, str(tmp_path / "cache"))
    async with started(sys.executable, *arguments, stdout=asyncio.subprocess.DEVNULL):
        await until(lambda: any(path.stat().st_size >= SIZE // 4 for path in stored_files(tmp_path)), 30)
    (left,) = stored_files(tmp_path)
    long_ago = time.time() - counting.ORPHAN_AFTER_S - 10
    os.utime(left, (long_ago, long_ago))
    origin.may_end.set()
    async with caching(tmp_path) as session:
        assert same(await fetched(session, origin), CONTENT)
        assert origin.hits == 2, "neither a hit nor held up by a lease of the dead"
        assert same(await (await hit(session, origin)).read(), CONTENT)
        origin.content, origin.length = b"small", 5
        async with asyncio.timeout(60):
            for number in itertools.count():  # writes trigger a scan of the files
                async with session.get(f"{origin.url}?{number}") as response:
                    await response.read()
                if not left.exists():
                    break
                await asyncio.sleep(0.02)
        assert not [
            path for path in stored_files(tmp_path) if path.suffix == ".tmp" and path.stat().st_size > SIZE // 8
        ]
        assert same(await (await hit(session, origin)).read(), CONTENT)


async def test_an_origin_that_breaks_off_leaves_nothing_behind(origin: Origin, tmp_path: Path) -> None:
    origin.content = CONTENT[:-10]
    async with caching(tmp_path) as session, session.get(origin.url) as response:
        with pytest.raises(ClientPayloadError):
            await response.read()
        assert "detail=cut" in response.cache_status
        await until(lambda: not stored_files(tmp_path))


async def test_a_body_that_is_not_read_is_not_stored_and_leaves_nothing(origin: Origin, tmp_path: Path) -> None:
    async with caching(tmp_path) as session:
        async with session.get(origin.url):
            pass
        await until(lambda: not stored_files(tmp_path))
        assert session.cache.stats.stored == 0


async def test_a_hit_that_is_not_read_is_closed(origin: Origin, tmp_path: Path) -> None:
    async with caching(tmp_path) as session:
        await fetched(session, origin)
        response = await hit(session, origin)
        async with response:
            await response.content.readany()
        with pytest.raises(Exception, match="Connection closed"):
            await response.content.read()
        (name,) = (path for path in stored_files(tmp_path) if "." in path.name)
        stored = response.stored
        assert isinstance(stored, FiledResponse)
        fd_of: int = stored.file.fd
        assert is_open(fd_of, name)
        del response, stored
        await until(lambda: not is_open(fd_of, name))


async def test_a_full_disk_is_not_the_readers_affair(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int, data: list[bytes]) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    async with caching(tmp_path) as session:
        with monkeypatch.context() as patched:
            patched.setattr("aiohttp_cache_di.backends.filesystem.bodies.spool.write_pieces", full)
            async with session.get(origin.url) as response:
                assert same(await response.read(), CONTENT)
                await until(lambda: "detail=store-failed" in response.cache_status)
            await until(lambda: not stored_files(tmp_path))
            assert session.cache.stats.store_errors
        await fetched(session, origin)
        assert same(await (await hit(session, origin)).read(), CONTENT)
    assert origin.hits == 2


async def test_a_disk_that_hangs_holds_a_reader_up_for_a_moment_only(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_go_on = threading.Event()
    write = files.write_pieces

    def hang(fd: int, data: list[bytes]) -> None:
        may_go_on.wait(60)
        write(fd, data)

    monkeypatch.setattr("aiohttp_cache_di.backends.filesystem.bodies.spool.write_pieces", hang)
    origin.content, origin.length = CONTENT * 5, 5 * SIZE
    try:
        async with caching(tmp_path, storage_deadline=0.05) as session, session.get(origin.url) as response:
            async with asyncio.timeout(30):
                assert same(b"".join([piece async for piece in response.content.iter_any()]), origin.content)
            assert "detail=no-room" in response.cache_status
            may_go_on.set()
            await until(lambda: not stored_files(tmp_path))
    finally:
        may_go_on.set()


async def test_a_disk_that_is_slow_holds_a_reader_up_so_that_memory_is_bounded(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, waiting = files.write_pieces, list[int]()

    def slowly(fd: int, data: list[bytes]) -> None:
        threading.Event().wait(0.02)
        write(fd, data)

    monkeypatch.setattr("aiohttp_cache_di.backends.filesystem.bodies.spool.write_pieces", slowly)
    append = spool.FileSpool.append

    def noted(self: spool.FileSpool, data: bytes) -> None:
        append(self, data)
        waiting.append(self.waiting_bytes)

    monkeypatch.setattr(spool.FileSpool, "append", noted)
    origin.content, origin.length = CONTENT * 5, 5 * SIZE
    async with caching(tmp_path, storage_deadline=10) as session:
        async with session.get(origin.url) as response:
            assert same(b"".join([piece async for piece in response.content.iter_any()]), origin.content)
            await until(lambda: "stored" in response.cache_status)
        assert max(waiting) < 6 * 2**20
        assert same(await (await hit(session, origin)).read(), origin.content)


async def test_a_body_that_is_damaged_breaks_off_and_is_fetched_anew(origin: Origin, tmp_path: Path) -> None:
    async with caching(tmp_path) as session:
        await fetched(session, origin)
        entry, path = sorted(stored_files(tmp_path))
        with path.open("r+b") as file:
            file.seek(2 * PIECE_BYTES)
            file.write(b"!")
        async with session.get(origin.url) as response:
            assert isinstance(response, CachedResponse)
            with pytest.raises(ClientPayloadError, match="in the cache"):
                await response.read()
        await until(lambda: not entry.exists())
        assert session.cache.stats.unreadable == 1
        await fetched(session, origin)
        assert same(await (await hit(session, origin)).read(), CONTENT)
    assert origin.hits == 2


async def test_a_stream_that_meets_damage_breaks_off_there(origin: Origin, tmp_path: Path) -> None:
    async with caching(tmp_path) as session:
        await fetched(session, origin)
        entry, path = sorted(stored_files(tmp_path))
        with path.open("r+b") as file:
            file.seek(3 * PIECE_BYTES)
            file.write(b"!")
        got = bytearray()

        async def read(response: CachedResponse) -> None:
            async for piece in response.content.iter_chunked(100_000):
                got.extend(piece)

        response = await hit(session, origin)
        async with response:
            with pytest.raises(ClientPayloadError, match="in the cache"):
                await read(response)
        assert CONTENT.startswith(bytes(got))
        await until(lambda: not entry.exists())


async def test_a_disk_that_cannot_be_read_breaks_off_and_keeps_the_entry(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(fd: int, size: int, at: int) -> bytes:
        raise OSError(errno.EIO, "input/output error")

    async with caching(tmp_path) as session:
        await fetched(session, origin)
        response = await hit(session, origin)
        with monkeypatch.context() as patched:
            patched.setattr(reading, "read_at", fail)
            with pytest.raises(ClientPayloadError):
                await response.content.read()
        assert same(await (await hit(session, origin)).read(), CONTENT)
    assert origin.hits == 1


async def test_a_store_that_is_left_alone_is_not_written_to(origin: Origin, tmp_path: Path) -> None:
    async with caching(tmp_path) as session:
        store = session.cache.stack.store
        assert isinstance(store, FileStore)

        async def fail() -> None:
            raise OSError(errno.EROFS, "read-only file system")

        for _ in range(10):
            await session.cache.guard.run("write", fail, None)
        async with session.get(origin.url) as response:
            assert same(await response.read(), CONTENT)
            assert "detail=store-failed" in response.cache_status
        assert stored_files(tmp_path) == []
