"""Several processes, threads and event loops on one cache."""

# ruff: noqa: ASYNC110, ASYNC240  # no event says that another process has done something; and tests may block
from __future__ import annotations

import asyncio
import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from aiohttp_cache_di.backends.disk import byte_locks
from aiohttp_cache_di.backends.disk.leases import OFFSET_DIGITS
from aiohttp_cache_di.backends.filesystem import leases
from aiohttp_cache_di.backends.filesystem.places.names import name_of
from aiohttp_cache_di.backends.filesystem.pool import THREAD_NAME
from aiohttp_cache_di.backends.filesystem.store import FileStore
from aiohttp_cache_di.backends.store import SECRET_BYTES, Lease, Record
from aiohttp_cache_di.backends.store.capabilities import Expiring, Keeping, Leasing, Placed
from aiohttp_cache_di.rfc9111.messages import StoredResponse
from tests.backends.entries import make_entry
from tests.backends.filesystem.places import age, entry_file, files_in, make_store
from tests.backends.processes import ROOT
from tests.backends.store_contract import keep, look, walk
from tests.posix import needs_proc, posix_only
from tests.times import in_time

PREAMBLE = """
import asyncio, os, sys
from pathlib import Path
from aiohttp_cache_di.backends.store import Record
from tests.backends.entries import make_entry
from tests.backends.filesystem.places import make_store
store = make_store(Path(sys.argv[1]), use_locks=sys.argv[2] == "True")
"""


class Program:
    """Another process, which runs *code* and reports its progress on its output."""

    def __init__(self, code: str, folder: Path, *, use_locks: bool = True) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", PREAMBLE + code, str(folder), str(use_locks)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    async def says(self) -> str:
        """The next line of its output."""
        assert self.process.stdout is not None
        return (await asyncio.to_thread(self.process.stdout.readline)).strip()

    async def ended(self) -> tuple[int, str]:
        """Wait for its end; return its exit status and its error output."""
        _, errors = await asyncio.to_thread(self.process.communicate, timeout=30)
        return self.process.returncode, errors

    async def kill(self) -> None:
        """Kill it with SIGKILL."""
        self.process.send_signal(signal.SIGKILL)
        await self.ended()


def test_a_store_tells_what_it_can_do(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    assert isinstance(store, Leasing)
    assert isinstance(store, Expiring)


# ---- leases

HOLD = """
async def hold():
    await store.put([Record("k", make_entry("k"), 1e12)])
    print(int(await store.acquire("k", 60)), flush=True)
    sys.stdin.readline()
    await store.close()
asyncio.run(hold())
"""


async def test_the_lease_of_a_process_that_dies_is_free_at_once(tmp_path: Path) -> None:
    store, other = make_store(tmp_path), Program(HOLD, tmp_path)
    assert await other.says() == str(int(Lease.GRANTED_LATE))
    assert await store.acquire("k", 60) == Lease.REFUSED
    assert await store.acquire("j", 60) == Lease.GRANTED
    await other.kill()
    assert await store.acquire("k", 60) == Lease.GRANTED_LATE
    await store.close()


@posix_only
@pytest.mark.parametrize("use_locks", [True, False])
async def test_the_lease_of_a_process_that_stands_still_ends_with_its_time(tmp_path: Path, use_locks: bool) -> None:
    hold = HOLD.replace('"k", 60)', '"k", 0.5)')
    store, other = make_store(tmp_path, use_locks=use_locks), Program(hold, tmp_path, use_locks=use_locks)
    third = make_store(tmp_path, use_locks=use_locks)
    try:
        assert await other.says() == str(int(Lease.GRANTED_LATE))
        other.process.send_signal(signal.SIGSTOP)
        async with asyncio.timeout(10):
            while not await store.acquire("k", 60):
                await asyncio.sleep(0.01)
        assert not await third.acquire("k", 60), "one at a time has it nevertheless"
        await store.release("k")
    finally:
        await other.kill()
    await store.close()
    await third.close()


@pytest.mark.skipif(not byte_locks.ARE_THERE, reason="the platform has no locks of open files")
async def test_a_lock_for_which_its_holder_has_not_vouched_yet_is_held(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    assert await store.acquire("another", 60)  # makes the file
    with (tmp_path / leases.LOCK_FILE).open("r+b") as file:
        assert byte_locks.take(file.fileno(), int(name_of("k")[:OFFSET_DIGITS], 16))
        assert await store.acquire("k", 60) == Lease.REFUSED
    assert await store.acquire("k", 60) == Lease.GRANTED
    await store.close()


@pytest.mark.parametrize("use_locks", [True, False])
async def test_a_lease_that_is_renewed_is_held_for_longer(tmp_path: Path, use_locks: bool) -> None:
    one, two = (make_store(tmp_path, use_locks=use_locks) for _ in range(2))

    async def acquire_and_renew(ttl_s: float) -> tuple[bool, bool]:
        return bool(await one.acquire(f"k{ttl_s}", ttl_s)), await one.renew(f"k{ttl_s}", 60)

    ttl_s, answers = await in_time(0.3, acquire_and_renew)
    assert answers == (True, True)
    key = f"k{ttl_s}"
    await asyncio.sleep(ttl_s + 0.05)
    assert not await two.acquire(key, 60)
    await one.release(key)
    assert not await one.renew(key, 60)
    assert await two.acquire(key, 60)
    await one.close()
    await two.close()


@pytest.mark.parametrize("use_locks", [True, False])
async def test_the_lease_of_a_process_that_closes_is_free_at_once(tmp_path: Path, use_locks: bool) -> None:
    store, other = make_store(tmp_path, use_locks=use_locks), Program(HOLD, tmp_path, use_locks=use_locks)
    assert await other.says() == str(int(Lease.GRANTED_LATE))
    assert await store.acquire("k", 60) == Lease.REFUSED
    assert await other.ended() == (0, "")
    assert await store.acquire("k", 60) == Lease.GRANTED_LATE
    await store.close()


async def test_a_lease_that_is_a_file_ends_with_its_time(tmp_path: Path) -> None:
    one, two = (make_store(tmp_path, use_locks=False) for _ in range(2))

    async def ask_both(ttl_s: float) -> tuple[bool, bool]:
        return bool(await one.acquire(f"k{ttl_s}", ttl_s)), bool(await two.acquire(f"k{ttl_s}", 60))

    ttl_s, granted = await in_time(0.05, ask_both)
    assert granted == (True, False)
    key = f"k{ttl_s}"
    await asyncio.sleep(ttl_s + 0.01)
    assert await two.acquire(key, 60)
    await one.release(key)  # another has the lease now
    assert not await one.acquire(key, 60)
    await two.release(key)
    assert await one.acquire(key, 60)
    await one.close()
    await two.close()


async def test_a_lease_file_that_says_nothing_does_not_last(tmp_path: Path) -> None:
    store = make_store(tmp_path, use_locks=False)
    await keep(store, "k")
    path = Path(f"{entry_file(tmp_path, 'k')}.lease")
    path.touch()
    assert not await store.acquire("k", 5)
    age(path, 2)
    assert await store.acquire("k", 5)
    await store.close()


@posix_only
@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EINVAL, errno.ENOTSUP])
async def test_where_locks_do_not_work_files_are_the_leases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refused(*arguments: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.fcntl", refused)
    one, two = make_store(tmp_path), make_store(tmp_path)
    assert await one.acquire("k", 5)
    assert not await two.acquire("k", 5)
    await one.put([Record("k", make_entry("k"), 1e12, leased=True)])
    assert await two.acquire("k", 5) == Lease.GRANTED_LATE
    await two.close()
    await one.close()
    assert len(files_in(tmp_path)) == 1


async def test_a_lease_is_refused_to_another_request_of_the_same_store_until_its_time_is_over(tmp_path: Path) -> None:
    store = make_store(tmp_path)

    async def ask_twice(ttl_s: float) -> tuple[bool, bool]:
        return bool(await store.acquire(f"k{ttl_s}", ttl_s)), bool(await store.acquire(f"k{ttl_s}", 60))

    ttl_s, granted = await in_time(0.05, ask_twice)
    assert granted == (True, False)
    await asyncio.sleep(ttl_s + 0.01)
    assert await store.acquire(f"k{ttl_s}", 60)
    await store.close()


async def test_a_request_for_a_lease_that_is_cancelled_leaves_nothing_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = make_store(tmp_path), make_store(tmp_path)
    granted, go_on = threading.Event(), threading.Event()
    real = store._leases.acquire

    def slowly(key: str, ttl_s: float) -> bool:
        is_granted = real(key, ttl_s)
        granted.set()
        go_on.wait(10)
        return is_granted

    monkeypatch.setattr(store._leases, "acquire", slowly)
    asking = asyncio.ensure_future(store.acquire("k", 60))
    await asyncio.to_thread(granted.wait, 10)
    asking.cancel()
    await asyncio.wait([asking])
    assert not await other.acquire("k", 60)
    go_on.set()
    async with asyncio.timeout(10):
        while not await other.acquire("k", 60):
            await asyncio.sleep(0.001)
    await store.close()
    await other.close()


async def test_a_request_for_a_lease_that_is_cancelled_when_it_was_granted_leaves_nothing_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = make_store(tmp_path), make_store(tmp_path)
    real = store._readers.run

    def run(*arguments: Any) -> asyncio.Future[Any]:
        future = real(*arguments)
        future.add_done_callback(lambda _: asking.cancel())  # called before the task that waits for the future
        return future

    monkeypatch.setattr(store._readers, "run", run)
    asking = asyncio.ensure_future(store.acquire("k", 60))
    await asyncio.wait([asking])
    assert asking.cancelled()
    async with asyncio.timeout(10):
        while not await other.acquire("k", 60):
            await asyncio.sleep(0.001)
    await store.close()
    await other.close()


async def test_a_refused_request_that_is_cancelled_takes_the_lease_from_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = make_store(tmp_path), make_store(tmp_path)
    assert await store.acquire("k", 60)
    asking = asyncio.ensure_future(store.acquire("k", 60))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait([asking])
    await store.get(["k"])
    await store._readers.finish(5)
    assert not await other.acquire("k", 60)
    await store.close()
    await other.close()


async def test_a_locks_file_that_was_removed_is_made_anew(tmp_path: Path) -> None:
    one, two = make_store(tmp_path), make_store(tmp_path)
    assert await one.acquire("k", 60)
    await one.release("k")
    (tmp_path / leases.LOCK_FILE).unlink()
    assert await one.acquire("k", 60)
    assert not await two.acquire("k", 60)
    await one.close()
    await two.close()


# ---- processes

WRITE = """
async def write():
    number = 0
    while True:
        number += 1
        entries = [make_entry(f"k{n}", bytes([number % 256]) * n * 50_000) for n in range(5)]
        await store.put([Record(entry.key, entry, 1e12) for entry in entries])
        if number == 1:
            print("begun", flush=True)
asyncio.run(write())
"""


async def test_of_processes_that_write_and_are_killed_each_reader_gets_whole_entries(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    seen: set[int] = set()
    for _ in range(4):
        writers = [Program(WRITE, tmp_path) for _ in range(2)]
        for writer in writers:
            assert await writer.says() == "begun"
        until = time.monotonic() + random.uniform(0.1, 0.4)
        while time.monotonic() < until:
            for n, found in enumerate(await store.get([f"k{n}" for n in range(5)])):
                assert found is not None
                assert isinstance(found.item, StoredResponse)
                assert len(found.item.body) == n * 50_000
                assert len(set(found.item.body)) <= 1
                seen.update(found.item.body[:1])
        for writer in writers:
            await writer.kill()
    assert len(seen) > 1
    assert set(await walk(store)) == {f"k{n}" for n in range(5)}
    await store.close()


async def test_what_one_process_deletes_no_other_finds(tmp_path: Path) -> None:
    code = """
async def use():
    for line in sys.stdin:
        await store.delete([line.strip()])
        print((await store.get([line.strip()]))[0], flush=True)
    await store.close()
asyncio.run(use())
"""
    store, other = make_store(tmp_path), Program(code, tmp_path)
    assert other.process.stdin is not None
    for n in range(20):
        await keep(store, f"k{n}")
        assert await look(store, f"k{n}") is not None
        other.process.stdin.write(f"k{n}\n")
        other.process.stdin.flush()
        assert await other.says() == "None"
        assert await look(store, f"k{n}") is None
    assert await other.ended() == (0, "")
    await store.close()


async def test_a_program_ends_without_warnings_also_if_it_never_closes(tmp_path: Path) -> None:
    code = """
async def use(is_closing):
    await store.put([Record("k", make_entry("k"), 1e12)])
    await store.get(["k"])
    await store.acquire("k", 5)
    if is_closing:
        await store.close()
for is_closing in (True, False, True, False):
    asyncio.run(use(is_closing))
"""
    assert await Program(code, tmp_path).ended() == (0, "")


@posix_only
def test_a_forked_child_has_threads_and_leases_of_its_own(tmp_path: Path) -> None:
    store = make_store(tmp_path)

    async def in_parent() -> None:
        await keep(store, "k")
        assert await store.acquire("parents", 60)
        child = os.fork()
        if child == 0:
            os._exit(in_child())
        assert os.waitstatus_to_exitcode(await asyncio.to_thread(lambda: os.waitpid(child, 0)[1])) == 0
        assert await look(store, "k") == entry
        other = make_store(tmp_path)
        assert not await other.acquire("parents", 60)  # the end of the child released no lease of its parent
        await other.close()
        await store.close()

    def in_child() -> int:
        async def use() -> int:
            is_right = await look(store, "k") is not None and not await store.acquire("parents", 60)
            is_right = is_right and await store.acquire("childs", 60) == Lease.GRANTED
            await keep(store, "k", entry)
            await store.close()
            return 0 if is_right else 1

        asyncio.events._set_running_loop(None)
        with asyncio.Runner() as runner:
            return runner.run(use())

    entry = make_entry("k", b"by the child")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks with threads, from Python 3.12 on
        asyncio.run(in_parent())


@posix_only
async def test_a_forked_child_that_uses_nothing_keeps_no_lease_of_a_dead_parent(tmp_path: Path) -> None:
    code = """
async def hold():
    await store.acquire("k", 60)
    child = os.fork()
    if child == 0:
        print(os.getpid(), flush=True)
        os.read(0, 1)
        os._exit(0)
    await asyncio.sleep(60)
asyncio.run(hold())
"""
    store, parent = make_store(tmp_path), Program("import warnings; warnings.simplefilter('ignore')\n" + code, tmp_path)
    child = int(await parent.says())
    assert not await store.acquire("k", 60)
    parent.process.kill()
    await asyncio.to_thread(parent.process.wait)
    os.kill(child, 0)  # the child is alive
    assert await store.acquire("k", 60) == Lease.GRANTED
    os.kill(child, signal.SIGKILL)
    parent.process.communicate()
    await store.close()


# ---- loops and threads


def in_another_loop(use: Callable[[], Any]) -> threading.Thread:
    thread = threading.Thread(target=lambda: asyncio.run(use()))
    thread.start()
    return thread


async def test_two_loops_use_one_store_and_the_closing_of_one_is_not_the_others(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    await keep(store, "k")
    assert await store.acquire("k", 60)

    async def use() -> None:
        for n in range(50):
            await keep(store, f"other{n}")
            assert await look(store, "k") is not None
        assert not await store.acquire("k", 60)
        await store.close()

    other = in_another_loop(use)
    for n in range(50):
        await keep(store, f"k{n}")
        assert await look(store, f"k{n}") is not None
    await asyncio.to_thread(other.join)
    assert len(await walk(store)) == 101
    third = make_store(tmp_path)
    assert not await third.acquire("k", 60)
    await store.close()
    assert await third.acquire("k", 60)
    await third.close()


async def test_no_thread_and_no_open_file_is_left_when_it_is_closed(tmp_path: Path) -> None:
    needs_proc()

    def open_files() -> list[str]:
        found: list[str] = []
        for fd in os.listdir("/proc/self/fd"):
            with suppress(OSError):  # the descriptor of the listing is closed by now
                found.append(os.readlink(f"/proc/self/fd/{fd}"))
        return [path for path in found if path.startswith(str(tmp_path))]

    store = make_store(tmp_path / "cache")
    for n in range(100):
        await keep(store, f"k{n}")
    await store.acquire("k", 5)
    threads = store._readers._threads + store._writers._threads
    assert len(open_files()) > 2
    assert {thread.name for thread in threads} == {THREAD_NAME}
    assert 2 <= len(threads) <= 4
    await store.close()
    for thread in threads:
        await asyncio.to_thread(thread.join, 10)
    assert open_files() == []


async def test_a_disk_that_is_busy_with_writes_holds_up_no_hit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make_store(tmp_path)
    await keep(store, "k")
    go_on = threading.Event()

    def slowly(records: Sequence[Record]) -> list[int]:
        go_on.wait(10)
        return [0] * len(records)

    monkeypatch.setattr(store._writer, "put", slowly)
    puts = [asyncio.ensure_future(keep(store, f"k{n}")) for n in range(10)]
    await asyncio.sleep(0)
    assert await asyncio.wait_for(look(store, "k"), 5) is not None
    go_on.set()
    await asyncio.gather(*puts)
    await store.close()


async def test_a_put_that_nothing_waits_for_any_more_ends_before_the_store_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(tmp_path)
    begun = threading.Event()
    real = store._writer.put

    def slowly(records: Any) -> Any:
        begun.set()
        time.sleep(0.1)
        return real(records)

    monkeypatch.setattr(store._writer, "put", slowly)
    putting = asyncio.ensure_future(keep(store, "k"))
    await asyncio.to_thread(begun.wait, 10)
    putting.cancel()
    await store.close()
    assert entry_file(tmp_path, "k").exists()


def test_a_store_is_made_in_a_loop_without_a_look_at_the_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    async def make() -> FileStore:
        return make_store(Path("relative"))

    store = asyncio.run(make())
    assert "path" not in vars(store.place)
    assert make_store(Path("relative")).place.path == str(tmp_path / "relative")


# ---- the secret


async def test_processes_that_come_at_once_keep_one_secret_and_clearing_leaves_it(tmp_path: Path) -> None:
    stores = [make_store(tmp_path / "cache") for _ in range(8)]
    assert await stores[0].kept_secret() is None
    assert not (tmp_path / "cache").exists()
    found = await asyncio.gather(*(store.keep_secret(bytes([n]) * SECRET_BYTES) for n, store in enumerate(stores)))
    assert len(set(found)) == 1
    await stores[0].clear()
    assert await walk(stores[0]) == {}
    assert await stores[1].keep_secret(bytes(SECRET_BYTES)) == found[0]
    assert await stores[2].kept_secret() == found[0]
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {"secret"}
    assert (tmp_path / "cache" / "secret").stat().st_mode & 0o777 == 0o600
    for store in stores:
        await store.close()


@pytest.mark.parametrize("data", [b"", b"short", bytes(SECRET_BYTES + 1)])
async def test_what_is_no_secret_is_replaced(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "secret").write_bytes(data)
    store = make_store(tmp_path)
    proposed = b"s" * SECRET_BYTES
    assert await store.kept_secret() is None
    assert await store.keep_secret(proposed) == proposed
    assert await store.keep_secret(bytes(SECRET_BYTES)) == proposed
    await store.close()


async def test_a_link_in_the_place_of_the_secret_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(bytes(SECRET_BYTES))
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "secret").symlink_to(tmp_path / "elsewhere")
    store = make_store(tmp_path / "cache")
    proposed = b"s" * SECRET_BYTES
    assert await store.keep_secret(proposed) == proposed
    assert (tmp_path / "elsewhere").read_bytes() == bytes(SECRET_BYTES)
    await store.close()


async def test_a_cache_that_is_removed_is_told_of_once(tmp_path: Path) -> None:
    store = make_store(tmp_path / "cache")
    told: list[None] = []
    store.events.when_lost(lambda: told.append(None))
    await keep(store, "k")
    for n in range(1, 3):
        shutil.rmtree(tmp_path / "cache")
        assert await look(store, "k") is None
        await keep(store, "k")
        assert await look(store, "k") is not None
        assert len(told) == n
    await store.close()


def test_a_store_tells_where_it_is(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    assert isinstance(store, Placed)
    assert isinstance(store, Keeping)
    assert store.where == str(tmp_path)
    assert store.told_of(FileNotFoundError(2, "gone", store.where)) == f"[Errno 2] gone: {store.where!r}"


async def test_a_disk_that_hangs_holds_up_neither_a_caller_that_leaves_nor_the_closing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(tmp_path)
    await keep(store, "k")
    go_on = threading.Event()

    def hang(keys: Sequence[str]) -> list[None]:
        go_on.wait(30)
        return [None] * len(keys)

    with monkeypatch.context() as hanging:
        hanging.setattr(store, "_look_up", hang)
        hanging.setattr("aiohttp_cache_di.backends.filesystem.store.FINISH_WITHIN_S", 0.05)
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(store.get(["k"]), 0.02)
        await asyncio.wait_for(store.close(), 5)
    assert await look(store, "k") is not None  # with new threads
    go_on.set()
    await store.close()
