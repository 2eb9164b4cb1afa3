"""Files of bodies that stay open for a moment when no one reads them any more."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from functools import partial
from pathlib import Path

import pytest

from aiohttp_cache_di.backends.filesystem import lingering
from aiohttp_cache_di.backends.filesystem.body import BodyFile
from aiohttp_cache_di.backends.filesystem.directory import Directory
from aiohttp_cache_di.backends.filesystem.store import FileStore
from aiohttp_cache_di.backends.store import Unreadable
from aiohttp_cache_di.entries.filed import FiledResponse, with_body
from tests.backends.entries import make_entry
from tests.backends.filesystem.places import age, body_file, entry_file, files_in
from tests.backends.store_contract import keep, look
from tests.posix import posix_only

CONTENT = bytes(range(256)) * 5000  # two pieces

pytestmark = posix_only


@pytest.fixture(autouse=True)
def _long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lingering, "LINGERS_S", 60)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the entries whose bodies were opened."""
    names: list[str] = []
    open_in = BodyFile.open_in

    def noted(self: BodyFile, leaf: Directory) -> bool:
        names.append(self.name)
        return open_in(self, leaf)

    monkeypatch.setattr(BodyFile, "open_in", noted)
    return names


async def keep_body(store: FileStore, folder: Path, key: str = "k") -> None:
    """Put an entry with a body in a file that is so old that it need not be checked twice."""
    spool = store.spool(key)
    spool.append(CONTENT)
    await keep(store, key, with_body(make_entry(key), await spool.finish()))
    age(body_file(folder, key), 60)
    await asyncio.sleep(0.15)  # as its status tells when it was aged


async def read(store: FileStore, key: str = "k") -> bytes:
    """The body under *key*, which is let go of."""
    entry = await look(store, key)
    assert isinstance(entry, FiledResponse)
    content: bytes = await entry.file.whole()
    await idle(store)
    return content


async def idle(store: FileStore) -> None:
    """Wait until no thread holds what it has answered with: what is let go of by a thread may be closed at once."""
    for pool in (store._readers, store._bodies.pool):
        barrier = threading.Barrier(pool.size)
        await asyncio.gather(*(pool.run(partial(barrier.wait, 10)) for _ in range(pool.size)))


def is_open(fd: int, path: Path) -> bool:
    """Whether *fd* is the file at *path*: its number may be another file's by now."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except OSError:
        return False


async def until_closed(fd: int, path: Path) -> None:
    async with asyncio.timeout(20):
        while is_open(fd, path):  # noqa: ASYNC110  # nothing tells that it is closed
            await asyncio.sleep(0.001)


def lingers(store: FileStore) -> list[int]:
    """The files that linger."""
    gc.collect()
    return [retired.fd for retired in store._bodies.lingering._files.values()]


async def test_a_body_that_is_asked_for_again_is_not_opened_again(
    store: FileStore, folder: Path, opened: list[str]
) -> None:
    await keep_body(store, folder)
    for _ in range(5):
        assert await read(store) == CONTENT
        assert len(lingers(store)) == 1
    assert len(opened) == 1


async def test_a_file_that_lingers_is_closed_in_a_moment(
    store: FileStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keep_body(store, folder)
    await read(store)
    (fd,) = lingers(store)
    assert is_open(fd, body_file(folder, "k"))
    store._bodies.lingering.end()
    await until_closed(fd, body_file(folder, "k"))
    monkeypatch.setattr(lingering, "LINGERS_S", 0.01)
    store._bodies.lingering._ends_in = None
    entry = await look(store, "k")
    assert isinstance(entry, FiledResponse)
    fd = entry.file.fd
    await idle(store)
    del entry
    await until_closed(fd, body_file(folder, "k"))


async def test_a_file_that_lingers_is_closed_with_the_store(store: FileStore, folder: Path) -> None:
    await keep_body(store, folder)
    await read(store)
    (fd,) = lingers(store)
    await store.close()
    assert not is_open(fd, body_file(folder, "k"))


async def test_no_more_than_a_few_files_linger(store: FileStore, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lingering, "MAX_LINGERING", 2)
    for number in range(4):
        await keep_body(store, folder, str(number))
    entries = [await look(store, str(number)) for number in range(4)]
    found = {entry.file.fd: entry.key for entry in entries if isinstance(entry, FiledResponse)}
    assert len(found) == 4
    await idle(store)
    entries.clear()
    kept = lingers(store)
    assert len(kept) == 2
    for fd in found.keys() - kept:
        await until_closed(fd, body_file(folder, found[fd]))


@pytest.mark.parametrize("how", ["is written to", "is replaced", "is removed"])
async def test_a_file_that_changes_while_it_lingers_is_opened_anew(
    store: FileStore, folder: Path, opened: list[str], how: str
) -> None:
    await keep_body(store, folder)
    assert await read(store) == CONTENT
    assert lingers(store)
    path, damaged = body_file(folder, "k"), b"\xff" + CONTENT[1:]
    if how == "is written to":
        path.write_bytes(damaged)
    else:
        path.unlink()
        if how == "is replaced":
            path.write_bytes(damaged)
            path.chmod(0o600)
    assert isinstance(await look(store, "k"), Unreadable)
    assert len(opened) > 1


@pytest.mark.parametrize("how", ["put", "delete", "clear", "expire"])
async def test_a_file_that_lingers_goes_at_once_with_its_entry(store: FileStore, folder: Path, how: str) -> None:
    await keep_body(store, folder)
    await read(store)
    assert lingers(store)
    if how == "put":
        await keep(store, "k", make_entry("k"))
    elif how == "delete":
        await store.delete(["k"])
    elif how == "clear":
        await store.clear()
    else:
        await store.delete_expired(float("inf"))
    assert files_in(folder) == ({entry_file(folder, "k").name} if how == "put" else set())


async def test_a_forked_process_holds_no_file_open_that_lingers(store: FileStore, folder: Path) -> None:
    await keep_body(store, folder)
    await read(store)
    (fd,) = lingers(store)
    store._bodies.lingering.after_fork()
    assert not is_open(fd, body_file(folder, "k"))
