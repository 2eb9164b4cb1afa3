"""No output contains a secret: logs down to DEBUG, reprs, and errors with their causes."""

from __future__ import annotations

import base64
import gc
import logging
import sqlite3
import traceback
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from aiohttp import BasicAuth, ClientError

from aiohttp_cache_di import CachedSession
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.backends.redis import RedisBackend
from aiohttp_cache_di.backends.sqlite import SQLiteBackend
from aiohttp_cache_di.containers import CacheContainer, open_container
from aiohttp_cache_di.errors import ConfigurationError
from tests.faults.origin import Origin
from tests.stores import SHARED, Store

pytestmark = pytest.mark.filterwarnings("ignore:(BasicAuth|The .auth. parameter) is deprecated")

INSIDE = ("aiohttp_cache_di.engine", "aiohttp_cache_di.rfc9111", "aiohttp_cache_di.entries")
"""Where messages and requests are values; they show what they are, and are never written down."""

SECRET = "hunter2hunter2hunter2"
USER = "arthur-the-user"


@pytest.fixture(autouse=True)
def all_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)


def ours(caplog: pytest.LogCaptureFixture) -> str:
    """The output of the package's loggers, tracebacks included."""
    formatter = logging.Formatter("%(name)s %(message)s")
    records = [record for record in caplog.records if record.name.startswith("aiohttp_cache_di")]
    return "\n".join(formatter.format(record) for record in records)


def reprs(*roots: object) -> str:
    """The reprs of *roots* and of all objects of the package that can be reached from them."""
    seen: set[int] = set()
    texts: list[str] = []
    todo = list(roots)
    while todo:
        each = todo.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        module = type(each).__module__
        is_ours = module.startswith("aiohttp_cache_di")
        if is_ours and not module.startswith(INSIDE):
            texts += [repr(each), str(each)]
        if is_ours or isinstance(each, dict | list | tuple | set):
            todo += gc.get_referents(each)
    return "\n".join(texts)


async def use(session: CachedSession, url: str) -> list[str]:
    """Send secrets in all parts of requests; return the tracebacks of errors."""
    errors: list[str] = []
    host = url.removeprefix("http://")
    requests: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", f"{url}/a", {"headers": {"Authorization": f"Bearer {SECRET}", "X-API-Key": SECRET}}),
        ("GET", f"{url}/b?access_token={SECRET}&X-Amz-Signature={SECRET}", {}),
        ("GET", f"http://{USER}:{SECRET}@{host}/c", {}),
        ("GET", f"{url}/f;jsessionid={SECRET}?sig={SECRET}&next=%2Fcb%3Ftoken%3D{SECRET}", {}),
        ("GET", f"{url}/d", {"auth": BasicAuth(USER, SECRET), "cookies": {"session": SECRET}}),
        ("POST", f"{url}/e", {"data": f"password={SECRET}"}),
        ("GET", f"http://{USER}:{SECRET}@127.0.0.1:1/?token={SECRET}", {}),
    ]
    for method, target, options in requests * 2:
        try:
            async with session.request(method, target, **options) as response:
                await response.read()
        except ClientError:  # aiohttp's own, for the origin that does not exist
            continue
        except Exception as exc:
            errors += traceback.format_exception(exc)
    return errors


async def straight(backend: CacheBackend) -> list[str]:
    """The errors of direct calls of the store, which are raised to the caller."""
    errors: list[str] = []
    for look in (backend.responses.read("k"), backend.responses.delete("k"), backend.responses.size(), backend.clear()):
        try:
            await look
        except Exception as exc:
            errors += traceback.format_exception(exc)
    return errors


async def said_of(backend: CacheBackend, origin: Origin, caplog: pytest.LogCaptureFixture) -> str:
    session = CachedSession(cache=backend, headers={"X-Session-Token": SECRET}, auth=BasicAuth(USER, SECRET))
    origin.headers = {"Cache-Control": "max-age=600", "Set-Cookie": f"id={SECRET}", "ETag": f'"{"x" * 10}"'}
    texts = [*await use(session, origin.url), *await straight(backend)]
    texts += [reprs(session, backend), str(backend.stats.health()), repr(backend.stats)]
    await session.close()
    texts += [reprs(session, backend), ours(caplog)]
    return "\n".join(texts)


def unsaid(text: str) -> None:
    assert text
    encoded = base64.b64encode(f"{USER}:{SECRET}".encode()).decode()
    for secret in (SECRET, USER, encoded):
        at = text.find(secret)
        assert at < 0, text[max(0, at - 300) : at + 100]


async def test_a_store_that_works(store: Store, origin: Origin, caplog: pytest.LogCaptureFixture) -> None:
    backend = store.backend(secret_key=SECRET, ignored_params=["access_token"])
    unsaid(await said_of(backend, origin, caplog))


@pytest.mark.parametrize("store", SHARED, indirect=True)
async def test_a_store_with_nonsense_in_it(store: Store, origin: Origin, caplog: pytest.LogCaptureFixture) -> None:
    backend = store.backend(secret_key=SECRET)
    url = f"{origin.url}/b?access_token={SECRET}"
    async with CachedSession(cache=backend) as session:
        async with session.get(url) as response:
            await response.read()
        await backend.settle()
        store.plant({backend.create_key("GET", url): SECRET.encode()})
        async with session.get(url) as response:
            await response.read()
        text = reprs(session, backend)
    unsaid(f"{text} {ours(caplog)}")


async def test_a_server_that_is_not_there(origin: Origin, caplog: pytest.LogCaptureFixture) -> None:
    backend = RedisBackend("app", f"redis://{USER}:{SECRET}@127.0.0.1:1/0", secret_key=SECRET)
    text = await said_of(backend, origin, caplog)
    assert "127.0.0.1" in text
    unsaid(text)


async def test_a_server_that_refuses_the_password(
    own_valkey: Any, origin: Origin, caplog: pytest.LogCaptureFixture
) -> None:
    backend = RedisBackend("app", own_valkey.url.replace("redis://", f"redis://{USER}:{SECRET}@"))
    unsaid(await said_of(backend, origin, caplog))


async def test_a_file_that_cannot_be_opened(tmp_path: Path, origin: Origin, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    backend = SQLiteBackend(str(tmp_path / "file" / "cache"), secret_key=SECRET)
    text = await said_of(backend, origin, caplog)
    assert "cache.sqlite" in text
    unsaid(text)


async def test_a_file_that_is_not_ours(tmp_path: Path, origin: Origin, caplog: pytest.LogCaptureFixture) -> None:
    with closing(sqlite3.connect(tmp_path / "cache.sqlite")) as connection:
        connection.execute(f'CREATE TABLE "cache:responses" ("{SECRET}" DEFAULT \'{SECRET}\')')
    text = await said_of(SQLiteBackend(str(tmp_path / "cache"), secret_key=SECRET), origin, caplog)
    assert "damaged" in text
    unsaid(text)


async def test_a_container_of_secrets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, origin: Origin, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND", "redis")
    monkeypatch.setenv("AIOHTTP_CACHE_REDIS__URL", f"redis://{USER}:{SECRET}@127.0.0.1:1/0")
    monkeypatch.setenv("AIOHTTP_CACHE_SECRET_KEY", SECRET)
    container: Any = CacheContainer()
    async with open_container(container) as session:
        texts = await use(session, origin.url)
        settings = container.settings()
        texts += [repr(container), repr(container.settings), repr(settings), str(settings)]
        texts += [reprs(session, session.cache, settings)]
    unsaid("\n".join([*texts, ours(caplog)]))


async def test_a_container_whose_store_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND", "redis")
    monkeypatch.setenv("AIOHTTP_CACHE_REDIS__URL", f"redis://{USER}:{SECRET}@127.0.0.1:1/0")
    monkeypatch.setenv("AIOHTTP_CACHE_REQUIRE_STORE", "true")
    with pytest.raises(ConfigurationError) as caught:
        async with open_container():
            pytest.fail("it must not open")
    unsaid("".join(traceback.format_exception(caught.value)) + ours(caplog))
