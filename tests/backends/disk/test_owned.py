"""Private files: those of other users are refused, and the cache's own are made private."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiohttp_cache_di.backends.disk import owned
from aiohttp_cache_di.errors import StorageError
from tests.posix import as_root, posix_only

NOBODY = 65534

pytestmark = posix_only


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("no_umask")
def test_directories_are_private_whatever_the_umask(tmp_path: Path) -> None:
    owned.make_directories(str(tmp_path / "a" / "b" / "c"))
    assert [mode(tmp_path / each) for each in ("a", "a/b", "a/b/c")] == [0o700] * 3
    owned.make_directories(str(tmp_path / "a" / "b" / "c"))


def test_a_directory_that_a_file_is_in_the_way_of_is_not_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "a"):
        with pytest.raises(OSError, match="file"):
            owned.make_directories(str(path))


@pytest.mark.parametrize(("before", "after"), [(0o666, 0o600), (0o640, 0o600), (0o444, 0o400), (0o600, 0o600)])
def test_a_file_of_ours_is_made_private(tmp_path: Path, before: int, after: int) -> None:
    path = tmp_path / "file"
    path.touch()
    path.chmod(before)
    owned.make_private(str(path))
    assert mode(path) == after


def test_what_is_not_there_need_not_be_made_private(tmp_path: Path) -> None:
    owned.make_private(str(tmp_path / "nothing"))


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "directory", "pipe"):
        with pytest.raises(StorageError, match=f"{name} is"):
            owned.make_private(str(tmp_path / name))


@as_root
def test_a_file_of_another_user_is_refused_and_both_are_named(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch(0o600)
    os.chown(path, NOBODY, NOBODY)
    with pytest.raises(StorageError, match=f"belongs to the user {NOBODY}, and this program runs as 0"):
        owned.make_private(str(path))


def test_a_file_of_roots_is_believed_unless_others_can_write_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.touch()
    if path.stat().st_uid != 0:
        pytest.skip("only root can make files of root's")
    path.chmod(0o644)
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    owned.make_private(str(path))
    assert mode(path) == 0o644
    path.chmod(0o666)
    with pytest.raises(StorageError, match="can be written by other users"):
        owned.make_private(str(path))


def test_a_file_that_cannot_be_made_private_is_refused_if_others_can_write_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.touch()

    def refuse(*args: object) -> None:
        raise OSError("a file system without modes")

    path.chmod(0o666)
    monkeypatch.setattr(os, "chmod", refuse)
    with pytest.raises(StorageError, match="can be written by other users"):
        owned.make_private(str(path))
    os.fchmod(descriptor := os.open(path, os.O_RDONLY), 0o644)
    os.close(descriptor)
    owned.make_private(str(path))


def test_links_of_ours_are_followed(tmp_path: Path) -> None:
    base = Path(os.path.realpath(tmp_path))
    (base / "directory").mkdir()
    (base / "absolute").symlink_to(base / "directory")
    (base / "relative").symlink_to("absolute/../directory/./x")
    for name in ("absolute/x", "relative", "directory/x", "./absolute//x"):
        assert owned.real_path(f"{base}/{name}") == str(base / "directory" / "x")
    assert owned.real_path(f"{base}/missing/../directory") == str(base / "directory")


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(StorageError, match="circle"):
        owned.real_path(str(tmp_path / "a"))


@as_root
@pytest.mark.parametrize("where", ["link", "link/below"])
def test_a_link_of_another_user_is_refused(tmp_path: Path, where: str) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "link").symlink_to("victim")
    os.chown(tmp_path / "link", NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(StorageError, match=f"link belongs to the user {NOBODY}"):
        owned.real_path(str(tmp_path / where))


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / f"aiohttp-cache-di-{os.geteuid()}"


@pytest.mark.usefixtures("no_umask")
def test_the_temporary_directory_is_private_and_shared_by_our_processes(temporary: Path) -> None:
    assert owned.temporary_directory() == owned.temporary_directory() == str(temporary)
    assert mode(temporary) == 0o700


def test_a_temporary_directory_of_ours_is_made_private(temporary: Path) -> None:
    temporary.mkdir()
    temporary.chmod(0o777)
    owned.temporary_directory()
    assert mode(temporary) == 0o700


def test_a_temporary_directory_that_is_a_link_or_a_file_is_refused(temporary: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    temporary.symlink_to("other")
    with pytest.raises(StorageError, match="not a directory"):
        owned.temporary_directory()
    temporary.unlink()
    temporary.touch()
    with pytest.raises(StorageError, match="not a directory"):
        owned.temporary_directory()


@as_root
def test_a_temporary_directory_of_another_user_is_refused(temporary: Path) -> None:
    temporary.mkdir()
    os.chown(temporary, NOBODY, NOBODY)
    with pytest.raises(StorageError, match=f"belongs to the user {NOBODY}"):
        owned.temporary_directory()


def test_a_temporary_directory_that_cannot_be_made_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(StorageError, match="cannot be made"):
        owned.temporary_directory()


@as_root
@pytest.mark.parametrize(
    ("owner", "before", "is_used", "after"),
    [
        (1000, 0o666, True, 0o600),
        (1000, 0o600, True, 0o600),
        (0, 0o644, True, 0o644),
        (0, 0o664, False, 0o664),
        (NOBODY, 0o600, False, 0o600),
    ],
)
def test_an_open_file_is_used_if_it_is_ours_or_if_root_alone_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: int, before: int, is_used: bool, after: int
) -> None:
    path = tmp_path / "file"
    path.touch()
    path.chmod(before)
    os.chown(path, owner, owner)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    directory, file = os.open(tmp_path, os.O_RDONLY), os.open(path, os.O_RDONLY)
    try:
        assert owned.is_trusted_file(file, os.fstat(file), directory) is is_used
    finally:
        os.close(directory)
        os.close(file)
    assert mode(path) == after
