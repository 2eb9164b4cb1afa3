"""The aiohttp.web adapter in real apps."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from dependency_injector import containers, providers
from dependency_injector.wiring import Provide, inject
from pytest_aiohttp.plugin import AiohttpClient

from aiohttp_cache_di.containers import CacheContainer
from aiohttp_cache_di.errors import ConfigurationError, LifecycleError
from aiohttp_cache_di.session import CachedSession
from aiohttp_cache_di_web import CACHED_SESSION, cache_ctx, get_cached_session, make_cache_ctx
from tests.integrations.origin import Origin

WEATHER_SESSION = web.AppKey("WEATHER_SESSION", CachedSession)
ORIGIN = web.AppKey("ORIGIN", str)


async def answer_with(session: CachedSession, request: web.Request) -> web.Response:
    async with session.get(f"{request.config_dict[ORIGIN]}/{request.match_info.get('path', '')}") as response:
        return web.Response(text=await response.text())


async def proxy(request: web.Request) -> web.Response:
    return await answer_with(get_cached_session(request), request)


async def weather(request: web.Request) -> web.Response:
    return await answer_with(get_cached_session(request, WEATHER_SESSION), request)


async def session_id(request: web.Request) -> web.Response:
    return web.Response(text=str(id(get_cached_session(request))))


def app_for(origin: Origin, *contexts: Any) -> web.Application:
    app = web.Application()
    app[ORIGIN] = origin.url
    app.cleanup_ctx.extend(contexts)
    app.router.add_get("/proxy/{path}", proxy)
    app.router.add_get("/weather/{path}", weather)
    app.router.add_get("/session", session_id)
    return app


async def text(client: TestClient[Any, Any], path: str) -> str:
    async with client.get(path) as response:
        assert response.status == 200, await response.text()
        return await response.text()


async def test_a_context_is_all_that_an_app_needs(origin: Origin, aiohttp_client: AiohttpClient) -> None:
    client = await aiohttp_client(app_for(origin, cache_ctx))

    assert [await text(client, "/proxy/a") for _ in range(5)] == ["1"] * 5
    assert origin.hits == 1


async def test_every_request_of_a_process_has_the_same_session_and_its_connections(
    origin: Origin, aiohttp_client: AiohttpClient
) -> None:
    client = await aiohttp_client(app_for(origin, cache_ctx))

    sessions = {await text(client, "/session") for _ in range(3)}
    for number in range(20):
        await text(client, f"/proxy/{number}")

    assert len(sessions) == 1
    assert origin.hits == 20
    assert len(origin.connections) == 1


async def test_the_session_is_closed_with_the_app_and_a_new_one_opened_at_the_next_start(origin: Origin) -> None:
    seen: list[CachedSession] = []
    for _ in range(2):
        app = app_for(origin, cache_ctx)
        runner = web.AppRunner(app)
        await runner.setup()
        seen.append(get_cached_session(app))
        assert not seen[-1].closed
        await runner.cleanup()
        assert seen[-1].closed

    assert seen[0] is not seen[1]


async def test_a_sub_app_has_the_session_of_the_app_above(origin: Origin, aiohttp_client: AiohttpClient) -> None:
    app, sub_app, below = app_for(origin, cache_ctx), app_for(origin), app_for(origin)
    sub_app.add_subapp("/below", below)
    app.add_subapp("/sub", sub_app)
    client = await aiohttp_client(app)

    assert await text(client, "/proxy/a") == "1"
    assert await text(client, "/sub/proxy/a") == "1"
    assert await text(client, "/sub/below/proxy/a") == "1"
    assert await text(client, "/sub/session") == await text(client, "/session")


async def test_a_sub_app_may_have_a_session_of_its_own(origin: Origin, aiohttp_client: AiohttpClient) -> None:
    app, sub_app = app_for(origin, cache_ctx), app_for(origin, make_cache_ctx())
    app.add_subapp("/sub", sub_app)
    client = await aiohttp_client(app)

    assert await text(client, "/sub/session") != await text(client, "/session")


async def test_the_contexts_of_the_app_above_close_before_those_of_a_sub_app(origin: Origin) -> None:
    journal: list[object] = []

    async def sub_context(sub_app: web.Application) -> AsyncGenerator[None]:
        journal.append(app[CACHED_SESSION].closed)
        yield
        journal.append(app[CACHED_SESSION].closed)

    app, sub_app = app_for(origin, cache_ctx), app_for(origin, sub_context)
    app.add_subapp("/sub", sub_app)
    runner = web.AppRunner(app)
    await runner.setup()
    await runner.cleanup()

    assert journal == [False, True]


async def test_a_context_after_the_caches_can_use_the_session_to_the_end(origin: Origin) -> None:
    journal: list[object] = []

    async def own(app: web.Application) -> AsyncGenerator[None]:
        async with get_cached_session(app).get(f"{origin.url}/a") as response:
            journal.append(await response.text())
        yield
        journal.append(get_cached_session(app).closed)

    runner = web.AppRunner(app_for(origin, cache_ctx, own))
    await runner.setup()
    await runner.cleanup()

    assert journal == ["1", False]


async def test_a_web_socket_has_the_session(origin: Origin, aiohttp_client: AiohttpClient) -> None:
    async def talk(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            async with get_cached_session(request).get(f"{origin.url}/{message.data}") as response:
                await socket.send_str(await response.text())
        return socket

    app = app_for(origin, cache_ctx)
    app.router.add_get("/ws", talk)
    client = await aiohttp_client(app)

    answers: list[str] = []
    async with client.ws_connect("/ws") as socket:
        for path in ("a", "b", "a"):
            await socket.send_str(path)
            answers.append(await socket.receive_str())

    assert answers == ["1", "2", "1"]


async def test_a_class_of_handlers_asks_with_its_request(origin: Origin, aiohttp_client: AiohttpClient) -> None:
    class View(web.View):
        async def get(self) -> web.Response:
            return await answer_with(get_cached_session(self.request), self.request)

    app = app_for(origin, cache_ctx)
    app.router.add_view("/view/{path}", View)
    client = await aiohttp_client(app)

    assert [await text(client, "/view/a"), await text(client, "/proxy/a")] == ["1", "1"]


# Without the context


async def test_without_a_context_the_error_says_what_to_do(origin: Origin) -> None:
    app = app_for(origin)

    with pytest.raises(LifecycleError, match=r"CACHED_SESSION.* is not open: .*app\.cleanup_ctx\.append\(cache_ctx\)"):
        get_cached_session(app)


async def test_before_the_start_the_error_is_the_same(origin: Origin) -> None:
    with pytest.raises(LifecycleError, match="has not been started"):
        get_cached_session(app_for(origin, cache_ctx))


async def test_a_wrong_variable_stops_the_start_with_its_name(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_EXPIRE_AFTER", "soon")
    runner = web.AppRunner(app_for(origin, cache_ctx))

    with pytest.raises(ConfigurationError, match="AIOHTTP_CACHE_EXPIRE_AFTER='soon'"):
        await runner.setup()


# Several caches


async def test_two_caches_of_one_app_are_apart(origin: Origin, aiohttp_client: AiohttpClient) -> None:
    second = make_cache_ctx(CacheContainer(prefix="WEATHER_CACHE_"), key=WEATHER_SESSION)
    client = await aiohttp_client(app_for(origin, cache_ctx, second))

    assert [await text(client, "/proxy/a"), await text(client, "/weather/a")] == ["1", "2"]
    assert [await text(client, "/proxy/a"), await text(client, "/weather/a")] == ["1", "2"]


async def test_two_caches_under_one_key_are_refused_at_the_start(origin: Origin) -> None:
    runner = web.AppRunner(app_for(origin, cache_ctx, make_cache_ctx()))

    with pytest.raises(ConfigurationError, match="give each a key of its own"):
        await runner.setup()

    await runner.cleanup()


# One app, several runners


@pytest.mark.parametrize("first_to_stop", [0, 1])
async def test_two_runners_of_one_app_share_the_session_until_both_are_cleaned_up(
    first_to_stop: int, origin: Origin
) -> None:
    app = app_for(origin, cache_ctx)
    runners = [web.AppRunner(app), web.AppRunner(app)]
    await runners[0].setup()
    session = get_cached_session(app)
    await runners[1].setup()
    assert get_cached_session(app) is session

    await runners[first_to_stop].cleanup()
    assert not session.closed
    await runners[1 - first_to_stop].cleanup()
    assert session.closed


async def test_two_test_clients_of_one_app_share_the_session(origin: Origin) -> None:
    app = app_for(origin, cache_ctx)

    async with TestClient(TestServer(app)) as outer:
        async with TestClient(TestServer(app)) as inner:
            assert [await text(inner, "/proxy/a"), await text(outer, "/proxy/a")] == ["1", "1"]
        assert await text(outer, "/proxy/a") == "1"
        session = get_cached_session(app)
    assert session.closed


async def test_an_app_that_is_started_again_has_a_new_session(origin: Origin) -> None:
    app = app_for(origin, cache_ctx)
    seen: list[CachedSession] = []
    for _ in range(3):
        runner = web.AppRunner(app)
        await runner.setup()
        seen.append(get_cached_session(app))
        assert not seen[-1].closed
        await runner.cleanup()
        assert seen[-1].closed

    assert len(set(seen)) == 3


async def test_a_runner_that_does_not_start_leaves_the_other_its_session(origin: Origin) -> None:
    starts = iter([True, False])

    async def fragile(app: web.Application) -> AsyncGenerator[None]:
        if not next(starts):
            raise RuntimeError("the port is taken")
        yield

    app = app_for(origin, cache_ctx, fragile)
    first, second = web.AppRunner(app), web.AppRunner(app)
    await first.setup()
    session = get_cached_session(app)
    with pytest.raises(RuntimeError, match="port"):
        await second.setup()
    await second.cleanup()
    assert not session.closed

    await first.cleanup()
    assert session.closed


# Replaced in a user's test


async def test_an_override_of_the_container_replaces_the_session(origin: Origin, aiohttp_client: AiohttpClient) -> None:
    container: Any = CacheContainer()
    fake = object()

    with container.session.override(fake):
        client = await aiohttp_client(app_for(origin, make_cache_ctx(container)))

        assert await text(client, "/session") == str(id(fake))


# With dependency-injector's own wiring


class App(containers.DeclarativeContainer):
    """A container of the user's."""

    cache: Any = providers.Container(CacheContainer)


@inject
async def injected(request: web.Request, session: CachedSession = Provide[App.cache.session]) -> web.Response:
    return web.Response(text=str(id(session)))


async def test_inject_gives_a_handler_the_session_that_the_adapter_opened(
    origin: Origin, aiohttp_client: AiohttpClient
) -> None:
    container: Any = App()
    container.wire(modules=[sys.modules[__name__]])
    try:
        app = app_for(origin, make_cache_ctx(container.cache))
        app.router.add_get("/injected", injected)
        client = await aiohttp_client(app)

        assert await text(client, "/injected") == await text(client, "/session")
    finally:
        container.unwire()


def test_a_start_that_another_context_fails_closes_the_cache_in_silence() -> None:
    complaints: list[dict[str, Any]] = []

    async def failing(app: web.Application) -> AsyncGenerator[None]:
        raise RuntimeError("the database is down")
        yield

    app = web.Application()
    app.cleanup_ctx.extend([cache_ctx, failing])

    async def start() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
        await web.AppRunner(app, handle_signals=False).setup()

    with pytest.raises(RuntimeError, match="database"):
        asyncio.run(start())

    assert complaints == []
    assert app[CACHED_SESSION].closed
