"""The admin page in both frameworks: who may come in, where it is mounted, and that it is the same in each."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias, cast

import httpx2
import pytest
from aiohttp import ClientSession, UnixConnector, web
from aiohttp.test_utils import TestClient, TestServer
from fastapi import Depends, FastAPI, Header, HTTPException, Security
from fastapi.testclient import TestClient as FastAPIClient
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import RedirectResponse
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

import aiohttp_cache_di_fastapi as for_fastapi
import aiohttp_cache_di_web as for_web
from aiohttp_cache_di import CachedSession, ConfigurationError
from aiohttp_cache_di.admin.access import COOKIE, TOKEN_HEADER
from aiohttp_cache_di.containers import CacheContainer
from tests.integrations.origin import Origin

OTHER = web.AppKey("OTHER", CachedSession)
PAGE = "/cache-admin/"
CACHES = "/cache-admin/api/caches"
KEY = {"X-Admin": "yes"}


class Told:
    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Send: TypeAlias = Callable[..., Awaitable[Told]]


class App:
    """An app that is served, and the way to ask it."""

    def __init__(self, send: Send, sessions: list[CachedSession]) -> None:
        self.send = send
        self.sessions = sessions

    async def get(self, path: str, **headers: str) -> Told:
        return await self.send("GET", path, headers, None)

    async def change(self, path: str, body: Any, **more: str) -> Told:
        """Ask as the page does: with the token, and the cookie that came with it."""
        ours = {name: value for name, value in more.items() if name != "Origin"}
        given = await self.send("GET", f"{path.partition('/api/')[0]}/api/caches", ours, None)
        token = given.json["token"]
        assert f"{COOKIE}={token}" in given.headers["Set-Cookie"]
        headers = {TOKEN_HEADER: token, "Cookie": f"{COOKIE}={token}", "Content-Type": "application/json", **more}
        return await self.send("POST", path, headers, json.dumps(body).encode())


@asynccontextmanager
async def served_fastapi(
    app: FastAPI, *, host: str = "localhost", peer: str = "127.0.0.1", root_path: str = ""
) -> AsyncGenerator[App]:
    async with app.router.lifespan_context(app):
        transport = httpx2.ASGITransport(app=app, client=(peer, 50_000), root_path=root_path)
        async with httpx2.AsyncClient(transport=transport, base_url=f"http://{host}") as client:

            async def send(method: str, path: str, headers: dict[str, str], body: bytes | None) -> Told:
                client.cookies.clear()
                response = await client.request(method, path, headers=headers, content=body)
                return Told(response.status_code, response.headers, response.content)

            sessions = [getattr(app.state, key) for key in ("cached_session", "weather") if hasattr(app.state, key)]
            yield App(send, sessions)


@asynccontextmanager
async def served_web(app: web.Application) -> AsyncGenerator[App]:
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(TestClient(TestServer(app)))

        async def send(method: str, path: str, headers: dict[str, str], body: bytes | None) -> Told:
            client.session.cookie_jar.clear()
            async with client.request(method, path, headers=headers, data=body, allow_redirects=False) as response:
                return Told(response.status, response.headers, await response.read())

        yield App(send, [app[key] for key in (for_web.CACHED_SESSION, OTHER) if key in app])


@asynccontextmanager
async def fastapi_app(**options: Any) -> AsyncGenerator[App]:
    weather = for_fastapi.make_lifespan(CacheContainer(prefix="WEATHER_CACHE_"), key="weather")
    app = FastAPI(lifespan=for_fastapi.combine_lifespans(for_fastapi.lifespan, weather))
    app.include_router(for_fastapi.admin_router(keys=["cached_session", "weather"], **options))
    async with served_fastapi(app) as made:
        yield made


@asynccontextmanager
async def web_app(**options: Any) -> AsyncGenerator[App]:
    app = web.Application()
    app.cleanup_ctx.append(for_web.cache_ctx)
    app.cleanup_ctx.append(for_web.make_cache_ctx(CacheContainer(prefix="WEATHER_CACHE_"), key=OTHER))
    for_web.add_admin(app, keys=[for_web.CACHED_SESSION, OTHER], **options)
    async with served_web(app) as made:
        yield made


APPS = {"fastapi": fastapi_app, "aiohttp.web": web_app}
Made: TypeAlias = Callable[..., Any]


@pytest.fixture(params=APPS)
def make(request: pytest.FixtureRequest) -> Made:
    return APPS[request.param]


@pytest.fixture
async def app(make: Made) -> AsyncIterator[App]:
    """An app whose page is for clients on this machine."""
    async with make(authorize=None) as made:
        yield made


# ---- mounting


def test_there_is_no_page_without_authorize() -> None:
    with pytest.raises(TypeError, match="authorize"):
        for_fastapi.admin_router()  # type: ignore[call-arg]  # which is what is tested
    with pytest.raises(TypeError, match="authorize"):
        for_web.add_admin(web.Application())  # type: ignore[call-arg]  # which is what is tested


@pytest.mark.parametrize("authorize", [True, False, "", "secret", {"user": "x"}, [None]])
def test_what_is_no_handler_authorizes_no_one(authorize: Any) -> None:
    with pytest.raises(ConfigurationError, match="authorize="):
        for_fastapi.admin_router(authorize=authorize)
    with pytest.raises(ConfigurationError, match="authorize="):
        for_web.add_admin(web.Application(), authorize=authorize)


def test_a_page_in_what_is_no_app_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"^add_admin\(5\): pass the app"):
        for_web.add_admin(5, authorize=None)  # type: ignore[arg-type]  # which is what is tested


@pytest.mark.parametrize("path", ["cache", "/{x}", "/a?b", 7])
def test_a_path_that_is_none_is_refused(path: Any) -> None:
    with pytest.raises(ConfigurationError, match="prefix="):
        for_fastapi.admin_router(authorize=None, prefix=path)
    with pytest.raises(ConfigurationError, match="path="):
        for_web.add_admin(web.Application(), authorize=None, path=path)


async def test_without_it_nothing_is_there() -> None:
    app = web.Application()
    app.cleanup_ctx.append(for_web.cache_ctx)
    async with served_web(app) as made:
        assert (await made.get(PAGE)).status == 404
    plain = FastAPI(lifespan=for_fastapi.lifespan)
    async with served_fastapi(plain) as made:
        assert (await made.get(PAGE)).status == 404


# ---- the same in both


async def test_the_page_and_its_api_are_there(app: App, origin: Origin) -> None:
    page = await app.get(PAGE)
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'sha256-")
    assert page.headers["Cache-Control"] == "no-store"
    caches = (await app.get(CACHES)).json["caches"]
    assert [(one["name"], one["is_open"]) for one in caches] == [("aiohttp-cache", True), ("weather-cache", True)]
    for _ in range(2):
        async with app.sessions[1].get(f"{origin.url}/a") as response:
            await response.read()
    now = (await app.get(f"{CACHES}/1/now")).json
    assert now["counters"]["requests"] == 2
    assert sum(sum(sample["results"].values()) for sample in now["samples"]) == 2  # from the start of the app on
    (row,) = (await app.get(f"{CACHES}/1/entries?q=/a")).json["entries"]
    assert (await app.get(f"{CACHES}/1/entry?key={row['key']}")).json["row"]["url"] == f"{origin.url}/a"
    assert (await app.get(f"{CACHES}/0/entries")).json["total"] == 0
    assert now["busiest"][0]["requests"] == 2
    assert (await app.get(f"{CACHES}/1/now")).headers["Connection"] == "close"  # the next may ask another worker
    assert (await app.get(f"{CACHES}/1/upstreams")).json["largest"][0]["entries"] == 1
    assert (await app.get(f"{CACHES}/2/now")).status == 404
    assert (await app.get(f"{CACHES}/1/nothing")).status == 404


async def test_the_page_is_found_without_its_slash_wherever_a_proxy_shows_it(app: App) -> None:
    told = await app.get("/cache-admin")
    assert (told.status, told.headers["Location"]) == (307, "cache-admin/")


async def test_the_page_explains_and_purges_with_the_token(app: App, origin: Origin) -> None:
    async with app.sessions[0].get(f"{origin.url}/a") as response:
        await response.read()
    explained = await app.change(f"{CACHES}/0/explain", {"url": f"{origin.url}/a"})
    assert explained.json["decision"] == "Serve"
    purged = await app.change(f"{CACHES}/0/purge", {"all": True})
    assert (purged.status, purged.json["entries"]) == (200, 1)
    assert (await app.get(f"{CACHES}/0/store")).json["entries"] == 0
    checked = await app.change(f"{CACHES}/0/check", {})
    assert (checked.status, checked.json["checked"]) == (200, "")


async def test_a_purge_of_another_site_is_refused(app: App) -> None:
    plain = {"Content-Type": "application/json"}
    told = await app.send("POST", f"{CACHES}/0/purge", plain, b'{"all": true}')
    assert (told.status, told.json["error"]["code"]) == (403, "token")
    for more in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://attacker.test"}):
        told = await app.send("POST", f"{CACHES}/0/purge", {**plain, **more}, b'{"all": true}')
        assert (told.status, told.json["error"]["code"]) == (403, "cross-site")
    told = await app.send("POST", f"{CACHES}/0/purge", {"Content-Type": "text/plain"}, b'{"all": true}')
    assert told.status == 415
    assert (await app.get(CACHES, **{"Sec-Fetch-Site": "same-site"})).status == 403
    assert (await app.send("GET", f"{CACHES}/0/purge", {}, None)).status == 405
    too_long = await app.change(f"{CACHES}/0/purge", {"host": "x" * 200_000})
    assert too_long.status == 413


async def test_a_rebound_name_and_a_proxied_client_are_refused(app: App) -> None:
    for headers, code in (
        ({"Host": "rebound.attacker.test"}, "foreign-host"),
        ({"X-Forwarded-For": "127.0.0.1"}, "not-local"),
        ({"Forwarded": "for=127.0.0.1"}, "not-local"),
    ):
        for path in (PAGE, CACHES):
            told = await app.send("GET", path, headers, None)
            assert (told.status, told.json["error"]["code"]) == (403, code)


async def test_a_page_that_only_shows_changes_nothing(make: Made) -> None:
    async with make(authorize=None, read_only=True, previews=False) as app:
        assert not (await app.get(CACHES)).json["bounds"]["may_change"]
        assert not (await app.get(CACHES)).json["bounds"]["shows_bodies"]
        told = await app.change(f"{CACHES}/0/purge", {"all": True})
        assert (told.status, told.json["error"]["code"]) == (403, "read-only")


async def test_the_page_may_be_mounted_elsewhere(make: Made) -> None:
    at = "path" if make is web_app else "prefix"
    async with make(authorize=None, **{at: "/internal/caches/"}) as app:
        assert (await app.get("/internal/caches")).headers["Location"] == "caches/"
        assert (await app.get("/internal/caches/")).status == 200
        assert (await app.get("/internal/caches/api/caches")).status == 200
        assert (await app.get(PAGE)).status == 404


# ---- authorize=, of FastAPI


async def require_admin(x_admin: str = Header("")) -> str:
    if x_admin != "yes":
        raise HTTPException(401, "log in", {"WWW-Authenticate": "Basic"})
    return x_admin


def require_admin_at_once(x_admin: str = Header("")) -> bool:
    return x_admin == "yes"


async def require_admin_with_an_end(x_admin: str = Header("")) -> AsyncIterator[None]:
    if x_admin != "yes":
        raise HTTPException(401)
    yield


def require_admin_or_login(x_admin: str = Header("")) -> Any:
    return None if x_admin == "yes" else RedirectResponse("/login")  # which FastAPI sends to no one


class Requiring:
    def __call__(self, x_admin: str = Header("")) -> None:
        if x_admin != "yes":
            raise HTTPException(401)


DEPENDENCIES = [
    (require_admin, 401),
    (require_admin_at_once, 403),
    (require_admin_or_login, 403),
    (require_admin_with_an_end, 401),
    (Requiring(), 401),
    (Depends(require_admin), 401),
    (Security(require_admin, scopes=["admin"]), 401),
]


@pytest.mark.parametrize(("authorize", "status"), DEPENDENCIES)
async def test_a_dependency_says_who_may_come_in(authorize: Any, status: int) -> None:
    async with fastapi_app(authorize=authorize) as app:
        for path in (PAGE, CACHES, f"{CACHES}/0/now", f"{CACHES}/0/entries"):
            assert (await app.get(path)).status == status
            assert (await app.get(path, **KEY)).status == 200
        told = await app.send("POST", f"{CACHES}/0/purge", {"Content-Type": "application/json"}, b'{"all": true}')
        assert told.status == status
        assert (await app.change(f"{CACHES}/0/purge", {"all": True}, **KEY)).status == 200


async def test_who_is_authorized_may_come_from_anywhere_by_any_name() -> None:
    app = FastAPI(lifespan=for_fastapi.lifespan)
    app.include_router(for_fastapi.admin_router(authorize=require_admin))
    async with served_fastapi(app, host="service.example.org", peer="203.0.113.7") as made:
        assert (await made.get(PAGE, **KEY, **{"X-Forwarded-For": "203.0.113.9"})).status == 200
        assert (await made.change(f"{CACHES}/0/purge", {"all": True}, **KEY)).status == 200


async def test_a_dependency_that_is_overridden_in_a_test_is() -> None:
    app = FastAPI(lifespan=for_fastapi.lifespan)
    app.include_router(for_fastapi.admin_router(authorize=require_admin))
    app.dependency_overrides[require_admin] = lambda: None
    async with served_fastapi(app) as made:
        assert (await made.get(PAGE)).status == 200


# ---- authorize=, of aiohttp.web


def is_admin(request: web.Request) -> bool:
    return request.headers.get("X-Admin") == "yes"


async def is_admin_in_time(request: web.Request) -> bool:
    return is_admin(request)


async def admin_or_login(request: web.Request) -> bool | web.StreamResponse:
    return is_admin(request) or web.Response(status=401, text="log in")


async def admin_or_raised(request: web.Request) -> bool:
    if not is_admin(request):
        raise web.HTTPFound("/login")
    return True


def says_nothing(request: web.Request) -> Any:
    """Lets no one in: what is forgotten is not granted."""


def truthy(request: web.Request) -> Any:
    return "yes"


HANDLERS = [(is_admin, 403), (is_admin_in_time, 403), (admin_or_login, 401), (admin_or_raised, 302)]


@pytest.mark.parametrize(("authorize", "status"), HANDLERS)
async def test_a_handler_says_who_may_come_in(authorize: for_web.Authorize, status: int) -> None:
    async with web_app(authorize=authorize) as app:
        for path in (PAGE, CACHES, f"{CACHES}/0/now", f"{CACHES}/0/entries"):
            assert (await app.get(path)).status == status
            assert (await app.get(path, **KEY)).status == 200
        told = await app.send("POST", f"{CACHES}/0/purge", {"Content-Type": "application/json"}, b'{"all": true}')
        assert told.status == status
        more = {**KEY, "Host": "service.example.org", "X-Forwarded-For": "203.0.113.9"}
        assert (await app.change(f"{CACHES}/0/purge", {"all": True}, **more)).status == 200


@pytest.mark.parametrize("authorize", [says_nothing, truthy])
async def test_only_true_lets_in(authorize: Any) -> None:
    async with web_app(authorize=authorize) as app:
        assert (await app.get(PAGE)).status == 403


# ---- how it is served


async def test_a_client_on_a_unix_socket_is_not_local(tmp_path: Path) -> None:
    app = web.Application()
    app.cleanup_ctx.append(for_web.cache_ctx)
    for_web.add_admin(app, authorize=None)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        place = str(tmp_path / "s")
        await web.UnixSite(runner, place).start()
        async with (
            ClientSession(connector=UnixConnector(place)) as client,
            client.get(f"http://localhost{PAGE}") as told,
        ):
            assert (told.status, (await told.json())["error"]["code"]) == (403, "not-local")
    finally:
        await runner.cleanup()


def test_the_test_client_is_not_local_unless_it_says_so() -> None:
    app = FastAPI(lifespan=for_fastapi.lifespan)
    app.include_router(for_fastapi.admin_router(authorize=None))
    with FastAPIClient(app) as client:
        assert client.get(PAGE).json()["error"]["code"] == "not-local"
    if "client" not in inspect.signature(FastAPIClient).parameters:
        pytest.skip("the TestClient of this Starlette has one address")
    with FastAPIClient(app, base_url="http://localhost", client=("127.0.0.1", 50_000)) as client:
        assert client.get(PAGE).status_code == 200


async def test_a_peer_that_a_middleware_has_changed_is_not_believed() -> None:
    @web.middleware
    async def behind_proxy(request: web.Request, handler: Any) -> web.StreamResponse:
        changed = request.clone(remote="203.0.113.7")
        changed._match_info = request.match_info
        return cast("web.StreamResponse", await handler(changed))

    app = web.Application(middlewares=[behind_proxy])
    app.cleanup_ctx.append(for_web.cache_ctx)
    for_web.add_admin(app, authorize=None)
    async with served_web(app) as made:
        assert (await made.get(PAGE)).json["error"]["code"] == "not-local"


async def test_an_address_that_a_header_has_brought_is_not_believed() -> None:
    app = FastAPI(lifespan=for_fastapi.lifespan)
    app.include_router(for_fastapi.admin_router(authorize=None))
    behind: Any = ProxyHeadersMiddleware(cast("Any", app), trusted_hosts="*")  # as uvicorn --forwarded-allow-ips='*'
    async with app.router.lifespan_context(app):
        transport = httpx2.ASGITransport(app=behind, client=("203.0.113.7", 50_000))
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
            told = await client.get(PAGE, headers={"X-Forwarded-For": "127.0.0.1"})
            assert told.json()["error"]["code"] == "not-local"


async def test_http_1_0_is_told_from_a_browser() -> None:
    app = web.Application()
    app.cleanup_ctx.append(for_web.cache_ctx)
    for_web.add_admin(app, authorize=None)
    async with TestServer(app) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.make_url("/").port)
        writer.write(f"GET {PAGE} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n".encode())
        async with asyncio.timeout(10):
            assert (await reader.readline()).split()[1] == b"403"
        writer.close()


@pytest.mark.parametrize("root_path", ["", "/service"])
async def test_a_router_may_have_a_prefix_and_a_root_path(root_path: str) -> None:
    app = FastAPI(lifespan=for_fastapi.lifespan)
    app.include_router(for_fastapi.admin_router(authorize=None, prefix=""), prefix="/internal")
    async with served_fastapi(app, root_path=root_path) as made:
        assert (await made.get(f"{root_path}/internal/")).status == 200
        assert (await made.get(f"{root_path}/internal/api/caches")).json["caches"][0]["is_open"]
        schema = (await made.get(f"{root_path}/openapi.json")).json
        assert schema["paths"] == {}  # an operator's page is no part of the API


async def test_a_mounted_app_shows_the_caches_of_the_app_above(origin: Origin) -> None:
    inner = FastAPI()
    inner.include_router(for_fastapi.admin_router(authorize=None))
    app = FastAPI(lifespan=for_fastapi.lifespan)
    app.mount("/inner", inner)
    async with app.router.lifespan_context(app) as state:

        async def with_state(scope: Any, receive: Any, send: Any) -> None:
            await app({**scope, "state": dict(state or {})}, receive, send)

        transport = httpx2.ASGITransport(app=with_state)
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
            assert (await client.get(f"/inner{CACHES}")).json()["caches"][0]["is_open"]
            async with app.state.cached_session.get(f"{origin.url}/a") as response:
                await response.read()
            now = (await client.get(f"/inner{CACHES}/0/now")).json()
            assert sum(sum(sample["results"].values()) for sample in now["samples"]) == 1


async def test_a_sub_app_shows_the_caches_of_the_app_above(origin: Origin) -> None:
    inner = web.Application()
    for_web.add_admin(inner, authorize=None, path="/")
    app = web.Application()
    app.cleanup_ctx.append(for_web.cache_ctx)
    app.add_subapp("/inner", inner)
    async with served_web(app) as made:
        assert (await made.get("/inner/")).status == 200
        assert (await made.get("/inner/api/caches")).json["caches"][0]["is_open"]
        async with made.sessions[0].get(f"{origin.url}/a") as response:
            await response.read()
        assert (await made.get("/inner/api/caches/0/entries")).json["total"] == 1


async def test_a_cache_that_is_not_open_fails_no_page(make: Made) -> None:
    async with make(authorize=None) as app:
        await app.sessions[0].close()
        assert [one["is_open"] for one in (await app.get(CACHES)).json["caches"]] == [False, True]
        told = await app.get(f"{CACHES}/0/now")
        assert (told.status, told.json["error"]["code"]) == (503, "closed")
        assert (await app.get(f"{CACHES}/1/now")).status == 200


async def test_a_lax_cors_policy_gives_no_other_site_a_token() -> None:
    app = FastAPI(lifespan=for_fastapi.lifespan)
    app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_credentials=True, allow_headers=["*"])
    app.include_router(for_fastapi.admin_router(authorize=None))
    async with served_fastapi(app) as made:
        told = await made.get(CACHES, Origin="http://attacker.test", **{"Sec-Fetch-Site": "cross-site"})
        assert told.status == 403
        told = await made.get(CACHES, Origin="http://attacker.test")
        assert (told.status, "token" in told.json) == (403, False)
        told = await made.change(f"{CACHES}/0/purge", {"all": True}, Origin="http://attacker.test")
        assert told.status == 403


def test_a_session_is_let_go_when_its_app_ends() -> None:
    app = FastAPI(lifespan=for_fastapi.lifespan)
    app.include_router(for_fastapi.admin_router(authorize=lambda: None))
    for _ in range(2):
        with FastAPIClient(app) as client:
            assert client.get(f"{CACHES}/0/now").json()["counters"]["requests"] == 0
            session: CachedSession = app.state.cached_session
            assert len(session.cache.stats.watch._observers) == 2  # what is saved, and what the page counts
        assert len(session.cache.stats.watch._observers) == 1


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"read_only": "no"}, r"^read_only='no': use True or False"),
        ({"previews": "no"}, r"^previews='no': use True or False"),
        ({"keys": "cached_session"}, r"^keys='cached_session': use a list"),
        ({"keys": 5}, r"^keys=5: use a list"),
    ],
    ids=str,
)
def test_an_argument_of_the_page_that_would_be_taken_for_something_else_is_refused(
    wrong: dict[str, Any], why: str
) -> None:
    with pytest.raises(ConfigurationError, match=why):
        for_fastapi.admin_router(authorize=None, **wrong)
    with pytest.raises(ConfigurationError, match=why):
        for_web.add_admin(web.Application(), authorize=None, **wrong)
