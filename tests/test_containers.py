"""The container: what dependency-injector does by itself, and what `open_container` adds."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, assert_type

import dependency_injector
import pytest
from aiohttp import CookieJar, DummyCookieJar, TCPConnector, web
from aiohttp.test_utils import BaseTestServer, TestServer
from dependency_injector import containers, providers

from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.containers import CacheContainer, open_container
from aiohttp_cache_di.containers.parts import NEEDED, require
from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.session import CachedSession
from aiohttp_cache_di.settings import CacheSettings
from tests.blocking import allowed_to_block

pytestmark = pytest.mark.usefixtures("_no_variables")


@pytest.fixture
def _no_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND", "memory")


class Journal(list[str]):
    """Records events in order."""

    @asynccontextmanager
    async def resource(self, name: str, *needs: Any, fails: bool = False) -> AsyncGenerator[str]:
        self.append(f"{name} opens")
        if fails:
            raise OSError(f"{name} cannot open")
        try:
            yield name
        finally:
            self.append(f"{name} closes")


@asynccontextmanager
async def origin() -> AsyncGenerator[BaseTestServer]:
    """Serve a counter that may be cached for a minute."""
    served = iter(range(1, 1000))

    async def handle(request: web.Request) -> web.Response:
        return web.Response(text=str(next(served)), headers={"Cache-Control": "max-age=60"})

    app = web.Application()
    app.router.add_get("/", handle)
    async with TestServer(app) as server:
        yield server


async def fetch(session: CachedSession, server: BaseTestServer) -> str:
    async with session.get(server.make_url("/")) as response:
        return await response.text()


def opened(container: Any) -> AbstractAsyncContextManager[object]:
    """Open a container whose session has another type than declared."""
    return open_container(container)


class RecordingBackend(CacheBackend):
    """A backend in memory that records when it is closed."""

    journal: Journal = Journal()

    async def close(self) -> None:
        self.journal.append("backend closes")
        await super().close()


# What dependency-injector does by itself. If one of these fails, a pitfall is gone, and its workaround may go too.


async def test_a_started_asynchronous_resource_hands_out_futures() -> None:
    resource: Any = providers.Resource(Journal().resource, "r")
    await resource.init()

    handed_out = resource()

    assert asyncio.isfuture(handed_out)
    assert await handed_out == "r"
    await resource.shutdown()


async def test_init_resources_is_not_awaitable_when_all_are_synchronous() -> None:
    class Synchronous(containers.DeclarativeContainer):
        settings = providers.Resource(object)

    assert Synchronous().init_resources() is None


async def test_init_resources_leaves_running_what_had_started() -> None:
    journal = Journal()

    class Failing(containers.DeclarativeContainer):
        first = providers.Resource(journal.resource, "first")
        second = providers.Resource(journal.resource, "second", first, fails=True)

    container: Any = Failing()
    with pytest.raises(OSError, match="second cannot open"):
        await container.init_resources()

    assert journal == ["first opens", "second opens"]
    await container.shutdown_resources()


async def test_init_resources_starts_what_an_override_has_made_superfluous() -> None:
    journal = Journal()

    class Overridden(containers.DeclarativeContainer):
        backend = providers.Resource(journal.resource, "backend")
        session = providers.Resource(journal.resource, "session", backend)

    container: Any = Overridden(session="fake")
    await container.init_resources()

    assert journal == ["backend opens"]
    await container.shutdown_resources()


async def test_shutdown_resources_stops_at_the_first_error() -> None:
    journal = Journal()

    @asynccontextmanager
    async def session(backend: object) -> AsyncGenerator[str]:
        yield "session"
        raise OSError("session cannot close")

    class Failing(containers.DeclarativeContainer):
        backend = providers.Resource(journal.resource, "backend")
        session_ = providers.Resource(session, backend)

    container: Any = Failing()
    await container.init_resources()
    with pytest.raises(OSError, match="session cannot close"):
        await container.shutdown_resources()

    assert journal == ["backend opens"]
    await container.backend.shutdown()


# open_container


async def test_one_line_opens_the_cache_that_the_variables_describe() -> None:
    async with origin() as server:
        async with open_container() as session:
            assert_type(session, CachedSession)
            assert [await fetch(session, server) for _ in range(3)] == ["1", "1", "1"]
        assert session.closed


async def test_the_session_is_the_one_that_the_container_provides() -> None:
    container: Any = CacheContainer()

    async with open_container(container) as session:
        assert await container.session() is session
        assert await container.session() is session
        assert container.settings().backend == "memory"


async def test_the_session_closes_before_the_backend() -> None:
    RecordingBackend.journal.clear()
    settings = await asyncio.to_thread(CacheSettings, backend=f"{__name__}:RecordingBackend")
    container: Any = CacheContainer(settings=settings)

    async with open_container(container) as session:
        RecordingBackend.journal.append("open")
        close = session.close

        async def noted_close() -> None:
            RecordingBackend.journal.append("session closes")
            await close()

        session.close = noted_close  # type: ignore[method-assign]  # records the call of the real close

    assert RecordingBackend.journal == ["open", "session closes", "backend closes"]


async def test_a_failed_start_is_undone_in_reverse_order() -> None:
    journal = Journal()
    first = providers.Resource(journal.resource, "first")
    second = providers.Resource(journal.resource, "second", first)
    container: Any = CacheContainer(session=providers.Resource(journal.resource, "session", second, fails=True))

    with pytest.raises(OSError, match="session cannot open"):
        async with open_container(container):
            pytest.fail("it must not open")

    assert journal == ["first opens", "second opens", "session opens", "second closes", "first closes"]


async def test_a_start_that_failed_can_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    container = CacheContainer()
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND", "no.such.module:Backend")
    with pytest.raises(ConfigurationError, match=r"module no\.such\.module cannot be imported"):
        async with open_container(container):
            pytest.fail("it must not open")

    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND", "memory")

    async with open_container(container) as session:
        assert not session.closed


async def test_a_session_that_fails_to_close_does_not_keep_the_backend_open() -> None:
    journal = Journal()

    @asynccontextmanager
    async def session(backend: object) -> AsyncGenerator[str]:
        yield "session"
        raise OSError("session cannot close")

    backend = providers.Resource(journal.resource, "backend")
    container: Any = CacheContainer(session=providers.Resource(session, backend))

    with pytest.raises(OSError, match="session cannot close"):
        async with open_container(container):
            pass

    assert journal == ["backend opens", "backend closes"]


async def test_an_error_of_the_caller_closes_everything_and_is_passed_on() -> None:
    sessions: list[CachedSession] = []

    async def fail() -> None:
        async with open_container() as session:
            sessions.append(session)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()

    assert sessions[0].closed


async def test_a_start_that_is_cancelled_midway_is_undone_without_noise() -> None:
    journal, opening, may_open = Journal(), asyncio.Event(), asyncio.Event()
    noise: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: noise.append(context))

    @asynccontextmanager
    async def slow(backend: object) -> AsyncGenerator[str]:
        opening.set()
        await may_open.wait()
        async with journal.resource("session"):
            yield "session"

    backend = providers.Resource(journal.resource, "backend")
    container: Any = CacheContainer(session=providers.Resource(slow, backend))

    async def start() -> None:
        async with open_container(container):
            pytest.fail("it must not open")

    task = asyncio.create_task(start())
    await opening.wait()
    task.cancel()
    asyncio.get_running_loop().call_soon(may_open.set)
    with pytest.raises(asyncio.CancelledError):
        await task

    assert journal == ["backend opens", "session opens", "session closes", "backend closes"]
    assert noise == []


async def test_a_start_that_hangs_can_be_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiohttp_cache_di.containers.opening.CANCELLED_START_S", 0.01)
    opening = asyncio.Event()

    @asynccontextmanager
    async def hanging() -> AsyncGenerator[str]:
        opening.set()
        await asyncio.Event().wait()
        yield "never"

    container: Any = CacheContainer(session=providers.Resource(hanging))

    async def start() -> None:
        async with open_container(container):
            pytest.fail("it must not open")

    task = asyncio.create_task(start())
    await opening.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, timeout=5)


async def test_each_start_reads_the_variables_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    container: Any = CacheContainer()
    for seconds in (60.0, 120.0):
        monkeypatch.setenv("AIOHTTP_CACHE_EXPIRE_AFTER", f"{seconds}")
        async with open_container(container) as session:
            assert session.cache.expire_after == seconds


async def test_what_was_running_before_stays_running() -> None:
    container: Any = CacheContainer()
    await asyncio.to_thread(container.settings.init)
    await container.init_resources()

    async with open_container(container) as session:
        pass

    assert not session.closed
    await container.shutdown_resources()
    assert session.closed


async def test_a_container_that_is_opened_twice_is_closed_with_the_last() -> None:
    RecordingBackend.journal.clear()
    settings = await asyncio.to_thread(CacheSettings, backend=f"{__name__}:RecordingBackend")
    container: Any = CacheContainer(settings=settings)
    first, second = open_container(container), open_container(container)

    session, same = await asyncio.gather(first.__aenter__(), second.__aenter__())
    assert session is same
    await first.__aexit__(None, None, None)
    assert not session.closed
    assert RecordingBackend.journal == []
    await second.__aexit__(None, None, None)
    assert session.closed
    assert RecordingBackend.journal == ["backend closes"]

    async with open_container(container) as another:
        assert another is not session


async def test_who_opens_while_the_last_closes_gets_a_session_of_its_own() -> None:
    container: Any = CacheContainer()
    first = open_container(container)
    session = await first.__aenter__()

    closing = asyncio.ensure_future(first.__aexit__(None, None, None))
    async with open_container(container) as other:
        await closing
        assert not other.closed
        assert other is session or session.closed


async def test_a_second_start_that_fails_leaves_the_first_open() -> None:
    journal = Journal()
    container: Any = CacheContainer()
    async with open_container(container) as session:
        failing = providers.Resource(journal.resource, "other", fails=True)
        with container.session.override(failing), pytest.raises(OSError, match="other cannot open"):
            async with open_container(container):
                pytest.fail("it must not open")
        assert not session.closed


def test_a_container_that_is_open_in_another_loop_has_a_session_of_its_own_here() -> None:
    container: Any = CacheContainer(session_options={"headers": {"User-Agent": "app"}})
    agents: list[str] = []

    async def here(other: CachedSession) -> None:
        async with open_container(container) as session:
            assert session is not other
            agents.append(session.headers["User-Agent"])
        assert session.closed

    async def there() -> None:
        async with open_container(container) as session:
            await asyncio.to_thread(asyncio.run, here(session))
            assert not session.closed
            agents.append(session.headers["User-Agent"])

    asyncio.run(there())
    assert agents == ["app", "app"]


async def test_a_class_makes_a_container_at_each_start() -> None:
    async with open_container(CacheContainer) as first, open_container(CacheContainer) as second:
        assert first is not second


async def test_two_caches_have_nothing_in_common(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEATHER_CACHE_BACKEND", "memory")
    monkeypatch.setenv("WEATHER_CACHE_EXPIRE_AFTER", "5m")
    weather = CacheContainer(prefix="WEATHER_CACHE_")

    async with origin() as server, open_container() as session, open_container(weather) as weather_session:
        assert [await fetch(session, server), await fetch(weather_session, server)] == ["1", "2"]
        assert weather_session.cache.expire_after == 300.0
        assert session.cache.expire_after is None


# Overrides


async def test_an_overridden_session_starts_neither_settings_nor_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND", "wrong")
    container: Any = CacheContainer()

    with container.session.override("fake"):
        async with opened(container) as session:
            assert session == "fake"


async def test_an_override_on_the_class_reaches_containers_made_later() -> None:
    provider: Any = CacheContainer.session
    with provider.override("fake"):
        async with opened(None) as session:
            assert session == "fake"

    async with open_container() as session:
        assert isinstance(session, CachedSession)


async def test_an_override_that_is_a_resource_is_opened_and_closed() -> None:
    journal = Journal()
    container: Any = CacheContainer(session=providers.Resource(journal.resource, "own"))

    async with opened(container) as session:
        assert session == "own"

    assert journal == ["own opens", "own closes"]


async def test_a_backend_that_is_handed_in_is_used_and_not_closed() -> None:
    RecordingBackend.journal.clear()
    backend = RecordingBackend()

    async with open_container(CacheContainer(backend=backend)) as session:
        assert session.cache is backend

    assert RecordingBackend.journal == []


async def test_an_override_after_a_start_is_resolved_as_well() -> None:
    container: Any = CacheContainer()
    async with open_container(container):
        pass

    with container.session.override("fake"):
        async with opened(container) as session:
            assert session == "fake"


async def test_an_override_that_was_used_leaves_no_trace() -> None:
    container: Any = CacheContainer()
    for _ in range(2):
        with container.session.override("fake"):
            async with opened(container) as session:
                assert session == "fake"

        async with open_container(container) as session:
            assert isinstance(session, CachedSession)


# Being part of a user's application


async def test_it_embeds_in_a_container_of_the_users() -> None:
    class Client:
        def __init__(self, session: CachedSession) -> None:
            self.session = session

    class App(containers.DeclarativeContainer):
        config = providers.Configuration()
        cache: Any = providers.Container(
            CacheContainer, settings=providers.Factory(CacheSettings, backend=config.backend)
        )
        client = providers.Factory(Client, session=cache.session)

    app: Any = App(config={"backend": "memory"})

    async with open_container(app.cache) as session:
        assert (await app.client()).session is session
    assert session.closed

    with allowed_to_block("dependency-injector's own start asks each provider where it is called"):
        await app.init_resources()
    session = await app.cache.session()
    assert not session.closed
    await app.shutdown_resources()
    assert session.closed


async def test_other_resources_of_a_subclass_are_opened_and_closed_too() -> None:
    journal = Journal()

    class Wider(CacheContainer):
        database = providers.Resource(journal.resource, "database")

    async with open_container(Wider):
        assert journal == ["database opens"]
    assert journal == ["database opens", "database closes"]


async def test_a_container_without_a_session_is_refused_with_the_way_out() -> None:
    class App(containers.DeclarativeContainer):
        cache = providers.Container(CacheContainer)

    with pytest.raises(ConfigurationError, match=r"no provider 'session'; give a CacheContainer, or .* app\.cache"):
        async with open_container(App()):
            pytest.fail("it must not open")


async def test_what_belongs_into_a_container_is_refused_with_the_way_out() -> None:
    settings = await asyncio.to_thread(CacheSettings, backend="memory")
    for given, way_out in ((settings, "settings=…"), ("RATES_", "prefix=…")):
        with pytest.raises(ConfigurationError, match=rf"CacheContainer\({way_out}\)") as caught:
            async with open_container(given):  # type: ignore[arg-type]  # which type checkers refuse, too
                pytest.fail("it must not open")
        assert len(str(caught.value)) < 300


def test_a_container_is_made_without_a_loop_and_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND", "wrong")

    container: Any = CacheContainer(prefix="AIOHTTP_CACHE_")

    with pytest.raises(ConfigurationError, match="AIOHTTP_CACHE_BACKEND='wrong'"):
        container.settings()


@pytest.mark.parametrize("given", [None, "factory"])
async def test_opening_looks_at_files_in_threads_only(
    given: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("AIOHTTP_CACHE_LEASE=1s\n")
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND", "sqlite")
    monkeypatch.setenv("AIOHTTP_CACHE_SQLITE__PATH", str(tmp_path))
    options: dict[str, Any] = {} if given is None else {"settings": providers.Factory(CacheSettings)}
    container: Any = CacheContainer(**options)
    async with open_container(container):
        pass  # imports what it needs
    looked: list[str] = []
    loop_thread = threading.get_ident()
    for name in ("access", "listdir", "lstat", "mkdir", "open", "stat"):
        real = getattr(os, name)

        def watched(*args: Any, real: Any = real, name: str = name, **kwargs: Any) -> Any:
            if threading.get_ident() == loop_thread:
                looked.append(f"os.{name}{args}")
            return real(*args, **kwargs)

        monkeypatch.setattr(os, name, watched)

    async with open_container(container) as session:
        assert session.cache.name == str(tmp_path / "aiohttp-cache.sqlite")
        assert session.cache.lease_s == 1.0
        assert looked == []


# What the session is made with


async def test_cookies_are_not_kept_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_container() as session:
        assert isinstance(session.cookie_jar, DummyCookieJar)

    monkeypatch.setenv("AIOHTTP_CACHE_CLIENT__COOKIES", "true")
    async with open_container() as session:
        assert isinstance(session.cookie_jar, CookieJar)


async def test_the_client_section_sets_timeouts_and_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_CLIENT__TIMEOUT", "10s")
    monkeypatch.setenv("AIOHTTP_CACHE_CLIENT__CONNECT_TIMEOUT", "1s")
    monkeypatch.setenv("AIOHTTP_CACHE_CLIENT__CONNECTIONS", "7")
    monkeypatch.setenv("AIOHTTP_CACHE_CLIENT__TRUST_ENV", "true")

    async with open_container() as session:
        assert (session.timeout.total, session.timeout.sock_connect) == (10.0, 1.0)
        assert session.connector is not None
        assert session.connector.limit == 7
        assert session.trust_env


async def test_session_options_go_before_the_settings_and_may_need_the_loop() -> None:
    connector = providers.Factory(TCPConnector, limit=3)
    container = CacheContainer(
        session_options=providers.Factory(dict, connector=connector, headers={"User-Agent": "app"})
    )

    async with open_container(container) as session:
        assert session.connector is not None
        assert session.connector.limit == 3
        assert session.headers["User-Agent"] == "app"


def test_importing_the_package_loads_neither_the_container_nor_the_settings() -> None:
    heavy = "dependency_injector", "pydantic_settings", "pydantic", "fastapi", "redis"
    code = f"import sys, aiohttp_cache_di; print([name for name in {heavy} if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.strip() == "[]"


def test_container_and_settings_are_found_in_the_package_all_the_same() -> None:
    import aiohttp_cache_di

    assert aiohttp_cache_di.CacheContainer is CacheContainer
    assert aiohttp_cache_di.CacheSettings is CacheSettings
    assert aiohttp_cache_di.open_container is open_container


# What dependency-injector does not promise


@pytest.mark.parametrize(("owner", "name"), [(owner, name) for owner, names in NEEDED.items() for name in names])
def test_what_is_used_of_dependency_injector_is_there(owner: type, name: str) -> None:
    assert hasattr(owner, name)


def test_a_release_that_lacks_something_is_refused_at_the_import_with_its_version() -> None:
    with pytest.raises(ImportError) as error:
        require({providers.Resource: ("init", "a_name_of_old")})
    assert dependency_injector.__version__ in str(error.value)
    assert "Resource.a_name_of_old" in str(error.value)
    assert "Resource.init" not in str(error.value)


OF_ANOTHER_KIND: list[tuple[str, Any, str]] = [
    (
        "settings",
        {"secret_key": "very-secret-indeed"},
        "settings of a CacheContainer is of the type dict; give a Cache",
    ),
    (
        "settings",
        providers.Factory(dict),
        "settings of a CacheContainer is of the type dict; give a CacheSettings, or",
    ),
    (
        "settings",
        CacheSettings,
        "settings of a CacheContainer is the class CacheSettings; give a CacheSettings, or a",
    ),
    (
        "backend",
        "memory",
        "backend of a CacheContainer is of the type str; give a CacheBackend, or a provider that",
    ),
    ("session_options", 5, "session_options of a CacheContainer are a mapping, not int"),
    ("backend", CacheBackend, "backend of a CacheContainer is the class CacheBackend; give a CacheBackend, or a"),
]


@pytest.mark.parametrize(("name", "given", "said"), OF_ANOTHER_KIND)
async def test_a_part_of_another_kind_is_refused_in_words(name: str, given: object, said: str) -> None:
    options: Any = {name: given}
    with pytest.raises(ConfigurationError, match=said) as caught:
        async with open_container(CacheContainer(**options)):
            pytest.fail("it opened")
    assert "very-secret" not in str(caught.value)


async def test_a_container_logs_the_start_of_its_cache_when_it_is_opened(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "aiohttp_cache_di.telemetry.log")
    container: Any = CacheContainer(settings=providers.Factory(CacheSettings, backend="memory"))
    async with open_container(container):
        assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
            "The cache 'aiohttp-cache' starts"
        ]
    assert [record.getMessage().partition(":")[0] for record in caplog.records[1:]] == [
        "The cache 'aiohttp-cache' is closed"
    ]
