"""Ownership of a cache's files: those of other users are not used, and its own are made private."""

# ruff: noqa: ASYNC240  # tests may block
from __future__ import annotations

import errno
import math
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from aiohttp_cache_di.backends.disk import owned
from aiohttp_cache_di.backends.filesystem.places import tree
from aiohttp_cache_di.backends.filesystem.records.packing import APART_FROM_BYTES
from aiohttp_cache_di.backends.filesystem.store import FileStore
from aiohttp_cache_di.backends.store import SECRET_BYTES, Record, Unreadable
from aiohttp_cache_di.errors import StorageError
from tests.backends.entries import make_entry
from tests.backends.filesystem.places import body_file, entry_file, make_store
from tests.backends.store_contract import keep, look, walk
from tests.posix import as_root, posix_only

LARGE = bytes(range(256)) * (2 * APART_FROM_BYTES // 256)
ANOTHER = 12345
SMALL_ENTRY, LARGE_ENTRY = make_entry("small"), make_entry("large", LARGE)
SECRET = bytes(range(SECRET_BYTES))

pytestmark = posix_only


async def fill(store: FileStore) -> None:
    """Make a file of each kind."""
    await keep(store, "small", SMALL_ENTRY)
    await keep(store, "large", LARGE_ENTRY)
    await store.keep_secret(SECRET)
    assert await store.acquire("k", 5)


def give_away(*paths: Path) -> None:
    for path in paths:
        os.chown(path, ANOTHER, ANOTHER)


def modes(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}


async def test_what_others_could_write_is_private_once_it_is_used(folder: Path, store: FileStore) -> None:
    await fill(store)
    await store.close()
    before = modes(folder)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
    again = make_store(folder)
    assert await look(again, "small") == SMALL_ENTRY
    assert await look(again, "large") == LARGE_ENTRY
    assert await again.kept_secret() == SECRET
    assert await again.acquire("k", 5)
    assert modes(folder) == before
    assert set(before.values()) == {0o700, 0o600}
    await again.close()


async def test_a_walk_makes_private_what_it_meets(folder: Path, store: FileStore) -> None:
    await keep(store, "small", SMALL_ENTRY)
    entry_file(folder, "small").chmod(0o644)
    await walk(store)
    assert set(modes(folder).values()) == {0o700, 0o600}


@as_root
async def test_a_cache_that_is_another_users_is_refused(folder: Path, store: FileStore) -> None:
    await fill(store)
    await store.close()
    give_away(folder, *folder.rglob("*"))
    again = make_store(folder)
    with pytest.raises(StorageError, match=rf"cache belongs to the user {ANOTHER}"):
        await look(again, "small")
    (written,) = await again.put([Record("small", SMALL_ENTRY, math.inf)])
    assert isinstance(written, StorageError)
    assert not list(folder.glob("*.tmp"))
    await again.close()


@as_root
@pytest.mark.parametrize("key", ["small", "large"])
@pytest.mark.parametrize("above", [0, 1, 2], ids=["record", "directory", "directory above"])
async def test_what_another_user_has_is_a_miss_that_is_overwritten(
    folder: Path, store: FileStore, above: int, key: str
) -> None:
    await fill(store)
    await store.close()
    path = entry_file(folder, key)
    give_away((path, *path.parents)[above])
    again = make_store(folder)
    found = await look(again, key)
    assert found is None or isinstance(found, Unreadable)
    assert key not in await walk(again, items=True)
    await keep(again, key, entry := make_entry(key, LARGE))
    assert await look(again, key) == entry
    assert entry_file(folder, key).stat().st_uid == body_file(folder, key).stat().st_uid == os.geteuid()
    await again.close()


@as_root
async def test_a_directory_that_is_given_away_while_it_is_open_is_used_for_a_second_at_most(
    monkeypatch: pytest.MonkeyPatch, folder: Path, store: FileStore
) -> None:
    await keep(store, "k")
    assert await look(store, "k") is not None
    give_away(entry_file(folder, "k").parent)
    monkeypatch.setattr(tree, "CHECKED_FOR_S", 0.0)
    assert await look(store, "k") is None
    await keep(store, "k", entry := make_entry("k"))
    assert await look(store, "k") == entry
    assert entry_file(folder, "k").parent.stat().st_uid == os.geteuid()


@as_root
async def test_a_directory_that_another_user_has_closed_is_put_aside(
    monkeypatch: pytest.MonkeyPatch, folder: Path, store: FileStore
) -> None:
    await keep(store, "k")
    await store.close()
    leaf, really_open = entry_file(folder, "k").parent, os.open

    def refusing_open(path: str, flags: int, *args: Any, dir_fd: int | None = None) -> int:
        if path == leaf.name and os.stat(path, dir_fd=dir_fd).st_uid == ANOTHER:
            raise PermissionError(errno.EACCES, "Permission denied")
        return really_open(path, flags, *args, dir_fd=dir_fd)

    give_away(leaf)
    monkeypatch.setattr(os, "open", refusing_open)
    again = make_store(folder)
    assert await look(again, "k") is None
    await keep(again, "k", entry := make_entry("k"))
    assert await look(again, "k") == entry
    await again.close()


@as_root
async def test_a_body_that_another_user_has_is_a_miss_and_goes_with_its_entry(folder: Path, store: FileStore) -> None:
    await fill(store)
    assert await look(store, "large") == LARGE_ENTRY
    give_away(body := body_file(folder, "large"))
    assert isinstance(await look(store, "large"), Unreadable)
    await keep(store, "large", entry := make_entry("large", LARGE))
    assert not body.exists()
    assert await look(store, "large") == entry


@as_root
async def test_a_secret_that_another_user_has_is_replaced(folder: Path, store: FileStore) -> None:
    await store.keep_secret(SECRET)
    give_away(folder / "secret")
    assert await store.kept_secret() is None
    assert await store.keep_secret(SECRET[::-1]) == SECRET[::-1]
    assert await store.kept_secret() == SECRET[::-1]
    assert (folder / "secret").stat().st_uid == os.geteuid()


@as_root
@pytest.mark.parametrize("use_locks", [True, False])
async def test_a_lease_that_another_user_has_holds_up_nothing(folder: Path, use_locks: bool) -> None:
    one, two = (make_store(folder, use_locks=use_locks) for _ in range(2))
    assert await one.acquire("k", 60)
    assert not await two.acquire("k", 60)
    give_away(*(path for path in folder.rglob("*") if path.is_file()))
    three = make_store(folder, use_locks=use_locks)
    assert await three.acquire("k", 60)
    assert {path.stat().st_uid for path in folder.rglob("*")} == {os.geteuid()}
    for store in (one, two, three):
        await store.close()


@as_root
async def test_where_the_file_system_gives_ours_to_another_user_they_are_ours(
    monkeypatch: pytest.MonkeyPatch, folder: Path, store: FileStore
) -> None:
    really_open, really_make = os.open, os.mkdir

    def squashing_open(path: str, flags: int, *args: Any, **options: Any) -> int:
        fd = really_open(path, flags, *args, **options)
        if flags & os.O_CREAT:
            os.fchown(fd, ANOTHER, ANOTHER)
        return fd

    def squashing_mkdir(path: str, *args: Any, **options: Any) -> None:
        really_make(path, *args, **options)
        os.chown(path, ANOTHER, ANOTHER, dir_fd=options.get("dir_fd"))

    monkeypatch.setattr(owned, "_users_there", {})
    monkeypatch.setattr(os, "open", squashing_open)
    monkeypatch.setattr(os, "mkdir", squashing_mkdir)
    monkeypatch.setattr(os, "geteuid", lambda: ANOTHER + 1)
    await fill(store)
    await store.close()
    again = make_store(folder)
    assert await look(again, "small") == SMALL_ENTRY
    assert await look(again, "large") == LARGE_ENTRY
    assert await again.kept_secret() == SECRET
    assert {path.stat().st_uid for path in folder.rglob("*")} == {ANOTHER}
    assert not list(folder.rglob("owner.*"))
    os.chown(entry_file(folder, "small"), ANOTHER + 2, -1)
    assert isinstance(await look(again, "small"), Unreadable)
    await again.close()
