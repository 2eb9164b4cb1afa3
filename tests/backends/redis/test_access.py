"""Connections to a server: TLS, users, unix sockets; and the secrets that they must never reveal."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from redis.credentials import CredentialProvider

from aiohttp_cache_di.backends.redis import RedisBackend, RedisCache
from aiohttp_cache_di.backends.redis.connections.connection import refusal
from aiohttp_cache_di.backends.redis.connections.wire import ServerError
from aiohttp_cache_di.backends.redis.records import leases
from aiohttp_cache_di.backends.store import Lease
from aiohttp_cache_di.backends.store.inspecting import Purged
from aiohttp_cache_di.errors import ConfigurationError, StorageError
from aiohttp_cache_di.rfc9111.messages import Tagging
from tests.backends.entries import make_entry
from tests.backends.redis.opened import connection_of, store_of
from tests.valkey import ValkeyServer

SECRET = "gehe!m/@:%"
QUOTED = "gehe%21m%2F%40%3A%25"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Make a self-signed certificate for localhost, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-days", "2"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    return certificate, key


@pytest.fixture(scope="module")
def tls_address(valkey: ValkeyServer, certificate: tuple[Path, Path]) -> Iterator[str]:
    """Listen with TLS, in a thread and a loop of its own, and forward everything to the server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", valkey.port)
        await asyncio.gather(pipe(reader, inner_writer), pipe(inner_reader, writer))

    ports: queue.Queue[int] = queue.Queue()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def run() -> None:
        relay = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        ports.put(relay.sockets[0].getsockname()[1])
        await stop.wait()
        relay.close()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    yield f"rediss://localhost:{ports.get(timeout=10)}"
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()


async def test_entries_travel_over_tls(tls_address: str, certificate: tuple[Path, Path]) -> None:
    cache = RedisCache("tls", "r", tls_address, ssl_ca_certs=str(certificate[0]))
    await asyncio.gather(*(cache.write_entry(make_entry(f"k{index}", b"x" * 50_000)) for index in range(50)))
    found = await asyncio.gather(*(cache.read_entry(f"k{index}") for index in range(50)))
    assert all(entry is not None and len(entry.body) == 50_000 for entry in found)
    await cache.clear()
    await cache.close()


async def test_a_certificate_that_nobody_vouches_for_is_refused(tls_address: str) -> None:
    cache = RedisCache("tls", "r", tls_address)
    with pytest.raises(StorageError):
        await cache.read_entry("k")
    await cache.close()


def test_a_tls_connection_of_a_closed_loop_is_released(tls_address: str, certificate: tuple[Path, Path]) -> None:
    cache = RedisCache("tls", "r", tls_address, ssl_ca_certs=str(certificate[0]))
    for _ in range(2):
        assert asyncio.run(cache.read_entry("k")) is None
    asyncio.run(cache.close())


@pytest.mark.parametrize(
    ("message", "forbids"),
    [
        ("NOPERM this user has no permissions to run the 'eval' command or its subcommand", True),  # Redis 6
        ("NOPERM User web has no permissions to run the 'eval' command", True),  # Redis 7, Valkey
        ("ERR unknown command 'EVAL', with args beginning with: 'x'", True),
        ("NOPERM this user has no permissions to access one of the keys used as arguments", False),  # Redis 6
        ("NOPERM No permissions to access a key", False),  # Redis 7, Valkey
        ("NOPERM No permissions to access a channel", False),
        ("NOPERM ACL failure in script: User web has no permissions to run the 'set' command", False),
        ("NOPERM ACL failure in script: No permissions to access a key script: 1, on @user_script:1.", False),
        ("READONLY You can't write against a read only replica.", False),
    ],
)
def test_scripts_are_forbidden_if_the_command_for_them_is(message: str, *, forbids: bool) -> None:
    assert leases.forbids_scripts(ServerError(message.split()[0], message)) is forbids


async def test_a_key_that_the_user_may_not_use_does_not_turn_scripts_off(own_valkey: ValkeyServer) -> None:
    own_valkey.command(
        "ACL", "SETUSER", "web", "on", f">{SECRET}", "~app:responses:a*", "~app:responses-lease:*", "+@all"
    )
    cache = RedisCache("app", "responses", f"redis://web:{QUOTED}@127.0.0.1:{own_valkey.port}")
    store = store_of(cache)
    with pytest.raises(StorageError, match="NOPERM"):
        await store.get_or_acquire("b" * 40, 30)
    own_valkey.command("ACL", "SETUSER", "web", "~*")
    assert (await connection_of(cache)).no_scripts is None
    assert await store.get_or_acquire("b" * 40, 30) is Lease.GRANTED
    await cache.close()


@pytest.mark.parametrize("near_tier_s", [None, 5.0])
async def test_a_user_with_few_rights_suffices(
    own_valkey: ValkeyServer, near_tier_s: float | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", leases.__name__)
    own_valkey.command("ACL", "SETUSER", "web", "on", f">{SECRET}", "~app:*", "+@read", "+@write", "+client", "-eval")
    address = f"redis://web:{QUOTED}@127.0.0.1:{own_valkey.port}"
    cache = RedisCache("app", "responses", address, near_tier_s=near_tier_s)
    await cache.write_entry(make_entry("k"))
    assert await cache.read_entry("k") is not None
    assert await cache.acquire_lease("k", 30)
    await cache.release_lease("k")  # without scripts
    assert await cache.acquire_lease("k", 30)
    await cache.release_lease("k")
    assert caplog.text.count("runs no scripts for us (NOPERM)") == 1
    assert await cache.size() == 1
    await cache.clear()
    await cache.close()


async def test_a_password_that_has_changed_is_asked_of_the_credential_provider(own_valkey: ValkeyServer) -> None:
    class Rotating(CredentialProvider):
        password = "first"

        async def get_credentials_async(self) -> tuple[str, str]:
            return "web", self.password

    provider = Rotating()
    own_valkey.command("ACL", "SETUSER", "web", "on", ">first", "~*", "+@all")
    cache = RedisCache("app", "r", own_valkey.url, credential_provider=provider)
    await cache.write_entry(make_entry("k"))
    provider.password = "second"
    own_valkey.command("ACL", "SETUSER", "web", "resetpass", ">second")
    await cache.close()  # the next read opens another connection
    assert await cache.read_entry("k") is not None
    await cache.close()


async def test_a_user_whose_rights_end_elsewhere_gets_our_error(own_valkey: ValkeyServer) -> None:
    own_valkey.command("ACL", "SETUSER", "web", "on", ">pw", "~other:*", "+@all")
    cache = RedisCache("app", "r", f"redis://web:pw@127.0.0.1:{own_valkey.port}")
    with pytest.raises(StorageError, match="NOPERM"):
        await cache.write_entry(make_entry("k"))
    await cache.close()


async def test_the_command_that_is_refused_is_named_and_its_arguments_are_not(own_valkey: ValkeyServer) -> None:
    own_valkey.command("ACL", "SETUSER", "web", "on", ">pw", "~app:*", "+@all", "-scan")
    cache = RedisCache("app", "r", f"redis://web:pw@127.0.0.1:{own_valkey.port}")
    with pytest.raises(StorageError, match=r"redis refused the command SCAN: NOPERM$"):
        await cache.size()
    await cache.close()
    for text, told in (
        ("ERR unknown command 'UNLINK', with args beginning with: 'app:r:hunter2' ", " UNLINK: ERR"),
        ("ERR unknown command `client|tracking`, with args beginning with: `hunter2`, ", " CLIENT|TRACKING: ERR"),
        ("ERR unknown command 'hunter 2'", ": ERR"),
        ("ERR syntax error near 'hunter2'", ": ERR"),
    ):
        assert str(refusal(ServerError("ERR", text))) == f"redis refused the command{told}"


async def test_a_ping_tells_that_the_secret_of_the_digests_may_not_be_read(own_valkey: ValkeyServer) -> None:
    own_valkey.command("ACL", "SETUSER", "web", "on", ">pw", "~app:*", "+@all", "-getrange")
    backend = RedisBackend("app", f"redis://web:pw@127.0.0.1:{own_valkey.port}")
    health = await backend.ping()
    assert not health.is_ok
    assert "read fails (NoPermissionError: NOPERM for GETRANGE)" in health.reason
    assert not backend.stats.health().is_ok
    await backend.close()


async def test_a_ping_tells_that_several_records_may_not_be_read_at_a_time(own_valkey: ValkeyServer) -> None:
    own_valkey.command("ACL", "SETUSER", "web", "on", ">pw", "~app:*", "+@all", "-mget")
    backend = RedisBackend("app", f"redis://web:pw@127.0.0.1:{own_valkey.port}")
    assert "read fails (NoPermissionError: NOPERM for MGET)" in (await backend.ping()).reason
    await backend.close()


@pytest.mark.parametrize("options", ["", "?db=2"])
async def test_entries_travel_over_a_unix_socket(tmp_path: Path, options: str) -> None:
    with ValkeyServer(tmp_path, unix=True, config={"requirepass": SECRET}) as server:
        separator = "&" if options else "?"
        cache = RedisCache("app", "r", f"{server.url}{options}{separator}password={QUOTED}")
        await cache.write_entry(make_entry("k"))
        assert await cache.read_entry("k") is not None
        await cache.close()


@pytest.mark.parametrize(
    "address",
    [
        f"redis://user:{SECRET}@localhost",
        f"redis://:{SECRET}@localhost:port",
        f"http://user:{QUOTED}@localhost",
        f"redis://user:{QUOTED}@localhost?socket_timeout={SECRET}x",
        f"redis://user:{QUOTED}@localhost?sokcet_timeout=1",
        "",
    ],
)
def test_an_address_that_cannot_be_used_is_refused_without_being_repeated(address: str) -> None:
    with pytest.raises(ConfigurationError, match="Redis") as caught:
        RedisBackend("app", address)
    assert "gehe" not in f"{caught.value!r}{caught.value.__cause__!r}"


async def test_no_repr_shows_user_or_password(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    address = f"redis://somebody:{QUOTED}@127.0.0.1:1/3"
    backend = RedisBackend("app", address)
    with pytest.raises(StorageError) as caught:
        await backend.responses.read_entry("k")
    shown = f"{backend!r} {backend.responses!r} {caught.value!r} {caught.value.__cause__!r} {caplog.text}"
    assert "redis://127.0.0.1:1/3" in shown
    assert "somebody" not in shown
    assert "gehe" not in shown
    await backend.close()


@pytest.mark.parametrize("soft", [False, True])
async def test_a_purge_by_tags_takes_effect_for_a_user_who_may_not_list_keys(
    own_valkey: ValkeyServer, soft: bool, caplog: pytest.LogCaptureFixture
) -> None:
    own_valkey.command("ACL", "SETUSER", "web", "on", ">pw", "~app:*", "+@all", "-scan")
    backend = RedisBackend("app", f"redis://web:pw@127.0.0.1:{own_valkey.port}")
    await backend.write(replace(make_entry("k"), tagging=Tagging(("news",))))
    await backend.settle()
    assert await backend.purge(tags="news", soft=soft) == Purged(0, 0, is_whole=False)
    assert "not all of the entries can be counted" in caplog.text
    other = RedisBackend("app", own_valkey.url)
    found = [info async for info in other.entries()]
    await other.close()
    assert [info.key for info in found if info.fresh_until <= time.time()] == (["k"] if soft else [])
    assert await backend.get_response("k") is None
    await backend.close()
