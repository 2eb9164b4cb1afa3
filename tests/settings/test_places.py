"""Where the database file goes: beside what can be written, with a warning when that is not where it is looked for."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.backends.filesystem import FileBackend, FileCache
from aiohttp_cache_di.cli.main import main
from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.settings import CacheSettings, SQLiteSettings, places
from aiohttp_cache_di.settings.build import build_backend, plan_backend
from aiohttp_cache_di.settings.places import IN_MEMORY, Place, find_directory, find_place
from tests.posix import IS_POSIX, IS_ROOT

VARIABLE = "X_SQLITE__PATH"


@pytest.fixture(autouse=True)
def temporary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Give each test a home and a directory for temporary files of its own."""
    for name in [name for name in os.environ if name.startswith("AIOHTTP_CACHE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    temporary.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield temporary
    tempfile.tempdir = None


def own(temporary: Path) -> Path:
    return temporary / (f"aiohttp-cache-di-{os.getuid()}" if IS_POSIX else "aiohttp-cache-di")


def test_the_file_goes_into_the_users_cache_directory(tmp_path: Path) -> None:
    path, warning, _ = find_place(None, "api", VARIABLE)

    assert path.is_relative_to(tmp_path / "home")
    assert path.name == "api.sqlite"
    assert warning is None
    assert not path.parent.exists()  # nothing is made before it is needed


def test_without_a_home_it_goes_into_a_private_directory_for_temporary_files(
    monkeypatch: pytest.MonkeyPatch, temporary: Path
) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("aiohttp_cache_di.settings.places.user_cache_path", _raise)

    path, warning, _ = find_place(None, "api", VARIABLE)

    assert path == own(temporary) / "api.sqlite"
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert warning is not None
    assert warning.startswith(f"there is no home directory: responses are kept in {path}")
    assert VARIABLE in warning


def _raise(*_: object, **__: object) -> Path:
    raise RuntimeError("could not determine the home directory")


@pytest.mark.parametrize("obstacle", ["file", "closed"])
def test_a_home_that_cannot_be_written_counts_as_none(
    obstacle: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, temporary: Path
) -> None:
    if obstacle == "file":
        (tmp_path / "home" / ".cache").write_text("")
        (tmp_path / "home" / "Library").write_text("")
    else:

        def access(path: Path, mode: int) -> bool:
            return own(temporary) in (path, path.parent)

        monkeypatch.setattr(os, "access", access)

    path, warning, _ = find_place(None, "api", VARIABLE)

    assert path == own(temporary) / "api.sqlite"
    assert warning is not None
    assert ("is not a directory" if obstacle == "file" else "permission denied") in warning


@pytest.mark.parametrize("obstacle", ["link", "file"])
def test_what_is_no_directory_of_ours_is_not_used(
    obstacle: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, temporary: Path
) -> None:
    monkeypatch.setattr("aiohttp_cache_di.settings.places.user_cache_path", _raise)
    if obstacle == "link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        own(temporary).symlink_to(tmp_path / "elsewhere")
    else:
        own(temporary).write_text("")

    path, warning, _ = find_place(None, "api", VARIABLE)

    assert path == IN_MEMORY
    assert warning is not None
    assert "in the memory of this process" in warning


def test_a_temporary_directory_of_ours_is_made_private(monkeypatch: pytest.MonkeyPatch, temporary: Path) -> None:
    monkeypatch.setattr("aiohttp_cache_di.settings.places.user_cache_path", _raise)
    own(temporary).mkdir()
    own(temporary).chmod(0o777)
    assert find_place(None, "api", VARIABLE).path == own(temporary) / "api.sqlite"
    assert own(temporary).stat().st_mode & 0o777 == 0o700


def test_without_a_writable_place_responses_are_kept_in_memory_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, temporary: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("aiohttp_cache_di.settings.places.user_cache_path", _raise)
    own(temporary).write_text("")

    backend = build_backend(CacheSettings.load())

    assert type(backend) is CacheBackend
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (
            logging.WARNING,
            "Cache aiohttp-cache: there is no home directory: responses are kept in the memory of this process; "
            "AIOHTTP_CACHE_SQLITE__PATH names another place",
        )
    ]


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_path_that_is_a_directory_holds_the_file(slash: str, tmp_path: Path) -> None:
    (tmp_path / "cache.d").mkdir()

    settings = CacheSettings(cache_name="api", sqlite=SQLiteSettings(path=Path(f"{tmp_path}/cache.d{slash}")))

    assert settings.sqlite_path == tmp_path / "cache.d" / "api.sqlite"


@pytest.mark.parametrize("path", ["new/cache.d/", "new/", "./new//"])
def test_a_path_with_a_slash_at_its_end_is_a_directory_that_may_be_made_later(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_SQLITE__PATH", path)
    directory = tmp_path / path

    for settings in (CacheSettings.load(), CacheSettings(**{"sqlite": {"path": path}})):  # type: ignore[arg-type]  # pyright: ignore  # as JSON would have it
        assert settings.sqlite_path == directory / "aiohttp-cache.sqlite"
        assert not settings.sqlite_place.warning
    assert not (tmp_path / "new").exists()


async def test_a_directory_that_a_path_names_is_made_for_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_SQLITE__PATH", "new/cache.d/")
    backend = await asyncio.to_thread(lambda: build_backend(CacheSettings.load()))
    assert (await backend.ping()).is_ok
    await backend.close()
    files = await asyncio.to_thread(lambda: list(tmp_path.joinpath("new").rglob("*.sqlite*")))
    assert tmp_path / "new" / "cache.d" / "aiohttp-cache.sqlite" in files
    assert {file.parent.name for file in files} == {"cache.d"}


def test_a_file_where_a_directory_is_said_to_be_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.joinpath("cache").write_text("")
    monkeypatch.setenv("AIOHTTP_CACHE_SQLITE__PATH", "cache/")

    with pytest.raises(ConfigurationError, match="cache is not a directory"):
        _ = CacheSettings.load().sqlite_path


def test_a_path_without_a_suffix_gets_that_of_the_backend(tmp_path: Path) -> None:
    assert find_place(tmp_path / "app", "api", VARIABLE) == Place(tmp_path / "app.sqlite")


def test_a_path_whose_file_would_be_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "app.sqlite").mkdir()

    with pytest.raises(ConfigurationError, match=rf"^{VARIABLE}='.*/app': .*/app\.sqlite is a directory"):
        find_place(tmp_path / "app", "api", VARIABLE)


def test_a_home_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=rf"^{VARIABLE}='~no-such-user/x': there is no such home directory"):
        find_place(Path("~no-such-user/x"), "api", VARIABLE)


def test_memory_may_be_asked_for() -> None:
    assert find_place(IN_MEMORY, "api", VARIABLE) == Place(IN_MEMORY)


def test_a_configured_path_that_cannot_be_written_is_reported_and_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    path, warning, _ = find_place(tmp_path / "file" / "app.sqlite", "api", VARIABLE)

    assert path == tmp_path / "file" / "app.sqlite"
    assert warning == f"{tmp_path / 'file'} is not a directory: responses are not kept; {VARIABLE} names another place"


@pytest.fixture
def gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory on a file system that does not answer."""
    path, stat, answer = tmp_path / "gone", os.stat, threading.Event()

    def hanging(name: Any, **options: Any) -> os.stat_result:
        if str(name).startswith(str(path)):
            answer.wait(60)
        return stat(name, **options)

    monkeypatch.setattr(os, "stat", hanging)
    monkeypatch.setattr(places, "ANSWER_S", 0.2)
    yield path
    answer.set()


@pytest.mark.parametrize(
    ("given", "file"),
    [("cache.sqlite", "cache.sqlite"), ("volume", "volume/mine.sqlite")],
)
def test_a_path_whose_file_system_does_not_answer_is_reported_and_not_replaced(
    gone: Path, given: str, file: str
) -> None:
    place = find_place(gone / given, "mine", VARIABLE)
    assert place.path == gone / file
    assert place.is_silent
    assert place.warning == (
        f"{gone / given} does not answer within 0.2 s: responses are not kept; {VARIABLE} names another place"
    )
    directory = find_directory(gone / given, "mine", VARIABLE)
    assert directory == place._replace(path=gone / given)


def test_a_home_whose_file_system_does_not_answer_counts_as_none(
    gone: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(gone))
    place = find_place(None, "mine", VARIABLE)
    assert place.path.is_relative_to(temporary)
    assert "does not answer within 0.2 s: responses are kept in" in str(place.warning)


@pytest.mark.parametrize("backend", ["sqlite", "filesystem"])
def test_the_command_ends_where_the_file_system_does_not_answer(
    backend: str, gone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND", backend)
    monkeypatch.setenv(f"AIOHTTP_CACHE_{backend.upper()}__PATH", str(gone / "volume"))
    assert main(["check"]) == 1
    assert f"{gone / 'volume'} does not answer within 0.2 s" in capsys.readouterr().err


@pytest.mark.skipif(not IS_ROOT, reason="only root can become another user")
def test_a_user_whom_the_system_does_not_know_can_start(tmp_path: Path) -> None:
    """The command and an app run under ``env -i`` and a user id that is in no list."""
    code = (
        "import asyncio, logging, os, sys\n"
        "from aiohttp_cache_di import open_container\n"
        "async def main():\n"
        "    async with open_container() as session: return type(session.cache).__name__\n"
        "os.environ['AIOHTTP_CACHE_SQLITE__PATH'] = ':memory:'\n"
        "asyncio.run(main())  # imports all there is, for the other user may be unable to read it\n"
        "os.environ.clear()\n"
        "os.setgroups([]); os.setgid(54321); os.setuid(54321); os.chdir('/')\n"
        "logging.basicConfig(format='%(levelname)s %(message)s')\n"
        "print(asyncio.run(main()))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    shutil.rmtree("/tmp/aiohttp-cache-di-54321", ignore_errors=True)
    assert (done.returncode, done.stdout) == (0, "SQLiteBackend\n"), done.stderr
    assert "WARNING Cache aiohttp-cache: there is no home directory: responses are kept in" in done.stderr


# ---- the directory of files


def test_the_directory_goes_into_the_users_cache_directory_and_no_file_is_called_like_it(tmp_path: Path) -> None:
    path, warning, _ = find_directory(None, "api", VARIABLE)
    assert path.is_relative_to(tmp_path / "home")
    assert (path.name, warning) == ("api", None)
    assert path.parent == find_place(None, "api", VARIABLE).path.parent
    assert not path.parent.exists()


def test_without_a_home_the_directory_is_a_temporary_one(monkeypatch: pytest.MonkeyPatch, temporary: Path) -> None:
    monkeypatch.setattr("aiohttp_cache_di.settings.places.user_cache_path", _raise)
    path, warning, _ = find_directory(None, "api", VARIABLE)
    assert path == own(temporary) / "api"
    assert warning is not None
    assert VARIABLE in warning


def test_a_directory_that_is_given_is_taken_whether_there_is_one_or_not(tmp_path: Path) -> None:
    assert find_directory(tmp_path, "api", VARIABLE) == Place(tmp_path)
    assert find_directory(tmp_path / "a" / "b.d", "api", VARIABLE) == Place(tmp_path / "a" / "b.d")


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="is not a directory"):
        find_directory(tmp_path / "file", "api", VARIABLE)
    warning = find_directory(tmp_path / "file" / "below", "api", VARIABLE).warning
    assert warning is not None
    assert "is not a directory: responses are not kept" in warning


def test_files_are_built_from_their_section(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND", "filesystem")
    monkeypatch.setenv("AIOHTTP_CACHE_FILESYSTEM__PATH", str(tmp_path / "files"))
    monkeypatch.setenv("AIOHTTP_CACHE_FILESYSTEM__FSYNC", "true")
    plan = plan_backend(CacheSettings())
    assert plan.options["fsync"] is True
    backend = plan.build()
    assert isinstance(backend, FileBackend)
    assert isinstance(backend.responses, FileCache)
    assert backend.responses.cache_dir == str(tmp_path / "files")
    assert not (tmp_path / "files").exists()


def test_files_that_can_be_written_nowhere_are_kept_in_memory(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, temporary: Path
) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND", "filesystem")
    monkeypatch.setattr("aiohttp_cache_di.settings.places.user_cache_path", _raise)
    own(temporary).touch()
    backend = build_backend(CacheSettings())
    assert type(backend) is CacheBackend
    assert "memory" in caplog.text
    for health in (backend.stats.health(), asyncio.run(backend.ping())):
        assert health.status == "degraded"
        assert "responses are kept in the memory of this process; AIOHTTP_CACHE_FILESYSTEM__PATH" in health.reason


@pytest.mark.parametrize(("variable", "value"), [("SQLITE__PATH", ":memory:"), ("BACKEND", "memory")])
def test_memory_that_was_meant_is_well(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(f"AIOHTTP_CACHE_{variable}", value)
    assert build_backend(CacheSettings()).stats.health().is_ok
