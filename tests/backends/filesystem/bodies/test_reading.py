"""Bodies that are written to files as they arrive, and read from them in pieces."""

# ruff: noqa: ASYNC110, ASYNC240  # no event says that nothing happens; and tests may block
from __future__ import annotations

import asyncio
import errno
import gc
import os
import pickle
import shutil
import threading
from functools import partial
from pathlib import Path

import pytest
from msgspec.structs import replace

from aiohttp_cache_di.backends.disk.place import Place
from aiohttp_cache_di.backends.filesystem import FileCache
from aiohttp_cache_di.backends.filesystem.bodies import reading, spool
from aiohttp_cache_di.backends.filesystem.eviction import counting, evictor
from aiohttp_cache_di.backends.filesystem.eviction.counting import Counts
from aiohttp_cache_di.backends.filesystem.places import directory
from aiohttp_cache_di.backends.filesystem.places.directory import Directory
from aiohttp_cache_di.backends.filesystem.places.names import body_name, leaf_of, name_of
from aiohttp_cache_di.backends.filesystem.places.tree import Tree
from aiohttp_cache_di.backends.filesystem.pool import Pool
from aiohttp_cache_di.backends.filesystem.records import files
from aiohttp_cache_di.backends.filesystem.records.packing import PIECE_BYTES, Filed
from aiohttp_cache_di.backends.filesystem.store import FileStore
from aiohttp_cache_di.backends.memory import DictCache
from aiohttp_cache_di.backends.store import Record, Unreadable
from aiohttp_cache_di.backends.store.capabilities import Spooling
from aiohttp_cache_di.backends.store.sizes import Bounds
from aiohttp_cache_di.entries.codec import EntryCodec
from aiohttp_cache_di.entries.filed import FiledBody, FiledPart, FiledResponse, in_memory, with_body
from aiohttp_cache_di.errors import StorageError, UnreadableEntryError
from aiohttp_cache_di.response import CachedResponse
from aiohttp_cache_di.rfc9111.messages import StoredResponse
from tests.backends.entries import make_entry
from tests.backends.filesystem.places import age, body_file, entry_file, files_in, is_open, make_store
from tests.backends.store_contract import keep, look, walk
from tests.posix import posix_only

CONTENT = b"".join(n.to_bytes(4, "big") for n in range((2 * PIECE_BYTES + 5000) // 4))
"""Three pieces, no two of whose parts are alike."""

PLAIN = make_entry("k", b"new")


async def spooled(store: FileStore, key: str = "k", content: bytes = CONTENT) -> FiledResponse:
    """An entry whose body has been written to a file."""
    body = store.spool(key)
    for at in range(0, len(content), 100_000):
        body.append(content[at : at + 100_000])
    entry = with_body(replace(PLAIN, key=key), await body.finish())
    assert isinstance(entry, FiledResponse)
    return entry


async def keep_spooled(store: FileStore, key: str = "k", content: bytes = CONTENT) -> None:
    """Put such an entry, and drop all references to it."""
    await keep(store, key, await spooled(store, key, content))
    await closed(store)


async def idle(pool: Pool) -> None:
    """Wait until *pool* has done all of its work: all of its threads meet at a barrier."""
    await asyncio.sleep(0)  # the loop passes posted work to the threads after jobs that were submitted directly
    barrier = threading.Barrier(pool.size)
    await asyncio.gather(*(pool.run(partial(barrier.wait, 10)) for _ in range(pool.size)))


async def closed(store: FileStore) -> None:
    """Wait until all files without a reader are closed."""
    for pool in (store._readers, store._writers, store._bodies.pool):
        await idle(pool)  # a thread may still reference its last answer
    gc.collect()
    await idle(store._bodies.pool)


async def found(store: FileStore, key: str = "k") -> FiledResponse:
    """The entry under *key*; asserts that its body is in a file."""
    entry = await look(store, key)
    assert isinstance(entry, FiledResponse)
    return entry


async def content_of(body: FiledBody) -> bytes:
    """The whole body, read piece by piece."""
    pieces: list[bytes] = []
    at = 0
    while piece := await body.piece(at):
        pieces.append(piece)
        at += len(piece)
    return b"".join(pieces)


def same(one: object, other: object) -> bool:
    """Whether they are equal; pytest would take minutes to show how large bodies differ."""
    return one == other


def flip(path: Path, at: int) -> None:
    """Change one bit of a file."""
    with path.open("r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 1]))


async def sweep(folder: Path, *, at: float) -> None:
    """Sweep the directory of "k" as another process would at that time."""
    await asyncio.to_thread(Counts(Tree(Place(folder))).count, name_of("k")[:2], at)


async def tidied(store: FileStore) -> None:
    """Wait until no count or eviction is running."""
    while store._eviction._under_way_in is not None:
        await asyncio.sleep(0.001)


# ---- in and out


def test_the_store_can_do_it(folder: Path) -> None:
    assert isinstance(make_store(folder), Spooling)


@pytest.mark.parametrize("secret", [None, "secret"])
@pytest.mark.parametrize("size", [1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, len(CONTENT)])
async def test_what_was_spooled_is_what_is_read(folder: Path, secret: str | None, size: int) -> None:
    store = make_store(folder, EntryCodec(secret))
    await keep_spooled(store, content=CONTENT[:size])
    entry = await found(store)
    assert entry.body == b""
    assert entry.body_bytes == size
    assert same(await entry.file.whole(), CONTENT[:size])
    assert same(await content_of(entry.file), CONTENT[:size])
    assert same(await in_memory(entry), replace(PLAIN, body=CONTENT[:size]))
    assert same(body_file(folder, "k").read_bytes(), CONTENT[:size]), "the file is the body and nothing else"
    await store.close()


async def test_a_part_is_read_by_seeking(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    await keep_spooled(store)
    entry = await found(store)
    read: list[int] = []

    def noted(fd: int, size: int, at: int) -> bytes:
        read.append(at)
        return os.pread(fd, size, at)

    monkeypatch.setattr(reading, "read_at", noted)
    first = PIECE_BYTES + 7
    part = FiledPart(entry.file, first, 100)
    assert same(await part.whole(), CONTENT[first : first + 100])
    assert read == [PIECE_BYTES]
    across = FiledPart(entry.file, PIECE_BYTES - 10, PIECE_BYTES + 20)
    assert same(await across.whole(), CONTENT[PIECE_BYTES - 10 : 2 * PIECE_BYTES + 10])
    assert await across.piece(across.length) == b""
    assert across.path is None


async def test_a_file_is_private_and_nothing_is_left_beside_it(store: FileStore, folder: Path) -> None:
    await keep_spooled(store)
    name = name_of("k")
    assert files_in(folder) == {name, body_file(folder, "k").name}
    assert {path.stat().st_mode & 0o777 for path in folder.glob("?/?/*")} == {0o600}


async def test_small_pieces_are_written_as_well(store: FileStore) -> None:
    body = store.spool("k")
    for at in range(0, 700_000, 7):
        body.append(CONTENT[at : at + 7])
    await body.drain(0)
    assert body.waiting_bytes == 0
    assert same(await (await body.finish()).whole(), CONTENT[:700_000])


@pytest.mark.parametrize("has_writev", [True, False])
async def test_what_the_disk_takes_in_parts_is_written_whole(
    store: FileStore, monkeypatch: pytest.MonkeyPatch, has_writev: bool
) -> None:
    def few(fd: int, pieces: list[bytes]) -> int:
        return os.write(fd, b"".join(pieces)[:150_001])

    if has_writev:
        monkeypatch.setattr(os, "writev", few)
    else:
        monkeypatch.delattr(os, "writev")
    await keep_spooled(store)
    assert same(await content_of((await found(store)).file), CONTENT)


async def test_readers_share_one_descriptor_which_is_closed_with_the_last(store: FileStore, folder: Path) -> None:
    await keep_spooled(store)
    one, other = await found(store), await found(store)
    assert one.file is other.file
    fd = one.file.fd
    assert is_open(fd, body_file(folder, "k"))
    del one, other
    await closed(store)
    assert not is_open(fd, body_file(folder, "k"))


async def test_the_path_is_that_of_the_body_before_and_after_its_entry_is_written(
    store: FileStore, folder: Path
) -> None:
    entry = await spooled(store)
    path = entry.file.path
    assert same(path.read_bytes(), CONTENT)
    await keep(store, "k", entry)
    assert entry.file.path == path == body_file(folder, "k")


@posix_only
async def test_a_body_that_is_put_first_under_another_key_has_its_path_there(store: FileStore, folder: Path) -> None:
    entry = await spooled(store)
    await keep(store, "other", replace(entry, key="other"))
    assert entry.file.path == body_file(folder, "other")
    assert files_in(folder) == {name_of("other"), body_file(folder, "other").name}
    assert same(await content_of(entry.file), CONTENT)


async def test_an_entry_that_is_still_being_written_can_be_read(store: FileStore) -> None:
    entry = await spooled(store)
    assert same(await content_of(entry.file), CONTENT)
    await keep(store, "k", entry)
    assert same(await content_of(entry.file), CONTENT)


async def test_a_body_cannot_be_pickled(store: FileStore) -> None:
    entry = await spooled(store)
    with pytest.raises(TypeError, match="read it first"):
        pickle.dumps(entry.file)


async def test_a_walk_reads_and_opens_no_body(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    await keep_spooled(store)
    opened: list[str] = []

    def noted(self: reading.BodyFile, leaf: Directory) -> bool:
        opened.append(self.name)
        return False

    monkeypatch.setattr(reading.BodyFile, "open_in", noted)
    ((_, entry),) = (await walk(store, items=True)).values()
    assert isinstance(entry, FiledResponse)
    assert entry.body_bytes == len(CONTENT)
    assert not opened
    monkeypatch.undo()
    assert same(await content_of(entry.file), CONTENT)


async def test_what_a_walk_has_met_can_be_put_again(store: FileStore) -> None:
    await keep_spooled(store)
    ((_, entry),) = (await walk(store, items=True)).values()
    assert isinstance(entry, FiledResponse)
    await keep(store, "k", replace(entry, fresh_until=entry.fresh_until + 60))
    again = await found(store)
    assert again.fresh_until == entry.fresh_until + 60
    assert same(await content_of(again.file), CONTENT)


# ---- replaced, moved, dropped


async def test_new_header_fields_leave_the_body_where_it_is(store: FileStore, folder: Path) -> None:
    await keep_spooled(store)
    path = body_file(folder, "k")
    before = path.stat()
    entry = await found(store)
    await keep(store, "k", replace(entry, fresh_until=entry.fresh_until + 60))
    after = body_file(folder, "k").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    again = await found(store)
    assert again.fresh_until == entry.fresh_until + 60
    assert same(await content_of(again.file), CONTENT)


async def test_an_entry_can_be_put_under_another_key(store: FileStore, folder: Path) -> None:
    await keep_spooled(store)
    await keep(store, "other", replace(await found(store), key="other"))
    await store.delete(["k"])
    await closed(store)
    entry = await found(store, "other")
    assert same(await content_of(entry.file), CONTENT)
    assert files_in(folder) == {name_of("other"), body_file(folder, "other").name}


@pytest.mark.parametrize("how", ["delete", "clear", "replace", "another process"])
async def test_a_body_is_read_to_its_end_though_its_entry_goes(store: FileStore, folder: Path, how: str) -> None:
    await keep_spooled(store)
    entry = await found(store)
    path = entry.file.path
    assert path is not None
    assert same(await entry.file.piece(0), CONTENT[:PIECE_BYTES])
    if how == "delete":
        await store.delete(["k"])
    elif how == "clear":
        await store.clear()
    elif how == "replace":
        await keep(store, "k", PLAIN)
    else:
        other = make_store(folder)
        await other.delete(["k"])
        await other.close()
    assert same(path.read_bytes(), CONTENT), "it can still be opened by its path"
    assert same(await content_of(entry.file), CONTENT)
    del entry
    await closed(store)
    assert not path.exists()
    assert (await look(store, "k") == PLAIN) is (how == "replace")


async def test_a_body_that_no_one_reads_goes_with_its_entry(store: FileStore, folder: Path) -> None:
    await keep_spooled(store)
    await store.delete(["k"])
    assert files_in(folder) == set()


async def test_a_body_can_be_read_though_all_files_are_gone(store: FileStore, folder: Path) -> None:
    await keep_spooled(store)
    entry = await found(store)
    shutil.rmtree(folder)
    assert same(await content_of(entry.file), CONTENT)
    await keep(store, "k", entry)
    assert same(await content_of((await found(store)).file), CONTENT)


async def test_another_store_refuses_what_it_does_not_hold(store: FileStore, tmp_path: Path) -> None:
    entry = await spooled(store)
    other = make_store(tmp_path / "other")
    assert not other.holds(entry.file)
    assert not store.holds(FiledPart(entry.file, 0, 5))
    (written,) = await other.put([Record("k", entry, 1e12)])
    assert isinstance(written, StorageError)
    with pytest.raises(StorageError, match="its body is in a file"):
        EntryCodec().pack(entry, "k")
    await other.close()


async def test_a_response_can_be_written_to_another_cache(tmp_path: Path) -> None:
    cache, copy, memory = FileCache(tmp_path / "one"), FileCache(tmp_path / "other"), DictCache()
    store = cache.stack.store
    assert isinstance(store, FileStore)
    await keep_spooled(store)
    response = await cache.read("k")
    assert isinstance(response, CachedResponse)
    for target in (copy, memory):
        await target.write("k", response)
        read = await target.read("k")
        assert isinstance(read, CachedResponse)
        assert same(await read.read(), CONTENT)
    del response, read
    await cache.close()
    await copy.close()


# ---- damage and failures


@pytest.mark.parametrize("at", [0, len(CONTENT) - 1])
@pytest.mark.parametrize("secret", [None, "secret"])
async def test_a_body_whose_beginning_or_end_is_damaged_is_a_miss_that_is_overwritten(
    folder: Path, at: int, secret: str | None
) -> None:
    store = make_store(folder, EntryCodec(secret))
    await keep_spooled(store)
    flip(body_file(folder, "k"), at)
    assert isinstance(await look(store, "k"), Unreadable)
    await keep_spooled(store)
    assert same(await content_of((await found(store)).file), CONTENT)
    await store.close()


@pytest.mark.parametrize("secret", [None, "secret"])
@pytest.mark.parametrize("whole", [False, True])
async def test_a_body_that_is_damaged_elsewhere_ends_there_and_its_entry_goes(
    folder: Path, whole: bool, secret: str | None
) -> None:
    store = make_store(folder, EntryCodec(secret))
    await keep_spooled(store)
    flip(body_file(folder, "k"), PIECE_BYTES + 10)
    entry = await found(store)
    if not whole:
        assert same(await entry.file.piece(0), CONTENT[:PIECE_BYTES])
    with pytest.raises(UnreadableEntryError):
        await (entry.file.whole() if whole else entry.file.piece(PIECE_BYTES))
    await store._bodies.pool.finish(5)
    assert await look(store, "k") is None
    await keep_spooled(store)
    assert same(await content_of((await found(store)).file), CONTENT)
    await store.close()


async def test_a_body_that_changes_while_it_is_read_is_found_out(store: FileStore, folder: Path) -> None:
    await keep_spooled(store)
    entry = await found(store)
    assert same(await entry.file.whole(), CONTENT)
    flip(body_file(folder, "k"), PIECE_BYTES + 10)
    with pytest.raises(UnreadableEntryError):
        await entry.file.piece(PIECE_BYTES)


async def test_a_body_that_was_checked_is_not_checked_again_until_it_changes(
    store: FileStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SETTLED_AFTER_S", "SETTLED_SOON_AFTER_S"):
        monkeypatch.setattr(f"aiohttp_cache_di.backends.filesystem.records.checked.{name}", -1)
    await keep_spooled(store)
    assert same(await content_of((await found(store)).file), CONTENT)
    await closed(store)
    checked: list[int] = []
    is_piece = Filed.is_piece

    def noted(self: Filed, number: int, data: bytes) -> bool:
        checked.append(number)
        return is_piece(self, number, data)

    monkeypatch.setattr(Filed, "is_piece", noted)
    entry = await found(store)
    assert same(await content_of(entry.file), CONTENT)
    assert checked == []
    flip(body_file(folder, "k"), PIECE_BYTES + 10)
    with pytest.raises(UnreadableEntryError):
        await content_of(entry.file)


@pytest.mark.parametrize("how", ["cut", "longer", "gone", "a directory", "a link", "another body"])
async def test_a_body_that_is_torn_foreign_or_swapped_is_a_miss_that_is_overwritten(
    store: FileStore, folder: Path, tmp_path: Path, how: str
) -> None:
    await keep_spooled(store)
    path = body_file(folder, "k")
    if how == "cut":
        os.truncate(path, len(CONTENT) - 1)
    elif how == "longer":
        os.truncate(path, len(CONTENT) + 1)
    elif how == "another body":
        await keep_spooled(store, "other", bytes(len(CONTENT)))
        body_file(folder, "other").replace(path)
    else:
        path.unlink()
        if how == "a directory":
            path.mkdir()
        elif how == "a link":
            (tmp_path / "secret").write_bytes(CONTENT)
            path.symlink_to(tmp_path / "secret")
    assert isinstance(await look(store, "k"), Unreadable)
    await keep_spooled(store)
    assert same(await content_of((await found(store)).file), CONTENT)


async def test_no_bit_of_a_spooled_entry_can_be_flipped(store: FileStore, folder: Path) -> None:
    await keep_spooled(store, content=CONTENT[:1000])
    path = entry_file(folder, "k")
    data = path.read_bytes()
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        assert isinstance(await look(store, "k"), Unreadable), bit
    path.write_bytes(data)
    assert same(await content_of((await found(store)).file), CONTENT[:1000])


async def test_an_unsigned_body_is_no_signed_one(folder: Path) -> None:
    store = make_store(folder)
    await keep_spooled(store)
    await store.close()
    signing = make_store(folder, EntryCodec("secret"))
    assert isinstance(await look(signing, "k"), Unreadable)
    await signing.close()


async def test_a_full_disk_costs_the_body_and_leaves_nothing(
    store: FileStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(fd: int, data: object) -> int:
        raise OSError(errno.ENOSPC, "no space left on device")

    body = store.spool("k")
    body.append(CONTENT[: spool.BEGIN_AT_BYTES])
    await body.drain(0)
    assert len(files_in(folder)) == 1
    monkeypatch.setattr(os, "writev", write)
    body.append(CONTENT[: spool.BEGIN_AT_BYTES])
    await body.drain(0)
    assert isinstance(body.error, OSError)
    body.append(b"more")
    assert body.waiting_bytes == 0
    with pytest.raises(OSError, match="no space left"):
        await body.finish()
    await idle(store._writers)
    assert files_in(folder) == set()


@pytest.mark.parametrize("how", ["abandon", "drop", "cancel"])
async def test_a_body_that_is_given_up_leaves_nothing(store: FileStore, folder: Path, how: str) -> None:
    body = store.spool("k")
    body.append(CONTENT)
    await body.drain(0)
    assert len(files_in(folder)) == 1
    if how == "abandon":
        body.abandon()
        body.append(b"more")
        await body.drain(0)
        with pytest.raises(StorageError):
            await body.finish()
    elif how == "cancel":
        finishing = asyncio.ensure_future(body.finish())
        await asyncio.sleep(0)
        finishing.cancel()
        await asyncio.wait([finishing])
    del body
    gc.collect()
    await idle(store._writers)
    await closed(store)
    assert files_in(folder) == set()


async def test_a_body_that_is_given_up_is_never_finished(store: FileStore, folder: Path) -> None:
    may_go_on = threading.Event()
    body = store.spool("k")
    body.append(CONTENT)
    await body.drain(0)
    held = store._writers.run(partial(may_go_on.wait, 60))
    also_held = store._writers.run(partial(may_go_on.wait, 60))
    body.abandon()
    finishing = asyncio.ensure_future(body.finish())
    with pytest.raises(StorageError, match="given up"):
        await asyncio.wait_for(finishing, 20)  # whether or not a thread has already handled the abandonment
    may_go_on.set()
    await asyncio.gather(held, also_held)


async def test_a_body_that_is_given_up_as_its_store_closes_is_gone_once_that_is_closed(
    store: FileStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = store.spool("k")
    body.append(CONTENT)
    await body.drain(0)
    discard = body._growing.discard

    def dawdle() -> None:
        threading.Event().wait(0.05)
        discard()

    monkeypatch.setattr(body._growing, "discard", dawdle)
    body.abandon()
    await store.close()
    assert files_in(folder) == set()


async def test_a_body_that_is_used_after_its_store_was_closed_is_kept(store: FileStore, folder: Path) -> None:
    growing = store.spool("growing")
    growing.append(CONTENT)
    await growing.drain(0)
    finished = await spooled(store, "finished")
    await store.close()
    await keep(store, "finished", finished)
    await keep(store, "growing", with_body(replace(PLAIN, key="growing"), await growing.finish()))
    del growing, finished
    for key in ("finished", "growing"):
        assert same(await content_of((await found(store, key)).file), CONTENT)
    await closed(store)
    assert len(files_in(folder)) == 4


async def test_a_body_that_is_let_go_of_after_its_store_was_closed_leaves_nothing(
    store: FileStore, folder: Path
) -> None:
    growing = store.spool("growing")
    growing.append(CONTENT)
    await growing.drain(0)
    finished = await spooled(store, "finished")
    await store.close()
    del growing, finished
    await closed(store)
    await idle(store._writers)
    assert files_in(folder) == set()


async def test_a_body_of_which_a_put_has_failed_goes_with_its_last_reader(
    store: FileStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = await spooled(store)

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(files, "_move", fail)
    with pytest.raises(StorageError, match="no space left"):
        await keep(store, "k", entry)
    monkeypatch.undo()
    assert len(files_in(folder)) == 1
    del entry
    await closed(store)
    assert files_in(folder) == set()


@posix_only
async def test_a_body_that_is_given_up_goes_though_its_file_cannot_be_closed(
    store: FileStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = store.spool("k")
    body.append(CONTENT)
    await body.drain(0)
    close = os.close

    def fail(fd: int) -> None:
        close(fd)
        raise OSError(errno.EDQUOT, "the quota is used up")

    monkeypatch.setattr(os, "close", fail)
    body.abandon()
    await idle(store._writers)
    monkeypatch.undo()
    assert files_in(folder) == set()


async def test_a_body_that_is_finished_and_never_put_leaves_nothing(store: FileStore, folder: Path) -> None:
    entry = await spooled(store)
    assert len(files_in(folder)) == 1
    del entry
    await closed(store)
    assert files_in(folder) == set()


@pytest.mark.parametrize("locks", [True, False])
async def test_what_a_dead_process_has_left_is_swept(
    folder: Path, monkeypatch: pytest.MonkeyPatch, locks: bool
) -> None:
    store = make_store(folder)
    body = store.spool("k")
    body.append(CONTENT)
    await body.drain(0)
    (name,) = files_in(folder)
    path = folder / leaf_of(name_of("k")) / name
    at = path.stat().st_mtime
    await sweep(folder, at=at + 4000)
    assert path.exists(), "it is being written"
    fd, body._growing._fd = body._growing._fd, None  # as when the process ends
    assert fd is not None
    os.close(fd)
    if not locks:
        monkeypatch.setattr(directory, "FCNTL", None)
    await sweep(folder, at=at + counting.ORPHAN_AFTER_S - 10)
    assert path.exists(), "it is not old"
    await sweep(folder, at=at + counting.ORPHAN_AFTER_S + 10)
    assert not path.exists()
    await store.close()


async def test_a_body_that_belongs_to_no_entry_is_swept_when_no_one_reads_it(folder: Path) -> None:
    store, other = make_store(folder), make_store(folder)
    await keep_spooled(store)
    entry = await found(store)
    path = entry.file.path
    assert path is not None
    await other.delete(["k"])
    later = path.stat().st_mtime + counting.ORPHAN_AFTER_S + 10
    await sweep(folder, at=later)
    assert path.exists()
    os.close(entry.file.fd)  # as when the reading process ends
    entry.file.fd = None
    await sweep(folder, at=later)
    assert not path.exists()
    await store.close()
    await other.close()


@posix_only
async def test_a_file_system_without_locks_keeps_bodies_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(fd: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr("fcntl.flock", flock)
    store = make_store(folder)
    await keep_spooled(store)
    entry = await found(store)
    await store.delete(["k"])
    assert files_in(folder) == set()
    assert same(await content_of(entry.file), CONTENT)
    await store.close()


# ---- the bound


async def test_the_bound_counts_bodies_in_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evictor, "SHARE", 0)
    monkeypatch.setattr(evictor, "MIN_REST_S", 0)
    store = make_store(tmp_path, bounds=Bounds(2 * len(CONTENT), None))
    for key in ("a", "b", "c"):
        await keep_spooled(store, key)
        age(entry_file(tmp_path, key), 100 - ord(key))
        await tidied(store)
    assert await look(store, "a") is None
    assert isinstance(await look(store, "c"), FiledResponse)
    await store.close()


@posix_only
@pytest.mark.parametrize("how", ["replaced", "deleted"])
async def test_a_body_that_is_read_though_its_entry_is_gone_costs_no_other_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(evictor, "SHARE", 0)
    monkeypatch.setattr(evictor, "MIN_REST_S", 0)
    store = make_store(tmp_path / "cache", bounds=Bounds(2 * len(CONTENT), None))
    for number in range(10):
        await keep(store, str(number), make_entry(str(number)))
    held = list[FiledResponse]()
    for _ in range(3):
        await keep_spooled(store)
        held.append(await found(store))
        if how == "deleted":
            await store.delete(["k"])
        await tidied(store)
    assert len([name for name in files_in(tmp_path / "cache") if "." in name]) == 3
    await keep(store, "new", make_entry("new"))
    await tidied(store)
    for number in range(10):
        assert await look(store, str(number)) is not None
    held.clear()
    await closed(store)
    assert len([name for name in files_in(tmp_path / "cache") if "." in name]) == (1 if how == "replaced" else 0)
    await store.close()


async def test_one_body_may_be_as_large_as_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evictor, "SHARE", 0)
    monkeypatch.setattr(evictor, "MIN_REST_S", 0)
    store = make_store(tmp_path, bounds=Bounds(len(CONTENT), None))
    assert store.largest_body_bytes == len(CONTENT)
    await keep(store, "small", make_entry("small", b"small"))
    age(entry_file(tmp_path, "small"), 100)
    await keep_spooled(store)
    await tidied(store)
    assert await look(store, "small") is None
    assert isinstance(await look(store, "k"), FiledResponse)
    await store.close()


async def test_a_body_of_another_key_is_not_taken_for_ones_own(store: FileStore, folder: Path) -> None:
    await keep_spooled(store, "a")
    await keep_spooled(store, "b", CONTENT[::-1])
    a, b = body_file(folder, "a"), body_file(folder, "b")
    a.replace(b.with_name("x"))
    b.replace(a)
    b.with_name("x").replace(b)
    assert isinstance(await look(store, "a"), Unreadable)
    assert isinstance(await look(store, "b"), Unreadable)
    assert body_name(name_of("a"), b"\0" * 8) != a.name


def entry_without_body(entry: StoredResponse) -> StoredResponse:
    """The same entry with an empty body."""
    return with_body(entry, b"")


async def test_an_entry_can_be_told_without_its_body(store: FileStore) -> None:
    entry = await spooled(store)
    assert type(entry_without_body(entry)) is StoredResponse
    assert entry_without_body(entry) == replace(PLAIN, body=b"")
