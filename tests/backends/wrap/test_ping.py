"""A ping reports an unusable store before the first request: where it is and why, but never its secrets."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from aiohttp_cache_di import CachedSession
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.backends.redis import RedisBackend
from aiohttp_cache_di.backends.sqlite import SQLiteBackend
from aiohttp_cache_di.backends.store import Found, Limits
from aiohttp_cache_di.backends.wrap.guarding.guard import StoreGuard
from aiohttp_cache_di.backends.wrap.ping import ping
from tests.backends.proof import ProofStore
from tests.origin import Origin
from tests.storages import CustomStorage
from tests.valkey import ValkeyServer

PASSWORD = "hunter2/of+ours"
ENCODED = "hunter2%2Fof%2Bours"
WRONG = "swordfish-7"


@pytest.fixture
def guarded_valkey(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A server that requires a password."""
    (tmp_path / "valkey").mkdir()
    server = ValkeyServer(tmp_path / "valkey", config={"requirepass": PASSWORD}).start()
    yield server
    server.kill()


async def found(backend: CacheBackend, caplog: pytest.LogCaptureFixture) -> tuple[str, str]:
    """The reason that a ping gives for a failure, and the log; asserts that neither contains a secret."""
    caplog.set_level(logging.DEBUG)
    health = await backend.ping()
    await backend.close()
    told = backend.stats.health(recent_s=0.0)  # however long ago the failure was
    assert health.status == told.status == "degraded"
    text = f"{health.reason} {told.reason} {caplog.text}"
    assert not [secret for secret in (PASSWORD, ENCODED, WRONG, "hunter2") if secret in text]
    return health.reason, "".join(caplog.messages)


@pytest.mark.parametrize("kind", ["memory", "sqlite", "redis"])
async def test_a_store_that_works_is_found_well_and_left_as_it_was(
    kind: str, tmp_path: Path, guarded_valkey: ValkeyServer
) -> None:
    made: dict[str, Any] = {
        "memory": CacheBackend,
        "sqlite": lambda: SQLiteBackend(str(tmp_path / "well.sqlite")),
        "redis": lambda: RedisBackend("well", f"redis://:{ENCODED}@127.0.0.1:{guarded_valkey.port}/1"),
    }
    backend = made[kind]()

    health = await backend.ping()

    assert health.is_ok
    assert health.reason == ""
    assert backend.stats.health().is_ok
    assert await backend.redirects.size() == 0
    await backend.close()


class OneAtATime(ProofStore):
    """A store that reads one record at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.limits = Limits(batch=1)

    async def get(self, keys: Sequence[str]) -> Sequence[Found | None]:
        assert len(keys) == 1
        return await super().get(keys)


async def test_a_store_that_reads_one_record_at_a_time_is_asked_for_no_more() -> None:
    assert (await ping(OneAtATime(), StoreGuard())).is_ok


async def test_a_server_that_is_down_is_told_with_its_place(
    guarded_valkey: ValkeyServer, caplog: pytest.LogCaptureFixture
) -> None:
    guarded_valkey.kill()

    reason, log = await found(RedisBackend(address=f"redis://:{ENCODED}@127.0.0.1:{guarded_valkey.port}/3"), caplog)

    for text in (reason, log):
        assert f"127.0.0.1:{guarded_valkey.port}/3" in text
        assert "ConnectionError" in text
        assert "Connect call failed" in text


async def test_a_wrong_password_is_told_and_not_repeated(
    guarded_valkey: ValkeyServer, caplog: pytest.LogCaptureFixture
) -> None:
    reason, log = await found(RedisBackend(address=f"redis://:{WRONG}@127.0.0.1:{guarded_valkey.port}/0"), caplog)

    for text in (reason, log):
        assert f"127.0.0.1:{guarded_valkey.port}/0" in text
        assert "AuthenticationError" in text


async def test_a_database_that_the_server_does_not_have_is_told(
    guarded_valkey: ValkeyServer, caplog: pytest.LogCaptureFixture
) -> None:
    address = f"redis://127.0.0.1:{guarded_valkey.port}/99"

    reason, log = await found(RedisBackend(address=address, password=PASSWORD), caplog)

    for text in (reason, log):
        assert f"127.0.0.1:{guarded_valkey.port}/99" in text
        assert "out of range" in text


async def test_a_user_who_may_not_write_is_told(guarded_valkey: ValkeyServer, caplog: pytest.LogCaptureFixture) -> None:
    with guarded_valkey.client(password=PASSWORD) as client:
        client.execute_command("ACL", "SETUSER", "reader", "on", f">{WRONG}", "~*", "+@read", "+@connection")

    address = f"redis://reader:{WRONG}@127.0.0.1:{guarded_valkey.port}/0"
    reason, log = await found(RedisBackend(address=address), caplog)

    for text in (reason, log):
        assert "write" in text
        assert "NOPERM" in text


@pytest.mark.parametrize(
    ("place", "cause"),
    [
        ("/proc/cache.sqlite", "unable to open"),
        ("directory.sqlite", "is not a file"),
        ("file.sqlite/cache.sqlite", "Not a directory"),
    ],
)
async def test_a_path_where_no_file_can_be_is_told(
    place: str, cause: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "directory.sqlite").mkdir()
    (tmp_path / "file.sqlite").write_text("")
    path = str(tmp_path / place)

    reason, log = await found(SQLiteBackend(path), caplog)

    for text in (reason, log):
        assert path in text
        assert cause in text


async def test_a_file_that_cannot_be_written_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "old.sqlite"
    old = SQLiteBackend(str(path))
    assert (await old.ping()).is_ok
    await old.close()

    reason, log = await found(SQLiteBackend(str(path), uri=f"file:{path}?mode=ro"), caplog)

    for text in (reason, log):
        assert str(path) in text
        assert "write" in text


async def test_a_file_that_is_no_database_is_set_aside_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "letter.sqlite"
    path.write_text("Dear reader, " * 1000)
    backend = SQLiteBackend(str(path))

    assert (await backend.ping()).is_ok
    await backend.close()

    assert str(path) in caplog.text
    aside = path.with_name("letter.sqlite.corrupt-1")
    assert "Dear reader" in await asyncio.to_thread(aside.read_text)


async def test_what_a_users_storage_raises_is_told_by_its_kind_alone(caplog: pytest.LogCaptureFixture) -> None:
    class Vault(CustomStorage):
        async def read(self, key: str) -> Any:
            raise PermissionError(f"token {WRONG} was refused")

    backend = CacheBackend()
    backend.responses = Vault()

    reason, log = await found(backend, caplog)

    for text in (reason, log):
        assert "Vault" in text
        assert "PermissionError" in text


async def test_words_that_repeat_a_command_are_not_told(caplog: pytest.LogCaptureFixture) -> None:
    """Servers without AUTH answer with "unknown command 'AUTH', with args beginning with: …"."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            writer.write(f"-ERR unknown command 'AUTH', with args beginning with: {PASSWORD}\r\n".encode())
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        reason, log = await found(RedisBackend(address=f"redis://:{ENCODED}@127.0.0.1:{port}/0"), caplog)

    for text in (reason, log):
        assert "ResponseError" in text


async def test_a_store_that_comes_back_is_told_once_and_health_is_well_again(
    guarded_valkey: ValkeyServer, origin: Origin, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    backend = RedisBackend(address=f"redis://:{ENCODED}@127.0.0.1:{guarded_valkey.port}/0")
    await asyncio.to_thread(guarded_valkey.kill)
    assert not (await backend.ping()).is_ok
    await asyncio.to_thread(guarded_valkey.start)

    async with CachedSession(cache=backend) as session, asyncio.timeout(10):
        while not backend.stats.health().is_ok:  # the first success resets it
            async with session.get(origin.url + "/back") as response:
                await response.read()
        async with session.get(origin.url + "/back") as response:
            await response.read()
    await backend.close()

    recoveries = [record for record in caplog.records if "works again" in record.getMessage()]
    assert [record.levelno for record in recoveries] == [logging.INFO]
    assert f"127.0.0.1:{guarded_valkey.port}/0" in recoveries[0].getMessage()
