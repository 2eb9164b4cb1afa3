"""A SQLite file as a store: its place and permissions, how it is opened and closed, and how it is queried."""

from __future__ import annotations

import asyncio
import math
import os
import sqlite3
import stat
import tempfile
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from aiohttp_cache_di.backends.sqlite import SQLiteBackend, SQLiteCache, SQLitePickleCache
from aiohttp_cache_di.backends.sqlite.file.checked import FILE_CHECK_S
from aiohttp_cache_di.backends.sqlite.file.opening import IN_USE_S
from aiohttp_cache_di.backends.sqlite.file.schema import META, SCHEMA_VERSION
from aiohttp_cache_di.backends.sqlite.store import SQLiteStore
from aiohttp_cache_di.errors import ConfigurationError, StorageError
from aiohttp_cache_di.response import CachedResponse
from tests.backends.entries import make_entry
from tests.backends.processes import run_program
from tests.posix import needs_proc


@pytest.fixture
async def cache(tmp_path: Path) -> AsyncIterator[SQLiteCache]:
    storage = SQLiteCache(tmp_path / "cache", "responses")
    yield storage
    await storage.close()


def files(directory: Path) -> dict[str, int]:
    """The names of all files and their modes."""
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}


def own_threads() -> int:
    return sum(thread.name == "aiohttp-cache-sqlite" for thread in threading.enumerate())


def traced(cache: SQLiteCache, *, writer: bool) -> list[str]:
    """The statements that the reader or the writer runs from now on; the list grows with each."""
    here = cache._store.database.here()
    assert here is not None
    worker = here.connections._writer if writer else here.connections._reader
    assert worker is not None
    statements: list[str] = []
    assert worker._jobs.connection is not None
    worker._jobs.connection.set_trace_callback(statements.append)
    return statements


# ---- where the file is


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("plain", "plain.sqlite"),
        ("named.db", "named.db"),
        ("sub/dir/x", "sub/dir/x.sqlite"),
        ("odd %?#", "odd %?#.sqlite"),
    ],
)
async def test_the_file_is_where_its_name_says(tmp_path: Path, name: str, file: str) -> None:
    cache = SQLiteCache(tmp_path / name)
    assert cache.filename == str(tmp_path / file)
    await cache.write_entry(make_entry("k"))
    await cache.close()
    assert (tmp_path / file).exists()


@pytest.mark.parametrize("name", [b"\xff", b"caf\xe9 \xc3\xa9"])
async def test_a_name_of_a_file_need_not_be_text(tmp_path: Path, name: bytes) -> None:
    path = tmp_path / os.fsdecode(name)
    try:
        path.mkdir()
    except (OSError, ValueError):
        pytest.skip("names of files are text here")
    for size in range(2):
        cache = SQLiteCache(path / os.fsdecode(name))
        assert await cache.size() == size
        await cache.write_entry(make_entry("k"))
        await cache.close()
    assert name + b".sqlite" in os.listdir(os.fsencode(path))


@pytest.mark.parametrize("name", [".", "/", "./"])
@pytest.mark.parametrize("make", [SQLiteBackend, SQLiteCache])
def test_a_directory_is_no_name_of_a_file(make: Callable[..., object], name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"is a directory; name the file in it, such as '.*cache'"):
        make(name)


async def test_a_tilde_is_the_users_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert SQLiteCache("~/cache").filename == str(tmp_path / "cache.sqlite")


async def test_a_home_that_there_is_not_is_an_error_with_the_way_out_and_no_hang() -> None:
    cache = SQLiteCache("~no-such-user/cache")  # in a loop, so a thread resolves it
    async with asyncio.timeout(30):
        for _ in range(2):
            with pytest.raises(
                StorageError, match=r"~no-such-user/cache.*: there is no such home directory; give a whole"
            ):
                await cache.read_entry("k")
        await cache.close()
    with pytest.raises(StorageError, match="no such home directory"):
        await asyncio.to_thread(SQLiteCache, "~no-such-user/cache")


async def test_a_uri_names_a_file_that_is_only_read(tmp_path: Path) -> None:
    writing = SQLiteCache(tmp_path / "cache")
    await writing.write_entry(make_entry("k"))
    reading = SQLiteCache("ignored", uri=f"file://{tmp_path}/cache.sqlite?mode=ro&cache=private")
    assert await reading.read_entry("k") is not None
    with pytest.raises(StorageError, match="read-only"):
        await reading.write_entry(make_entry("k2"))
    await reading.close()
    await writing.close()


async def test_nothing_is_opened_before_it_is_used(tmp_path: Path) -> None:
    SQLiteBackend(str(tmp_path / "cache"))
    assert files(tmp_path) == {}
    assert own_threads() == 0


@pytest.mark.parametrize(("name", "use_temp"), [("relative", False), ("~/home", False), ("x", True), ("/a/b", False)])
async def test_making_a_backend_in_a_running_loop_touches_no_file(
    monkeypatch: pytest.MonkeyPatch, name: str, use_temp: bool
) -> None:
    def touch(*args: object, **kwargs: object) -> None:
        raise AssertionError("this may wait for a file system")

    with monkeypatch.context() as patch:
        for module, function in ((os, "getcwd"), (os, "stat"), (os.path, "expanduser"), (tempfile, "gettempdir")):
            patch.setattr(module, function, touch)
        backend = SQLiteBackend(name, use_temp=use_temp)
        repr(backend.responses)
    filename = await asyncio.to_thread(getattr, backend.responses, "filename")
    assert os.path.isabs(filename)
    assert filename.endswith(".sqlite")


@pytest.mark.parametrize("make", [SQLiteBackend, SQLiteCache])
def test_a_misspelt_option_is_refused_and_the_nearest_one_named(make: Callable[..., object]) -> None:
    with pytest.raises(TypeError, match=r"'timout'; did you mean 'timeout'\?"):
        make("x", timout=1)


def test_the_older_class_name_is_the_same_class() -> None:
    assert SQLitePickleCache is SQLiteCache


def test_a_table_must_have_a_name() -> None:
    with pytest.raises(ValueError, match="table_name"):
        SQLiteCache("x", "")


# ---- the file itself


async def test_only_the_owner_may_read_the_files(cache: SQLiteCache, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        await cache.write_entry(make_entry("k"))
    finally:
        os.umask(before)
    assert files(tmp_path) == {f"cache.sqlite{suffix}": 0o600 for suffix in ("", "-wal", "-shm", "-generations")}


async def test_a_link_to_a_file_that_is_not_there_yet_leads_to_it(tmp_path: Path) -> None:
    (tmp_path / "link.sqlite").symlink_to(tmp_path / "elsewhere" / "cache.sqlite")
    cache = SQLiteCache(tmp_path / "link")
    await cache.write_entry(make_entry("k"))
    await cache.close()
    assert files(tmp_path / "elsewhere") == {"cache.sqlite": 0o600, "cache.sqlite-generations": 0o600}
    assert set(os.listdir(tmp_path)) == {"link.sqlite", "elsewhere"}


@pytest.mark.parametrize(("fast_save", "synchronous"), [(False, 1), (True, 0)])
async def test_the_log_is_written_ahead_and_the_disk_waited_for_as_asked(
    tmp_path: Path, fast_save: bool, synchronous: int
) -> None:
    cache = SQLiteCache(tmp_path / "cache", fast_save=fast_save)
    await cache.write_entry(make_entry("k"))
    here = cache._store.database.here()
    assert here is not None
    pragmas = await here.connections.call(
        lambda transaction: [
            transaction.connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")
        ]
    )
    assert pragmas == ["wal", synchronous]
    await cache.close()


async def test_storages_of_a_backend_share_two_connections(tmp_path: Path) -> None:
    backend = SQLiteBackend(str(tmp_path / "cache"))
    await backend.responses.write_entry(make_entry("k", b"response"))
    await backend.redirects.write("alias", "k")
    entry = await backend.responses.read_entry("k")
    assert entry is not None
    assert entry.body == b"response"
    assert own_threads() == 2
    await backend.close()
    assert own_threads() == 0


async def test_tables_of_others_in_the_file_are_left_alone(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "cache.sqlite")
    with connection:
        connection.execute("CREATE TABLE responses (key TEXT PRIMARY KEY, value BLOB)")
        connection.execute("INSERT INTO responses VALUES ('k', x'8004')")
    cache = SQLiteCache(tmp_path / "cache.sqlite", "responses")
    assert await cache.read_entry("k") is None
    await cache.write_entry(make_entry("k"))
    await cache.clear()
    await cache.close()
    assert connection.execute("SELECT * FROM responses").fetchall() == [("k", b"\x80\x04")]
    connection.close()


async def test_tables_of_another_version_are_made_anew(tmp_path: Path) -> None:
    cache = SQLiteCache(tmp_path / "cache", "responses")
    other = SQLiteCache(tmp_path / "cache", "others")
    await cache.write_entry(make_entry("k"))
    await other.write_entry(make_entry("k"))
    await cache.close()
    await other.close()
    connection = sqlite3.connect(tmp_path / "cache.sqlite")
    with connection:
        connection.execute(f"UPDATE {META} SET version = 99 WHERE name = 'responses'")  # noqa: S608
    connection.close()
    assert await cache.read_entry("k") is None
    await cache.write_entry(make_entry("k"))
    assert await cache.size() == 1
    assert await other.read_entry("k") is not None
    await cache.close()
    await other.close()


def give_version(file: Path, added: int) -> None:
    """Make the tables of *file* look like those of another release; *added* is the difference of the versions."""
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(f"UPDATE {META} SET version = version + {added}")  # noqa: S608  # constants of ours


def versions(file: Path) -> set[int]:
    with closing(sqlite3.connect(file)) as connection:
        return {version for (version,) in connection.execute(f"SELECT version FROM {META} WHERE name = ''")}  # noqa: S608  # a constant of ours


@pytest.mark.parametrize("releases", [1, 2])
async def test_tables_that_a_newer_release_uses_are_left_to_it_until_it_has_ended(
    tmp_path: Path, releases: int
) -> None:
    file = tmp_path / "cache.sqlite"
    cache = SQLiteCache(file, "responses")
    await cache.write_entry(make_entry("k"))
    await cache.close()
    give_version(file, releases)
    with pytest.raises(StorageError, match="in use by a newer release"):
        await cache.read_entry("k")
    await cache.close()
    assert versions(file) == {SCHEMA_VERSION + releases}
    changed_at = file.stat().st_mtime - IN_USE_S - 1
    os.utime(file, (changed_at, changed_at))
    assert await cache.read_entry("k") is None
    await cache.write_entry(make_entry("k"))
    assert await cache.size() == 1
    await cache.close()
    assert versions(file) == {SCHEMA_VERSION}


async def test_a_release_that_runs_while_a_newer_one_takes_the_file_over_goes_on_without_it(
    tmp_path: Path, cache: SQLiteCache
) -> None:
    await cache.write_entry(make_entry("k"))
    give_version(tmp_path / "cache.sqlite", 1)
    with closing(sqlite3.connect(tmp_path / "cache.sqlite")) as connection, connection:
        connection.execute("CREATE TABLE another (one)")  # as a newer release, whose tables are others
    await asyncio.sleep(FILE_CHECK_S * 2)
    for _ in range(2):
        with pytest.raises(StorageError, match="in use by a newer release"):
            await cache.write_entry(make_entry("other"))
    assert versions(tmp_path / "cache.sqlite") == {SCHEMA_VERSION + 1}


async def test_tables_of_an_older_release_are_replaced_though_it_uses_them(tmp_path: Path, cache: SQLiteCache) -> None:
    await cache.write_entry(make_entry("k"))
    await cache.close()
    give_version(tmp_path / "cache.sqlite", -1)
    await cache.write_entry(make_entry("k"))
    assert versions(tmp_path / "cache.sqlite") == {SCHEMA_VERSION}


# ---- how it is queried


@pytest.mark.shortcuts
async def test_what_is_asked_for_in_one_tick_is_few_statements(cache: SQLiteCache) -> None:
    await asyncio.gather(*(cache.write_entry(make_entry(f"k{n}")) for n in range(400)))
    statements = traced(cache, writer=False)
    entries = await asyncio.gather(*(cache.read_entry(f"k{n}") for n in range(400)))
    assert all(entries)
    looks = [statement for statement in statements if "FROM" in statement]  # leaves out checks of the file
    assert len(looks) == 1 + math.ceil(399 / SQLiteStore.limits.reads)  # the first alone, the others together


@pytest.mark.shortcuts
async def test_what_is_written_at_once_is_few_transactions(cache: SQLiteCache) -> None:
    await cache.write_entry(make_entry("first"))
    statements = traced(cache, writer=True)
    await asyncio.gather(*(cache.write_entry(make_entry(f"k{n}")) for n in range(200)))
    assert statements.count("COMMIT") == 2
    assert statements.count("BEGIN IMMEDIATE") == 2


async def test_an_entry_that_cannot_be_packed_fails_no_other(cache: SQLiteCache) -> None:
    await cache.write_entry(make_entry("first"))
    odd = msgspec.structs.replace(make_entry("odd"), url="http://origin.test/\udc80")
    entries = [make_entry("before"), make_entry("k1"), odd, make_entry("k2")]
    _, *outcomes = await asyncio.gather(*map(cache.write_entry, entries), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None), StorageError, type(None)]
    for key in ("k1", "k2"):
        assert (entry := await cache.read_entry(key)) is not None
        assert entry.key == key
    assert not await cache.contains("odd")
    await cache.delete("k2")
    assert cache.peek("k2") is None


async def test_a_written_entry_is_committed(cache: SQLiteCache, tmp_path: Path) -> None:
    await cache.write_entry(make_entry("k"))
    result = run_program(
        "async def main():\n"
        "    cache = SQLiteCache(sys.argv[1], 'responses')\n"
        "    print((await cache.read_entry('k')).body)\n"
        "    await cache.close()\n"
        "asyncio.run(main())",
        tmp_path / "cache",
    )
    assert (result.stdout, result.stderr) == ("b'body'\n", "")


async def test_a_key_that_is_no_text_cannot_be_stored_and_is_missing(cache: SQLiteCache) -> None:
    with pytest.raises(StorageError):
        await cache.write("\udc80", "target")
    assert await cache.read("\udc80") is None
    await cache.write("k", "target")
    await cache.write("k", None)
    assert not await cache.contains("k")


async def test_a_key_that_is_no_text_fails_no_other_read(cache: SQLiteCache) -> None:
    await cache.write_entry(make_entry("k"))
    first, odd, found = await asyncio.gather(*(cache.read_entry(key) for key in ("first", "\udc80", "k")))
    assert (first, odd, found and found.key) == (None, None, "k")


async def test_a_users_serializer_is_used_in_the_loops_thread(tmp_path: Path) -> None:
    threads: list[threading.Thread] = []

    class Serializer:
        def dumps(self, item: CachedResponse | str) -> bytes:
            return b"alias" if isinstance(item, str) else item.stored.body

        def loads(self, data: bytes) -> CachedResponse | str:
            threads.append(threading.current_thread())
            if data == b"bad":
                raise ValueError("cannot be loaded")
            return "target" if data == b"alias" else CachedResponse.from_stored(make_entry("k", data))

    cache = SQLiteCache(tmp_path / "cache", serializer=Serializer())
    await cache.write_entry(make_entry("k", b"hello"))
    await cache.write("alias", "target")
    entry = await cache.read_entry("k")
    assert entry is not None
    assert entry.body == b"hello"
    assert await cache.read("alias") == "target"
    assert len([item async for item in cache.values()]) == 2
    assert set(threads) == {threading.current_thread()}
    await cache.close()


async def test_rows_that_are_not_even_bytes_are_unreadable(cache: SQLiteCache, tmp_path: Path) -> None:
    await cache.write_entry(make_entry("k"))
    connection = sqlite3.connect(tmp_path / "cache.sqlite")
    for value in ("text", 5, 2.5, b""):
        with connection:
            connection.execute('UPDATE "cache:responses" SET frame = ?', (value,))
        assert await cache.read("k") is None
    connection.close()
    assert [item async for item in cache.values()] == []
    assert cache.stack.stats.unreadable == 5


# ---- lifecycle


async def test_closing_leaves_no_thread_and_folds_the_log_into_the_file(cache: SQLiteCache, tmp_path: Path) -> None:
    writes = [asyncio.ensure_future(cache.write_entry(make_entry(f"k{n}"))) for n in range(50)]
    await asyncio.sleep(0)
    await cache.close()
    await asyncio.gather(*writes)
    await cache.close()
    assert own_threads() == 0
    assert set(files(tmp_path)) == {"cache.sqlite", "cache.sqlite-generations"}
    assert await cache.size() == 50


async def test_closing_while_it_is_being_opened_is_safe(tmp_path: Path) -> None:
    cache = SQLiteCache(tmp_path / "cache")
    reading = asyncio.ensure_future(cache.read_entry("k"))
    await asyncio.sleep(0)
    await cache.close()
    await reading
    await cache.close()
    assert own_threads() == 0


async def test_it_is_opened_once_for_all_who_ask_at_once(cache: SQLiteCache) -> None:
    readers = [asyncio.ensure_future(cache.read_entry(f"k{n}")) for n in range(20)]
    await asyncio.sleep(0)
    readers[0].cancel()
    results = await asyncio.gather(*readers, return_exceptions=True)
    assert results[1:] == [None] * 19
    assert own_threads() == 2


async def test_opening_and_closing_leaks_no_descriptor(tmp_path: Path) -> None:
    needs_proc()
    counts: list[int] = []
    for _ in range(20):
        cache = SQLiteCache(tmp_path / "cache")
        await cache.write_entry(make_entry("k"))
        await cache.close()
        counts.append(len(os.listdir("/proc/self/fd")))
    assert counts[-1] <= counts[0]  # descriptors of earlier tests may be closed meanwhile


def test_each_event_loop_has_connections_of_its_own(tmp_path: Path) -> None:
    cache = SQLiteCache(tmp_path / "cache")

    async def write_and_forget(n: int) -> None:
        await cache.write_entry(make_entry(f"k{n}"))

    async def read_and_close() -> None:
        assert [await cache.read_entry(f"k{n}") for n in range(3)].count(None) == 0
        await cache.close()

    for n in range(3):
        asyncio.run(write_and_forget(n))
    asyncio.run(read_and_close())
    assert own_threads() == 0


def test_loops_in_several_threads_share_a_storage(tmp_path: Path) -> None:
    cache = SQLiteCache(tmp_path / "cache")
    failures: list[BaseException] = []

    async def work(name: str) -> None:
        for n in range(50):
            await cache.write_entry(make_entry(f"{name}{n}", name.encode()))
            entry = await cache.read_entry(f"{name}{n}")
            assert entry is not None
            assert entry.body == name.encode()
        await cache.close()

    def run(name: str) -> None:
        try:
            asyncio.run(work(name))
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=run, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert own_threads() == 0


FORGETFUL = {
    "after its work": "async def main():\n    await cache.write_entry(make_entry('k'))\nasyncio.run(main())",
    "with writes under way": (
        "async def main():\n    await cache.write_entry(make_entry('k'))\n"
        "    for n in range(500):\n        asyncio.ensure_future(cache.write_entry(make_entry(str(n))))\n"
        "    await asyncio.sleep(0.001)\nasyncio.run(main())"
    ),
    "while it is being opened": (
        "async def main():\n    asyncio.ensure_future(cache.read_entry('k'))\n    await asyncio.sleep(0)\n"
        "asyncio.run(main())"
    ),
    "by sys.exit": (
        "async def main():\n    await cache.write_entry(make_entry('k'))\n    sys.exit(0)\nasyncio.run(main())"
    ),
    "with a loop that is never closed": (
        "loop = asyncio.new_event_loop()\nloop.run_until_complete(cache.write_entry(make_entry('k')))\nloop.close()"
    ),
    "in a thread": (
        "import threading\nasync def main():\n    await cache.write_entry(make_entry('k'))\n"
        "thread = threading.Thread(target=lambda: asyncio.run(main()))\nthread.start()\nthread.join()"
    ),
}


@pytest.mark.parametrize("program", FORGETFUL.values(), ids=FORGETFUL.keys())
def test_a_program_that_forgets_to_close_ends_by_itself_and_says_nothing(tmp_path: Path, program: str) -> None:
    # CPython >= 3.13 itself warns of an unclosed connection where such warnings are enabled, as it does of files.
    options = ("-X", "dev", "-W", "error", "-W", "ignore:unclosed database:ResourceWarning")
    # asyncio warns of callbacks that take 0.1 s, as any may on a busy machine.
    prelude = "import logging; logging.getLogger('asyncio').setLevel(logging.ERROR)\ncache = SQLiteCache(sys.argv[1])\n"
    result = run_program(prelude + program, tmp_path / "cache", options=options)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_a_forked_child_opens_connections_of_its_own(tmp_path: Path) -> None:
    program = """
async def write(key):
    await cache.write_entry(make_entry(key))
    assert cache.peek(key) is not None
async def both():
    assert await cache.read_entry("parent") is not None
    await write("child")
    await cache.close()
async def check():
    assert await cache.read_entry("child") is not None
    assert await cache.read_entry("parent") is not None
    await cache.close()
cache = SQLiteCache(sys.argv[1])
loop = asyncio.new_event_loop()
loop.run_until_complete(write("parent"))
child = os.fork()
if child == 0:
    asyncio.run(both())
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
loop.run_until_complete(check())
loop.close()
"""
    # CPython >= 3.12 warns of any fork of a process with threads, such as those of the store.
    result = run_program(program, tmp_path / "cache", options=("-W", "ignore:This process:DeprecationWarning"))
    assert (result.returncode, result.stderr) == (0, "")
