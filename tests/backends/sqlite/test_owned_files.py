"""Ownership: SQLite's files and the file of counters are made private, or refused if another user owns them."""

# ruff: noqa: ASYNC240  # tests may block: they do to files what others would do
from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aiohttp_cache_di.backends.sqlite import SQLiteCache
from aiohttp_cache_di.errors import StorageError
from tests.backends.entries import make_entry
from tests.posix import as_root, posix_only

NOBODY = 65534
SUFFIXES = ("", "-wal", "-shm", "-generations")

pytestmark = posix_only


@pytest.fixture
async def cache(tmp_path: Path) -> AsyncIterator[SQLiteCache]:
    storage = SQLiteCache(tmp_path / "cache", "responses", near_tier=False)
    yield storage
    await storage.close()


def modes(directory: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}


async def left_open(cache: SQLiteCache, tmp_path: Path) -> None:
    """All files, as a killed program leaves them."""
    await cache.write_entry(make_entry("k"))
    for suffix in SUFFIXES:
        shutil.copy(tmp_path / f"cache.sqlite{suffix}", tmp_path / f"copy{suffix}")
    await cache.close()
    for suffix in SUFFIXES:
        shutil.move(tmp_path / f"copy{suffix}", tmp_path / f"cache.sqlite{suffix}")


async def test_files_that_anyone_can_write_are_made_private(cache: SQLiteCache, tmp_path: Path) -> None:
    await left_open(cache, tmp_path)
    for suffix in SUFFIXES:
        (tmp_path / f"cache.sqlite{suffix}").chmod(0o666)
    assert await cache.read_entry("k") is not None
    await cache.write_entry(make_entry("k"))
    assert modes(tmp_path) == {f"cache.sqlite{suffix}": 0o600 for suffix in SUFFIXES}


@as_root
@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", "-journal"])
async def test_a_file_of_another_user_is_refused(cache: SQLiteCache, tmp_path: Path, suffix: str) -> None:
    await left_open(cache, tmp_path)
    path = tmp_path / f"cache.sqlite{suffix}"
    path.touch()
    os.chown(path, NOBODY, NOBODY)
    for ask in (cache.read_entry("k"), cache.write_entry(make_entry("k"))):
        with pytest.raises(StorageError, match=f"cache.sqlite{suffix} belongs to the user {NOBODY}"):
            await ask
    os.chown(path, 0, 0)
    if suffix == "-journal":
        path.unlink()
    assert await cache.read_entry("k") is not None, "once it is ours"


@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal"])
async def test_a_link_beside_the_file_is_refused(cache: SQLiteCache, tmp_path: Path, suffix: str) -> None:
    await cache.write_entry(make_entry("k"))
    await cache.close()
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / f"cache.sqlite{suffix}").symlink_to("victim")
    with pytest.raises(StorageError, match="is a link"):
        await cache.write_entry(make_entry("k"))
    assert (tmp_path / "victim").read_bytes() == b"precious"


@as_root
async def test_a_link_that_another_user_has_put_in_place_of_the_file_is_refused(
    cache: SQLiteCache, tmp_path: Path
) -> None:
    (tmp_path / "cache.sqlite").symlink_to(tmp_path / "victim")
    os.chown(tmp_path / "cache.sqlite", NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(StorageError, match=f"belongs to the user {NOBODY}"):
        await cache.write_entry(make_entry("k"))
    assert not (tmp_path / "victim").exists()


@as_root
async def test_counters_of_another_user_are_made_anew(tmp_path: Path) -> None:
    cache = SQLiteCache(tmp_path / "cache", "responses")
    await cache.write_entry(make_entry("k"))
    await cache.close()
    os.chown(tmp_path / "cache.sqlite-generations", NOBODY, NOBODY)
    (tmp_path / "cache.sqlite-generations").chmod(0o666)
    await cache.write_entry(make_entry("k"))
    assert (tmp_path / "cache.sqlite-generations").stat().st_uid == 0
    assert modes(tmp_path)["cache.sqlite-generations"] == 0o600
    await cache.close()


async def test_directories_are_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        cache = SQLiteCache(tmp_path / "a" / "b" / "cache", "responses")
        await cache.write_entry(make_entry("k"))
        await cache.close()
    finally:
        os.umask(before)
    assert modes(tmp_path) == {"a": 0o700}
    assert modes(tmp_path / "a") == {"b": 0o700}


async def test_a_temporary_cache_is_in_a_private_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    directory = tmp_path / f"aiohttp-cache-di-{os.geteuid()}"
    cache = SQLiteCache("some/where/x", use_temp=True)
    assert cache.filename == str(directory / "x.sqlite")
    await cache.write_entry(make_entry("k"))
    await cache.close()
    assert modes(tmp_path) == {directory.name: 0o700}
    directory.rename(tmp_path / "elsewhere")
    directory.symlink_to("elsewhere")
    with pytest.raises(StorageError, match="not a directory"):
        await cache.read_entry("k")


async def test_a_damaged_file_behind_a_link_is_set_aside_where_it_is(cache: SQLiteCache, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_bytes(b"not a database\n" * 1000)
    (tmp_path / "cache.sqlite").symlink_to(tmp_path / "elsewhere" / "file")
    await cache.write_entry(make_entry("k"))
    assert await cache.read_entry("k") is not None
    assert (tmp_path / "cache.sqlite").is_symlink()
    assert (tmp_path / "elsewhere" / "file.corrupt-1").exists()


async def test_the_newest_two_damaged_files_are_kept_with_what_belongs_to_them(
    cache: SQLiteCache, tmp_path: Path
) -> None:
    (tmp_path / "cache.sqlite.corrupt-x").touch()
    for n in range(9, 13):
        (tmp_path / f"cache.sqlite.corrupt-{n}").touch()
        (tmp_path / f"cache.sqlite.corrupt-{n}-wal").touch()
    (tmp_path / "cache.sqlite").write_bytes(b"not a database\n" * 1000)
    assert await cache.read_entry("k") is None
    aside = {path.name.removeprefix("cache.sqlite.") for path in tmp_path.glob("*.corrupt-*")}
    assert aside == {"corrupt-12", "corrupt-12-wal", "corrupt-13", "corrupt-x"}
