"""The FastAPI adapter in real apps."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx2
import pytest
import uvicorn
from aiohttp import ClientSession
from dependency_injector import containers, providers
from dependency_injector.wiring import Provide, inject
from fastapi import APIRouter, Depends, FastAPI, Request, WebSocket
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from aiohttp_cache_di.containers import CacheContainer
from aiohttp_cache_di.errors import ConfigurationError, LifecycleError
from aiohttp_cache_di.session import CachedSession
from aiohttp_cache_di.settings import CacheSettings
from aiohttp_cache_di_fastapi import (
    CACHED_SESSION,
    AnyLifespan,
    CachedSessionDep,
    combine_lifespans,
    get_cached_session,
    install,
    lifespan,
    make_get_cached_session,
    make_lifespan,
)
from tests.integrations.origin import Origin

WeatherSession = Annotated[CachedSession, Depends(make_get_cached_session("weather"))]


async def text_of(session: CachedSession, url: str) -> str:
    async with session.get(url) as response:
        return await response.text()


def router_for(origin: Origin) -> APIRouter:
    router = APIRouter()

    @router.get("/proxy/{path}")
    async def proxy(path: str, session: CachedSessionDep) -> str:
        return await text_of(session, f"{origin.url}/{path}")

    @router.get("/session")
    async def session_id(session: CachedSessionDep) -> int:
        return id(session)

    return router


def app_for(origin: Origin, **options: Any) -> FastAPI:
    app = FastAPI(**options)
    app.include_router(router_for(origin))
    return app


def journalling(journal: list[str], name: str, state: Mapping[str, Any] | None = None) -> AnyLifespan:
    @asynccontextmanager
    async def its_lifespan(app: Any) -> AsyncGenerator[Mapping[str, Any] | None]:
        journal.append(f"{name} starts")
        yield state
        journal.append(f"{name} stops")

    return its_lifespan


def test_a_lifespan_is_all_that_an_app_needs(origin: Origin) -> None:
    with TestClient(app_for(origin, lifespan=lifespan)) as client:
        answers = [client.get("/proxy/a").json() for _ in range(5)]

    assert answers == ["1"] * 5
    assert origin.hits == 1


def test_every_request_of_a_process_has_the_same_session_and_its_connections(origin: Origin) -> None:
    with TestClient(app_for(origin, lifespan=lifespan)) as client:
        sessions = {client.get("/session").json() for _ in range(3)}
        for number in range(20):
            client.get(f"/proxy/{number}")

    assert len(sessions) == 1
    assert origin.hits == 20
    assert len(origin.connections) == 1


def test_the_session_is_closed_with_the_app_and_a_new_one_opened_at_the_next_start(origin: Origin) -> None:
    app = app_for(origin, lifespan=lifespan)
    seen: list[CachedSession] = []
    for _ in range(2):
        with TestClient(app) as client:
            seen.append(app.state.cached_session)
            assert client.get("/proxy/a").status_code == 200
        assert seen[-1].closed
        assert not hasattr(app.state, CACHED_SESSION)

    assert seen[0] is not seen[1]


def test_install_leaves_a_lifespan_of_the_users_in_place_and_lends_it_the_session(origin: Origin) -> None:
    seen: list[Any] = []

    @asynccontextmanager
    async def own(app: FastAPI) -> AsyncGenerator[Mapping[str, str]]:
        seen.append(await text_of(app.state.cached_session, f"{origin.url}/a"))
        yield {"greeting": "hello"}
        seen.append(app.state.cached_session.closed)

    app = app_for(origin, lifespan=own)
    install(app)

    @app.get("/greeting")
    async def greeting(request: Request) -> str:
        return str(request.state.greeting)

    with TestClient(app) as client:
        assert client.get("/greeting").json() == "hello"
        assert client.get("/proxy/a").json() == "1"

    assert seen == ["1", False]
    assert origin.hits == 1


def test_installed_in_an_app_that_runs_the_cache_is_opened_at_its_next_start(origin: Origin) -> None:
    app = app_for(origin)
    with TestClient(app) as client:
        install(app)
        with pytest.raises(LifecycleError, match="or call install\\(app\\) before the app is started"):
            client.get("/proxy/a")
    with TestClient(app) as client:
        assert client.get("/proxy/a").json() == "1"


def test_install_serves_an_app_that_has_no_lifespan(origin: Origin) -> None:
    app = app_for(origin)
    install(app)

    with TestClient(app) as client:
        assert client.get("/proxy/a").json() == "1"


def test_combined_lifespans_stop_in_reverse_and_share_their_state(origin: Origin) -> None:
    journal: list[str] = []
    app = app_for(
        origin,
        lifespan=combine_lifespans(
            journalling(journal, "first", {"first": 1}), lifespan, journalling(journal, "last", {"last": 2})
        ),
    )

    @app.get("/state")
    async def state(request: Request) -> list[int]:
        return [request.state.first, request.state.last]

    with TestClient(app) as client:
        assert client.get("/state").json() == [1, 2]
        assert client.get("/proxy/a").json() == "1"

    assert journal == ["first starts", "last starts", "last stops", "first stops"]


async def test_combined_lifespans_without_state_ask_none_of_the_server() -> None:
    journal: list[str] = []

    async with combine_lifespans(journalling(journal, "a"), journalling(journal, "b"))(None) as state:
        assert state is None

    assert journal == ["a starts", "b starts", "b stops", "a stops"]


def test_a_mounted_app_has_the_session_of_the_app_above(origin: Origin) -> None:
    app, mounted = app_for(origin, lifespan=lifespan), app_for(origin)
    app.mount("/mounted", mounted)

    with TestClient(app) as client:
        assert client.get("/proxy/a").json() == "1"
        assert client.get("/mounted/proxy/a").json() == "1"
        assert client.get("/mounted/session").json() == client.get("/session").json()

    assert origin.hits == 1


def test_a_web_socket_has_the_session(origin: Origin) -> None:
    app = app_for(origin, lifespan=lifespan)

    @app.websocket("/ws")
    async def talk(socket: WebSocket, session: CachedSessionDep) -> None:
        await socket.accept()
        async for path in socket.iter_text():
            await socket.send_text(await text_of(session, f"{origin.url}/{path}"))

    with TestClient(app) as client, client.websocket_connect("/ws") as socket:
        answers: list[str] = []
        for path in ("a", "b", "a"):
            socket.send_text(path)
            answers.append(socket.receive_text())

    assert answers == ["1", "2", "1"]


def test_a_router_may_bring_the_lifespan_and_depend_on_the_session(origin: Origin) -> None:
    router = APIRouter(lifespan=lifespan, dependencies=[Depends(get_cached_session)])

    @router.get("/router")
    async def route(request: Request) -> str:
        return await text_of(request.state.cached_session, f"{origin.url}/a")

    app = app_for(origin)
    app.include_router(router)

    with TestClient(app) as client:
        assert client.get("/router").json() == "1"
        assert client.get("/proxy/a").json() == "1"


def test_a_dependency_of_the_users_may_depend_on_the_session(origin: Origin) -> None:
    app = app_for(origin, lifespan=lifespan)

    async def answer(session: CachedSessionDep) -> str:
        return await text_of(session, f"{origin.url}/a")

    @app.get("/sub")
    async def route(answer: str = Depends(answer)) -> str:
        return answer

    with TestClient(app) as client:
        assert client.get("/sub").json() == "1"


def test_a_starlette_app_has_the_session_too(origin: Origin) -> None:
    async def route(request: Request) -> PlainTextResponse:
        return PlainTextResponse(await text_of(await get_cached_session(request), f"{origin.url}/a"))

    app = Starlette(routes=[Route("/", route)], lifespan=lifespan)

    with TestClient(app) as client:
        assert client.get("/").text == "1"


def test_the_dependency_is_no_parameter_of_the_api(origin: Origin) -> None:
    operation = app_for(origin, lifespan=lifespan).openapi()["paths"]["/session"]["get"]

    assert "parameters" not in operation
    assert "requestBody" not in operation


async def test_an_asgi_app_that_is_no_application_gets_the_session_in_the_state() -> None:
    async with lifespan(None) as state:
        assert isinstance(state[CACHED_SESSION], CachedSession)


# Without the lifespan


def test_without_a_lifespan_the_error_says_what_to_do(origin: Origin) -> None:
    with (
        TestClient(app_for(origin)) as client,
        pytest.raises(LifecycleError, match=r"'cached_session' is not open") as caught,
    ):
        client.get("/session")

    assert "FastAPI(lifespan=lifespan)" in str(caught.value)


def test_a_test_client_without_with_is_told_to_use_it(origin: Origin) -> None:
    client = TestClient(app_for(origin, lifespan=lifespan))

    with pytest.raises(LifecycleError, match=r"with TestClient\(app\) as client"):
        client.get("/session")


def test_a_web_socket_without_the_lifespan_has_the_same_error(origin: Origin) -> None:
    app = app_for(origin, lifespan=lifespan)

    @app.websocket("/ws")
    async def talk(socket: WebSocket, session: CachedSessionDep) -> None:
        pytest.fail("it must not come here")

    with pytest.raises(LifecycleError), TestClient(app).websocket_connect("/ws"):
        pytest.fail("it must not connect")


async def test_an_asgi_transport_without_the_lifespan_is_told_the_way_out(origin: Origin) -> None:
    transport = httpx2.ASGITransport(app_for(origin, lifespan=lifespan))

    async with httpx2.AsyncClient(transport=transport, base_url="http://app") as client:
        with pytest.raises(LifecycleError, match=r"async with app\.router\.lifespan_context\(app\)"):
            await client.get("/session")


async def test_an_asgi_transport_works_inside_the_lifespan_that_the_test_runs(origin: Origin) -> None:
    app = app_for(origin, lifespan=lifespan)
    transport = httpx2.ASGITransport(app)

    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://app") as client,
    ):
        assert [(await client.get("/proxy/a")).json() for _ in range(2)] == ["1", "1"]


def test_a_wrong_variable_stops_the_start_with_its_name(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_EXPIRE_AFTER", "soon")

    with (
        pytest.raises(ConfigurationError, match="AIOHTTP_CACHE_EXPIRE_AFTER='soon'"),
        TestClient(app_for(origin, lifespan=lifespan)),
    ):
        pytest.fail("it must not start")


# Several caches


def two_caches(origin: Origin, key: str) -> FastAPI:
    weather = make_lifespan(CacheContainer(prefix="WEATHER_CACHE_"), key=key)
    app = app_for(origin, lifespan=combine_lifespans(lifespan, weather))

    @app.get("/weather")
    async def route(session: WeatherSession) -> str:
        return await text_of(session, f"{origin.url}/a")

    return app


def test_two_caches_of_one_app_are_apart(origin: Origin) -> None:
    with TestClient(two_caches(origin, "weather")) as client:
        assert [client.get("/proxy/a").json(), client.get("/weather").json()] == ["1", "2"]
        assert [client.get("/proxy/a").json(), client.get("/weather").json()] == ["1", "2"]


@pytest.mark.parametrize("app", [5, None, APIRouter()])
def test_what_is_no_app_is_refused_with_the_way_out(app: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^install\(.*\): pass the app, .*APIRouter\(lifespan=lifespan\)"):
        install(app)


def test_a_cache_that_is_opened_by_the_lifespan_and_by_install_is_refused_with_the_way_out() -> None:
    app = FastAPI(lifespan=lifespan)
    install(app)
    with pytest.raises(ConfigurationError, match="by the lifespan or by install, not by both"), TestClient(app):
        pytest.fail("it must not start")


def test_two_caches_under_one_key_are_refused_at_the_start(origin: Origin) -> None:
    with (
        pytest.raises(ConfigurationError, match="give each a key of its own"),
        TestClient(two_caches(origin, CACHED_SESSION)),
    ):
        pytest.fail("it must not start")


# One app, several servers


@pytest.mark.parametrize("given", ["none", "class", "container"])
def test_nested_test_clients_have_a_session_in_each_loop(given: str, origin: Origin) -> None:
    containers_given = {"none": None, "class": CacheContainer, "container": CacheContainer()}
    app = app_for(origin, lifespan=make_lifespan(containers_given[given]))

    with TestClient(app) as outer:
        first = app.state.cached_session
        with TestClient(app) as inner:
            assert [inner.get("/proxy/a").json(), outer.get("/proxy/a").json()] == ["1", "2"]
            assert inner.get("/session").json() != outer.get("/session").json()
        assert app.state.cached_session is first
        assert outer.get("/proxy/a").json() == "2"
    assert first.closed
    assert not hasattr(app.state, CACHED_SESSION)


@pytest.mark.parametrize("first_to_stop", [0, 1])
async def test_two_servers_of_one_loop_share_the_session_until_both_have_stopped(
    first_to_stop: int, origin: Origin
) -> None:
    app = app_for(origin, lifespan=lifespan)
    contexts = [app.router.lifespan_context(app) for _ in range(2)]
    states = await asyncio.gather(*(context.__aenter__() for context in contexts))
    session = app.state.cached_session

    assert [state[CACHED_SESSION] for state in states if state] == [session, session]
    await contexts[first_to_stop].__aexit__(None, None, None)
    assert app.state.cached_session is session
    assert not session.closed
    await contexts[1 - first_to_stop].__aexit__(None, None, None)
    assert session.closed


def test_a_real_server_on_two_ports_has_one_session(origin: Origin) -> None:
    app = app_for(origin, lifespan=lifespan)

    async def serve() -> None:
        servers = [uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning")) for _ in range(2)]
        tasks = [asyncio.create_task(server._serve()) for server in servers]  # serve() would take the signals as well
        while not all(server.started for server in servers):
            await asyncio.sleep(0.01)
            assert not any(task.done() for task in tasks)
        ports = [server.servers[0].sockets[0].getsockname()[1] for server in servers]
        async with ClientSession() as client:
            for port in ports:
                async with client.get(f"http://127.0.0.1:{port}/proxy/a") as response:
                    assert await response.json() == "1"
            servers[0].should_exit = True
            await tasks[0]
            async with client.get(f"http://127.0.0.1:{ports[1]}/proxy/a") as response:
                assert await response.json() == "1"
        servers[1].should_exit = True
        await tasks[1]

    asyncio.run(serve())
    assert origin.hits == 1
    assert not hasattr(app.state, CACHED_SESSION)


# Replaced in a user's test


def test_a_dependency_override_replaces_the_session_without_any_lifespan(origin: Origin) -> None:
    app = app_for(origin, lifespan=lifespan)
    app.dependency_overrides[get_cached_session] = lambda: "fake"

    assert isinstance(TestClient(app).get("/session").json(), int)
    assert origin.hits == 0


def test_an_override_of_the_container_replaces_the_session(origin: Origin) -> None:
    container: Any = CacheContainer()
    app = app_for(origin, lifespan=make_lifespan(container))

    with container.session.override("fake"), TestClient(app) as client:
        assert client.get("/session").json() == id("fake")


def test_settings_from_code_replace_the_variables(origin: Origin) -> None:
    container = CacheContainer(settings=CacheSettings(backend="memory", expire_after=7))
    app = app_for(origin)
    install(app, container)

    with TestClient(app):
        assert app.state.cached_session.cache.expire_after == 7


# With dependency-injector's own wiring


class App(containers.DeclarativeContainer):
    """A container of the user's."""

    cache: Any = providers.Container(CacheContainer)


@inject
async def injected(session: CachedSession = Depends(Provide[App.cache.session])) -> int:  # noqa: B008  # FastAPI asks for it here
    return id(session)


def test_inject_gives_a_route_the_session_that_the_adapter_opened(origin: Origin) -> None:
    container: Any = App()
    container.wire(modules=[sys.modules[__name__]])
    app = app_for(origin, lifespan=make_lifespan(container.cache))
    app.get("/injected", response_model=None)(injected)
    try:
        with TestClient(app) as client:
            assert client.get("/injected").json() == client.get("/session").json()
            assert client.get("/injected").json() == client.get("/session").json()
    finally:
        container.unwire()


def test_without_fastapi_the_import_names_the_extra() -> None:
    code = "import sys; sys.modules['fastapi'] = None; import aiohttp_cache_di_fastapi"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (
        "MissingDependencyError: aiohttp_cache_di_fastapi needs fastapi: pip install 'aiohttp-cache-di[fa" in ran.stderr
    )
