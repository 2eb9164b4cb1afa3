"""Files that are damaged, foreign, misplaced or missing, full disks, and directories that are moved."""

# ruff: noqa: ASYNC240  # tests may block
from __future__ import annotations

import errno
import os
import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zlib import crc32

import msgspec
import pytest

from aiohttp_cache_di.backends.disk.place import Place
from aiohttp_cache_di.backends.filesystem.eviction import evictor
from aiohttp_cache_di.backends.filesystem.looking.reader import Reader
from aiohttp_cache_di.backends.filesystem.places import tree
from aiohttp_cache_di.backends.filesystem.places.directory import Directory
from aiohttp_cache_di.backends.filesystem.places.names import ENTRY, leaf_of, name_of
from aiohttp_cache_di.backends.filesystem.records.packing import APART_FROM_BYTES, HEAD_BYTES
from aiohttp_cache_di.backends.filesystem.store import FileStore
from aiohttp_cache_di.backends.store import Item, Record, Unreadable
from aiohttp_cache_di.entries.codec import EntryCodec
from aiohttp_cache_di.errors import StorageError
from aiohttp_cache_di.rfc9111.messages import StoredResponse
from tests.backends.entries import make_entry
from tests.backends.filesystem.places import body_file, entry_file, files_in, make_store
from tests.backends.store_contract import keep, look, walk
from tests.posix import IS_ROOT, as_root, needs_proc, posix_only

LARGE = bytes(range(256)) * (2 * APART_FROM_BYTES // 256)


async def is_a_miss_that_is_overwritten(store: FileStore, key: str = "k") -> None:
    """Assert that there is no readable item under *key*, and that it can be overwritten."""
    found = await look(store, key)
    assert found is None or isinstance(found, Unreadable)
    await walk(store, items=True)
    await keep(store, key, entry := make_entry(key, LARGE))
    assert await look(store, key) == entry
    await keep(store, key, entry := make_entry(key))
    assert await look(store, key) == entry


# ---- the content of files


@pytest.mark.parametrize("secret", [None, "secret"])
async def test_no_bit_of_an_entry_can_be_flipped(folder: Path, secret: str | None) -> None:
    store = make_store(folder, EntryCodec(secret))
    await keep(store, "k", entry := make_entry("k", LARGE))
    path = entry_file(folder, "k")
    data = path.read_bytes()
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        assert isinstance(await look(store, "k"), Unreadable), bit
    path.write_bytes(data)
    assert await look(store, "k") == entry
    await store.close()


@pytest.mark.parametrize("secret", [None, "secret"])
async def test_no_bit_of_a_body_can_be_flipped_also_after_it_was_checked(folder: Path, secret: str | None) -> None:
    store = make_store(folder, EntryCodec(secret))
    await keep(store, "k", entry := make_entry("k", LARGE))
    path = body_file(folder, "k")
    assert path.read_bytes() == LARGE
    os.utime(path, (1, 1))
    for position in random.Random(1).sample(range(len(LARGE)), 50):
        damaged = bytearray(LARGE)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        os.utime(path, (1, 1))
        assert isinstance(await look(store, "k"), Unreadable)
        path.write_bytes(LARGE)
        os.utime(path, (1, 1))
        assert await look(store, "k") == entry
    await store.close()


@pytest.mark.parametrize("size", [0, 1, HEAD_BYTES - 1, HEAD_BYTES, HEAD_BYTES + 1, 100, 200])
async def test_a_truncated_entry_is_a_miss(folder: Path, store: FileStore, size: int) -> None:
    await keep(store, "k")
    os.truncate(entry_file(folder, "k"), size)
    assert isinstance(await look(store, "k"), Unreadable)
    await is_a_miss_that_is_overwritten(store)


@pytest.mark.parametrize("size", [0, 1, len(LARGE) - 1, len(LARGE) + 1])
async def test_a_truncated_or_longer_body_is_a_miss(folder: Path, store: FileStore, size: int) -> None:
    await keep(store, "k", make_entry("k", LARGE))
    os.truncate(body_file(folder, "k"), size)
    assert isinstance(await look(store, "k"), Unreadable)
    await is_a_miss_that_is_overwritten(store)


async def test_a_body_of_which_the_disk_has_lost_a_part_is_a_miss(folder: Path, store: FileStore) -> None:
    await keep(store, "k", make_entry("k", LARGE))
    with body_file(folder, "k").open("r+b") as file:  # as after a power cut: the size is right, but a block is missing
        file.seek(4096)
        file.write(bytes(4096))
    assert isinstance(await look(store, "k"), Unreadable)
    await is_a_miss_that_is_overwritten(store)


@pytest.mark.parametrize("data", [b"", b"text", b"\xacDF\n" + bytes(100), b"\xacDI\n" + bytes(100), bytes(100_000)])
async def test_a_foreign_file_is_a_miss(folder: Path, store: FileStore, data: bytes) -> None:
    await keep(store, "k")
    entry_file(folder, "k").write_bytes(data)
    assert isinstance(await look(store, "k"), Unreadable)
    await is_a_miss_that_is_overwritten(store)


async def test_a_foreign_file_of_any_size_takes_no_memory(folder: Path, store: FileStore) -> None:
    await keep(store, "k")
    with entry_file(folder, "k").open("r+b") as file:
        file.truncate(100 * 1024**3)  # sparse
    assert isinstance(await look(store, "k"), Unreadable)
    await is_a_miss_that_is_overwritten(store)


@pytest.mark.parametrize("secret", [None, "secret"])
async def test_the_entry_of_another_key_is_a_miss(folder: Path, secret: str | None) -> None:
    store = make_store(folder, EntryCodec(secret))
    await keep(store, "k")
    await keep(store, "j", make_entry("j", LARGE))
    shutil.copy(entry_file(folder, "k"), entry_file(folder, "j"))
    assert isinstance(await look(store, "j"), Unreadable)
    await is_a_miss_that_is_overwritten(store, "j")
    await store.close()


@pytest.mark.parametrize("secret", [None, "secret"])
async def test_the_body_of_another_entry_is_a_miss(folder: Path, secret: str | None) -> None:
    store = make_store(folder, EntryCodec(secret))
    await keep(store, "k", make_entry("k", LARGE))
    await keep(store, "j", make_entry("j", LARGE[::-1]))
    shutil.copy(body_file(folder, "k"), body_file(folder, "j"))
    assert isinstance(await look(store, "j"), Unreadable)
    await is_a_miss_that_is_overwritten(store, "j")
    await store.close()


async def test_a_head_that_hides_that_the_body_is_apart_makes_no_body_of_what_stands_in_its_place(
    folder: Path, store: FileStore
) -> None:
    await keep(store, "k", make_entry("k", LARGE))
    path = entry_file(folder, "k")
    data = bytearray(path.read_bytes())
    data[20:28] = bytes(8)  # the token
    data[HEAD_BYTES - 4 : HEAD_BYTES] = crc32(b"k", crc32(data[: HEAD_BYTES - 4])).to_bytes(4, "big")
    path.write_bytes(data)
    assert isinstance(await look(store, "k"), Unreadable)


async def test_no_two_keys_make_frames_that_can_be_taken_for_each_others(folder: Path, store: FileStore) -> None:
    for key in ("\0apart k", "\0whole k", "\0", "k"):
        for body in (b"small", LARGE):
            entry = msgspec.structs.replace(make_entry(key, body), url="http://origin.test/")
            await keep(store, key, entry)
            assert await look(store, key) == entry
    assert set(await walk(store)) == {"\0apart k", "\0whole k", "\0", "k"}


async def test_a_body_that_is_gone_is_a_miss(folder: Path, store: FileStore) -> None:
    await keep(store, "k", make_entry("k", LARGE))
    body_file(folder, "k").unlink()
    assert isinstance(await look(store, "k"), Unreadable)
    await is_a_miss_that_is_overwritten(store)


async def test_an_entry_that_is_replaced_between_its_head_and_its_body_is_read_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, store: FileStore
) -> None:
    other = make_store(folder)
    new = make_entry("k", LARGE[::-1])
    await keep(store, "k", make_entry("k", LARGE))
    real = Reader._with_body

    def replaced_before(*arguments: Any, **options: Any) -> Item | Unreadable:
        monkeypatch.setattr(Reader, "_with_body", real)
        other._writer.put([Record("k", new, 1e12)])
        return real(*arguments, **options)

    monkeypatch.setattr(Reader, "_with_body", replaced_before)
    assert await look(store, "k") == new
    await other.close()


# ---- other things in the place of a file


def link(path: Path) -> None:
    target = path.parents[3] / "elsewhere"
    target.write_bytes(b"mine")
    path.symlink_to(target)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def full_directory(path: Path) -> None:
    path.mkdir()
    (path / "x").touch()


@posix_only
@pytest.mark.parametrize("put", [link, pipe, Path.mkdir, full_directory])
@pytest.mark.timeout(20)
async def test_what_is_no_file_is_a_miss_and_is_left_unread(
    folder: Path, store: FileStore, put: Callable[[Path], Any]
) -> None:
    await keep(store, "k", make_entry("k", LARGE))
    body, entry = body_file(folder, "k"), entry_file(folder, "k")
    for path in (body, entry):
        path.unlink()
        put(path)
        assert isinstance(await look(store, "k"), Unreadable)
    await store.delete(["k"])
    await store.clear()
    await is_a_miss_that_is_overwritten(store)
    elsewhere = folder.parent / "elsewhere"
    assert not elsewhere.exists() or elsewhere.read_bytes() == b"mine"


@pytest.mark.parametrize("depth", [1, 2])
async def test_a_link_in_the_place_of_a_directory_is_not_followed(folder: Path, store: FileStore, depth: int) -> None:
    await keep(store, "k")
    name = name_of("k")
    directory = folder / leaf_of(name) if depth == 2 else folder / name[0]
    elsewhere = folder.parent / "elsewhere"
    directory.rename(elsewhere)
    directory.symlink_to(elsewhere)
    store._tree.close()
    before = sorted(elsewhere.rglob("*"))
    assert await look(store, "k") is None
    assert await walk(store) == {}
    await store.clear()
    await keep(store, "k")
    assert await look(store, "k") is not None
    assert sorted(elsewhere.rglob("*")) == before
    assert not directory.is_symlink()


async def test_a_link_in_the_place_of_the_cache_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "cache").symlink_to(tmp_path / "elsewhere")
    store = make_store(tmp_path / "cache")
    with pytest.raises(StorageError, match="is a symbolic link: give the path that it leads to"):
        await look(store, "k")
    with pytest.raises(StorageError, match="is a symbolic link"):
        await store.put([Record("k", make_entry("k"), 1e12)])
    assert list((tmp_path / "elsewhere").iterdir()) == []
    await store.close()


async def test_a_link_in_the_place_of_the_locks_file_is_not_followed(folder: Path, store: FileStore) -> None:
    await keep(store, "k")
    elsewhere = folder.parent / "elsewhere"
    (folder / "leases").symlink_to(elsewhere)
    with pytest.raises(OSError, match="symbolic link"):
        await store.acquire("k", 5)
    assert not elsewhere.exists()


@pytest.mark.parametrize(("use_temp", "mode"), [(True, 0o700), (False, 0o755)])
async def test_a_directory_of_ours_is_closed_to_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, use_temp: bool, mode: int
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)
    place = Place("cache", tempfile.gettempdir) if use_temp else Place(tmp_path / "cache")
    store = FileStore(place, EntryCodec())
    assert await look(store, "k") is None
    assert (tmp_path / "cache").stat().st_mode & 0o777 == mode
    await keep(store, "k")
    await store.close()


async def test_directories_are_private_whatever_the_umask(tmp_path: Path) -> None:
    store, before = FileStore(Place(tmp_path / "a" / "b" / "cache"), EntryCodec()), os.umask(0)
    try:
        await keep(store, "k")
    finally:
        os.umask(before)
    await store.close()
    modes = {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert modes == {0o700, 0o600}


@as_root
async def test_a_temporary_directory_of_another_user_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "cache").mkdir()
    os.chown(tmp_path / "cache", 65534, 65534)
    store = FileStore(Place("cache", tempfile.gettempdir), EntryCodec())
    with pytest.raises(StorageError, match="belongs to the user 65534"):
        await look(store, "k")
    await store.close()


async def test_files_that_are_not_ours_stay(folder: Path, store: FileStore) -> None:
    await keep(store, "k")
    leaf = entry_file(folder, "k").parent
    others = [folder / "README", leaf / "README", leaf / ("0" * 39), leaf / ("g" * 40), folder / "responses"]
    for path in others:
        path.touch()
    await store.clear()
    await store.delete_expired(1e12)
    assert all(path.exists() for path in others)
    assert set(await walk(store)) == set()


# ---- directories that are removed or moved


async def test_a_cache_that_is_removed_is_begun_anew_at_once(folder: Path, store: FileStore) -> None:
    for _ in range(3):
        await keep(store, "k")
        await keep(store, "j")
        shutil.rmtree(folder)
        assert await look(store, "k") is None
        assert await walk(store) == {}
    shutil.rmtree(folder, ignore_errors=True)
    await keep(store, "k")
    assert await look(store, "k") is not None
    assert (folder / "x").parent.exists()


@pytest.mark.parametrize("depth", [1, 2])
async def test_a_part_that_is_removed_is_made_anew(folder: Path, store: FileStore, depth: int) -> None:
    await keep(store, "k")
    name = name_of("k")
    shutil.rmtree(folder / leaf_of(name) if depth == 2 else folder / name[0])
    await keep(store, "k")
    assert await look(make_store(folder), "k") is not None


async def test_a_part_that_was_removed_and_made_by_another_is_seen(folder: Path, store: FileStore) -> None:
    first = name_of("k")[0]
    near = next(
        key for key in map(str, range(10_000)) if name_of(key)[0] == first and name_of(key)[1] != name_of("k")[1]
    )
    await keep(store, "k")
    shutil.rmtree(folder / first)
    await keep(make_store(folder), near)
    assert await look(store, near) is not None


async def test_a_cache_that_is_moved_away_is_begun_anew_within_a_second(
    folder: Path, monkeypatch: pytest.MonkeyPatch, store: FileStore
) -> None:
    await keep(store, "k")
    folder.rename(folder.with_name("old"))
    monkeypatch.setattr(tree, "CHECKED_FOR_S", 0.0)
    assert await look(store, "k") is None
    await keep(store, "k")
    assert entry_file(folder, "k").exists()


@pytest.mark.parametrize("depth", [1, 2])
async def test_a_part_that_is_moved_away_is_begun_anew_within_a_second(
    folder: Path, monkeypatch: pytest.MonkeyPatch, store: FileStore, depth: int
) -> None:
    await keep(store, "k")
    name = name_of("k")
    part = folder / leaf_of(name) if depth == 2 else folder / name[0]
    part.rename(folder / "old")
    monkeypatch.setattr(tree, "CHECKED_FOR_S", 0.0)
    assert await look(store, "k") is None
    await keep(store, "k", new := make_entry("k", b"new"))
    assert await look(make_store(folder), "k") == new


async def test_a_directory_in_its_place_is_opened_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, store: FileStore
) -> None:
    await keep(store, "k")
    monkeypatch.setattr(tree, "CHECKED_FOR_S", 0.0)
    opened: list[str] = []
    really_open = tree._open_leaf

    def noted(root: Directory, name: str) -> Directory:
        opened.append(name)
        return really_open(root, name)

    monkeypatch.setattr(tree, "_open_leaf", noted)
    for _ in range(3):
        assert await look(store, "k") is not None
    assert opened == []


async def test_what_another_puts_into_a_cache_that_was_made_anew_is_seen(folder: Path, store: FileStore) -> None:
    await keep(store, "k")
    shutil.rmtree(folder)
    other = make_store(folder)
    await keep(other, "k", new := make_entry("k", b"new"))
    assert await look(store, "k") == new
    await other.close()


async def test_looking_makes_no_directory(folder: Path, store: FileStore) -> None:
    assert await look(store, "k") is None
    assert await walk(store) == {}
    await store.delete(["k"])
    await store.clear()
    assert await store.delete_expired(1e12) == 0
    assert not folder.exists()


# ---- disks and permissions


@pytest.mark.skipif(IS_ROOT, reason="permissions mean nothing to root")
async def test_a_directory_that_cannot_be_written_can_still_be_read(folder: Path, store: FileStore) -> None:
    await keep(store, "k")
    leaf = entry_file(folder, "k").parent
    leaf.chmod(0o500)
    with pytest.raises(StorageError):
        await store.put([Record("k", make_entry("k", b"new"), 1e12)])
    assert await look(store, "k") is not None
    leaf.chmod(0o700)


async def test_a_place_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = make_store(tmp_path / "file" / "cache")
    with pytest.raises(StorageError, match="file/cache cannot be used: Not a directory"):
        await look(store, "k")
    with pytest.raises(StorageError, match="file/cache cannot be used: Not a directory"):
        await store.put([Record("k", make_entry("k"), 1e12)])
    await store.close()


@pytest.mark.parametrize("body", [b"small", LARGE])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
async def test_a_disk_that_takes_no_more_keeps_what_it_has_and_no_remnant(
    folder: Path, monkeypatch: pytest.MonkeyPatch, store: FileStore, code: int, body: bytes
) -> None:
    monkeypatch.setattr(evictor, "_FULL", frozenset[int]())  # evicts nothing to make room
    await keep(store, "k", old := make_entry("k", LARGE))
    before = files_in(folder)
    real, left = os.write, len(body) // 2

    def short_write(fd: int, data: bytes) -> int:
        nonlocal left
        if not left:
            raise OSError(code, os.strerror(code))
        written = real(fd, data[:left])
        left -= written
        return written

    monkeypatch.setattr(os, "write", short_write)
    with pytest.raises(StorageError, match=os.strerror(code)):
        await store.put([Record("k", make_entry("k", body), 1e12), Record("j", make_entry("j"), 1e12)])
    monkeypatch.setattr(os, "write", real)
    assert await look(store, "k") == old
    assert files_in(folder) == before


async def test_a_write_that_is_cut_into_pieces_is_whole(
    folder: Path, monkeypatch: pytest.MonkeyPatch, store: FileStore
) -> None:
    real = os.write

    def write_a_little(fd: int, data: bytes) -> int:
        return real(fd, data[:1000])

    monkeypatch.setattr(os, "write", write_a_little)
    await keep(store, "k", entry := make_entry("k", LARGE))
    monkeypatch.undo()
    assert await look(store, "k") == entry


async def test_an_entry_that_cannot_be_put_harms_no_other_of_its_batch(folder: Path, store: FileStore) -> None:
    bad = make_entry("k" * 2 * 1024 * 1024)
    written = await store.put([Record(bad.key, bad, 1e12), Record("j", make_entry("j"), 1e12)])
    assert isinstance(written[0], StorageError)
    assert written[1] == 0
    assert isinstance(await look(store, "j"), StoredResponse)


async def test_too_many_open_files_are_an_error_and_no_miss(monkeypatch: pytest.MonkeyPatch, store: FileStore) -> None:
    await keep(store, "k")
    real = os.open

    def refused(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        if path == name_of("k"):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return real(path, flags, *arguments, **options)

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(OSError, match="Too many open files"):
        await look(store, "k")
    monkeypatch.undo()
    assert await look(store, "k") is not None


async def test_the_disk_is_asked_to_keep_each_file_and_its_name_only_with_fsync(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_proc()
    kept: list[str] = []
    real = os.fsync

    def fsync(fd: int) -> None:
        kept.append(os.readlink(f"/proc/self/fd/{fd}"))
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    for is_wanted in (False, True):
        store = make_store(folder, fsync=is_wanted)
        await keep(store, "k", make_entry("k", LARGE))
        assert bool(kept) == is_wanted
        await store.close()
    assert {Path(path).name.split(".")[0] for path in kept} == {name_of("k"), leaf_of(name_of("k"))[-1]}
    assert len(kept) == 3


async def test_clearing_reads_no_entry_but_those_with_a_body_of_their_own(
    folder: Path, store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(10):
        await keep(store, f"{number}")
    await keep(store, "large", make_entry("large", LARGE))
    opened: list[str] = []
    real_open = os.open

    def listening(path: str, *args: Any, **kwargs: Any) -> int:
        opened.append(os.path.basename(path))
        return real_open(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", listening)
    await store.clear()
    assert [name for name in opened if ENTRY.fullmatch(name)] == [name_of("large")]
    assert files_in(folder) == set()
