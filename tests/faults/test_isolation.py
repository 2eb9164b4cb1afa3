"""No user gets a response that was fetched for another, and no secret is written anywhere."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import BasicAuth, ClientSession, CookieJar, DummyCookieJar, FormData, web
from multidict import CIMultiDict
from yarl import URL

from aiohttp_cache_di import CachedSession, CacheMiddleware
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.keys import create_key
from tests.faults.conftest import Note
from tests.faults.origin import Origin
from tests.stores import Store

# aiohttp discourages auth= and BasicAuth, but programs use them.
pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")

SECRETS: Final = {"alice": "pw7Qa1iceSECRET", "bob": "pw7Qb0bSECRET"}
COOKIE_SECRET: Final = "setCookieSECRET"


def encodings(secret: str) -> list[bytes]:
    """The forms in which *secret* could occur: as it is, and as part of Basic credentials."""
    whole = [base64.b64encode(f"{name}:{secret}".encode()) for name in (*SECRETS, "")]
    return [secret.encode(), *whole]


async def who_asks(request: web.Request) -> web.Response:
    """Answer with the name of the user whose secret is in any of the headers."""
    values = list(request.headers.values())
    values += [
        base64.b64decode(value.partition(" ")[2]).decode() for value in values if value.lower().startswith("basic ")
    ]
    found = [name for name, secret in SECRETS.items() if any(secret in value for value in values)]
    name = found[0] if found else "nobody"
    headers = {"Cache-Control": "max-age=600", "Set-Cookie": f"sid={COOKIE_SECRET}; Path=/never"}
    return web.Response(text=f"for {name}", headers=headers)


@dataclass(frozen=True)
class Way:
    """One way to send credentials: what it changes in the session, the request and the URL."""

    session: Callable[[str, str], dict[str, Any]] = field(default=lambda name, secret: {})
    request: Callable[[str, str], dict[str, Any]] = field(default=lambda name, secret: {})
    userinfo: bool = False
    backend: dict[str, Any] = field(default_factory=dict[str, Any])
    netrc: bool = False


WAYS = {
    "authorization header": Way(request=lambda name, secret: {"headers": {"Authorization": f"Bearer {secret}"}}),
    "auth=": Way(request=lambda name, secret: {"auth": basic_auth(name, secret)}),
    "userinfo": Way(userinfo=True),
    "netrc": Way(session=lambda name, secret: {"trust_env": True}, netrc=True),
    "session headers": Way(session=lambda name, secret: {"headers": {"authorization": f"Bearer {secret}"}}),
    "session auth": Way(session=lambda name, secret: {"auth": basic_auth(name, secret)}),
    "cookie header": Way(request=lambda name, secret: {"headers": {"Cookie": f"sid={secret}"}}),
    "cookies=": Way(request=lambda name, secret: {"cookies": {"sid": secret}}),
    "cookie jar": Way(session=lambda name, secret: {"cookies": {"sid": secret}}),
    "proxy-authorization": Way(request=lambda name, secret: {"headers": {"Proxy-Authorization": f"Bearer {secret}"}}),
    "x-api-key": Way(request=lambda name, secret: {"headers": {"X-API-Key": secret}}),
    "api key by another name": Way(request=lambda name, secret: {"headers": {"X-Shopify-Access-Token": secret}}),
    "own credential header": Way(
        request=lambda name, secret: {"headers": {"X-Tenant": secret}},
        backend={"credential_headers": ["Authorization", "X-Tenant"]},
    ),
}


def basic_auth(login: str, password: str) -> BasicAuth:
    """Make credentials without aiohttp's warning."""
    return BasicAuth.decode("Basic " + base64.b64encode(f"{login}:{password}".encode()).decode())


def of_request(way: Way) -> bool:
    return way.session("", "x") == {}


@pytest.fixture(autouse=True)
def everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)


class World:
    """Users with sessions of their own on one backend.

    Args:
        backend: the backend that all share.
        url: the URL of the origin.
        way: how they send their credentials.
    """

    def __init__(self, backend: CacheBackend, url: str, way: Way, monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
        self.backend = backend
        self.url = url
        self.way = way
        self.seen: list[str] = []
        self._monkeypatch = monkeypatch
        self._place = place

    async def ask(self, name: str, path: str = "/") -> tuple[str, bool]:
        """Send a request as *name*; return the answer, and whether it came from the cache."""
        secret = SECRETS.get(name)
        url = URL(self.url + path)
        session_options: dict[str, Any] = {"cookie_jar": CookieJar(unsafe=True)}
        options: dict[str, Any] = {}
        if secret is not None:
            session_options |= self.way.session(name, secret)
            options = self.way.request(name, secret)
            url = url.with_user(name).with_password(secret) if self.way.userinfo else url
        if self.way.netrc:
            netrc = self._place / f"netrc-{name}"
            netrc.write_text(f"machine {url.host} login {name} password {secret}\n" if secret else "")
            self._monkeypatch.setenv("NETRC", str(netrc))
            session_options["trust_env"] = True
        async with (
            CachedSession(cache=self.backend, **session_options) as session,
            session.get(url, **options) as response,
        ):
            text = await response.text()
            assert "Set-Cookie" not in response.headers or not response.from_cache
            self.seen += [repr(session), repr(self.backend), repr(self.backend.responses)]
            if response.from_cache:  # the repr of a miss is aiohttp's own, with all header fields
                self.seen.append(repr(response))
            return text, response.from_cache

    def asked_by(self, name: str) -> dict[str, Any]:
        """The arguments of ``has_url`` and ``delete_url`` for the same user."""
        return {"url": self.url + "/", **self.way.request(name, SECRETS[name])}


@pytest.mark.parametrize("cache_control", [False, True], ids=["rules", "standard"])
@pytest.mark.parametrize("way", WAYS)
async def test_two_principals_never_share_an_entry(
    store: Store,
    origin: Origin,
    way: str,
    cache_control: bool,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    origin.answer = who_asks
    backend = store.backend(cache_control=cache_control, **WAYS[way].backend)
    world = World(backend, origin.url, WAYS[way], monkeypatch, tmp_path)
    for name in ("nobody", "alice", "bob"):
        assert await world.ask(name) == (f"for {name}", False)
    for name in ("bob", "nobody", "alice", "bob"):
        assert await world.ask(name) == (f"for {name}", True)
    if of_request(WAYS[way]) and not WAYS[way].userinfo:
        assert await backend.has_url(**world.asked_by("alice"))
        await backend.delete_url(**world.asked_by("bob"))
        assert await backend.has_url(**world.asked_by("alice"))
        assert not await backend.has_url(**world.asked_by("bob"))
        assert await world.ask("alice") == ("for alice", True)
        assert await world.ask("bob") == ("for bob", False)
        await backend.delete_url(origin.url + "/")
        assert await world.ask("alice") == ("for alice", True)
    await backend.settle()
    urls = [url async for url in backend.get_urls()]
    kept = store.raw_bytes(backend)
    told = "\n".join([*world.seen, *urls, caplog.text, repr(backend.stats), str(backend.stats.health())]).encode()
    await backend.close()
    assert b"for alice" in kept, "the scan sees what is stored"
    for text in (*SECRETS.values(), COOKIE_SECRET):
        for secret in encodings(text):
            assert secret not in kept
            assert secret not in told
    assert all(url.startswith(origin.url) for url in urls)


async def test_two_principals_never_share_one_session_and_one_flight(backend: CacheBackend, origin: Origin) -> None:
    origin.answer = who_asks
    async with CachedSession(cache=backend, cookie_jar=DummyCookieJar()) as session:

        async def ask(name: str) -> tuple[str, str]:
            async with session.get(origin.url, headers={"Authorization": f"Bearer {SECRETS[name]}"}) as response:
                return name, await response.text()

        found = await asyncio.gather(*(ask(name) for name in ["alice", "bob"] * 50))
    assert set(found) == {("alice", "for alice"), ("bob", "for bob")}
    assert origin.total == 2


async def test_two_principals_never_share_through_the_plain_middleware(backend: CacheBackend, origin: Origin) -> None:
    origin.answer = who_asks
    async with ClientSession(middlewares=(CacheMiddleware(backend),)) as session:
        for _ in range(2):
            for name in ("alice", "bob"):
                async with session.get(origin.url, auth=basic_auth(name, SECRETS[name])) as response:
                    assert await response.text() == f"for {name}"
    assert origin.total == 2


async def test_two_principals_never_share_through_a_proxy(backend: CacheBackend, origin: Origin) -> None:
    origin.answer = who_asks
    async with CachedSession(cache=backend) as session:
        for _ in range(2):
            for name in ("alice", "bob"):
                auth = basic_auth(name, SECRETS[name])
                async with session.get("http://behind.test/", proxy=origin.url, proxy_auth=auth) as response:
                    assert await response.text() == f"for {name}"
    assert origin.total == 2


async def test_a_redirect_leads_each_principal_to_its_own_response(backend: CacheBackend, origin: Origin) -> None:
    async def redirect(request: web.Request) -> web.StreamResponse:
        if request.path == "/from":
            return web.Response(status=302, headers={"Location": "/to", "Cache-Control": "max-age=600"})
        return await who_asks(request)

    origin.answer = redirect
    async with CachedSession(cache=backend) as session:
        for _ in range(2):
            for name in ("alice", "bob"):
                headers = {"Authorization": f"Bearer {SECRETS[name]}"}
                async with session.get(f"{origin.url}/from", headers=headers) as response:
                    assert await response.text() == f"for {name}"
    assert origin.total == 4


async def test_set_cookie_is_neither_stored_nor_replayed(store: Store, origin: Origin) -> None:
    async def answer(request: web.Request) -> web.Response:
        headers = CIMultiDict({"Cache-Control": "max-age=600"})
        headers.add("Set-Cookie", f"sid={COOKIE_SECRET}; Path=/")
        headers.add("set-cookie2", f"sid={COOKIE_SECRET}")
        return web.Response(text="body", headers=headers)

    origin.answer = answer
    backend = store.backend()
    jar = CookieJar(unsafe=True)
    async with CachedSession(cache=backend, cookie_jar=DummyCookieJar()) as first:
        async with first.get(origin.url) as response:
            assert response.headers["Set-Cookie"], "who asked is given it"
        await backend.settle()
    async with CachedSession(cache=backend, cookie_jar=jar) as second, second.get(origin.url) as response:
        assert response.from_cache
        assert not response.cookies
        assert not {name.lower() for name in response.headers} & {"set-cookie", "set-cookie2"}
    assert not list(jar)
    assert COOKIE_SECRET.encode() not in store.raw_bytes(backend)
    await backend.close()


async def test_errors_name_no_secret(store: Store, origin: Origin, caplog: pytest.LogCaptureFixture) -> None:
    if store.kind == "memory":
        pytest.skip("memory does not fail")
    secret = SECRETS["alice"]
    backend = store.backend()

    async def broken(keys: Sequence[str] | str, *_: object) -> None:
        raise OSError(f"cannot connect to redis://user:{secret}@host: {keys}")

    driver: Any = backend.stack.store
    driver.get = driver.get_or_acquire = broken
    async with CachedSession(cache=backend) as session:
        for _ in range(5):
            url = URL(origin.url).with_user("alice").with_password(secret)
            async with session.get(url, headers={"X-Api-Key": secret}) as response:
                assert response.status == 200
    assert caplog.records, "there is a log line"
    assert secret not in caplog.text
    assert secret not in repr(backend.stats) + str(backend.stats.health())
    await backend.close()


# ---- keys


def distinct_requests() -> list[dict[str, Any]]:
    """Requests that all differ, many of them only slightly."""
    urls = ["http://h.test/", "https://h.test/", "http://h.test:81/", "http://h.test/a", "http://h.test//a"]
    urls += ["http://h.test/a/", "http://h.test/A", "http://h.test/a%2Fb", "http://h.test/a/b", "http://i.test/"]
    queries: list[Any] = [
        None,
        [("a", "1")],
        [("a", "2")],
        [("a", "1"), ("a", "2")],
        [("a", "2"), ("a", "1")],
        [("a", "1"), ("b", "2")],
        [("a", "1&b=2")],
        [("a", "1=b"), ("2", "")],
        [("a", "")],
        [("a1", "")],
        [("", "a")],
        [("a", "+")],
        [("a", " ")],
        [("a", "%20")],
        [("a", "ä")],
    ]
    bodies: list[dict[str, Any]] = [
        {},
        {"json": {"a": 1}},
        {"json": {"a": "1"}},
        {"json": {"a": [1, 2]}},
        {"json": {"a": [2, 1]}},
        {"json": None, "data": b"a=1"},
        {"data": {"a": "1"}},
        {"data": {"a": "2"}},
        {"data": b""},
    ]
    headers: list[dict[str, str]] = [
        {},
        {"Authorization": "a"},
        {"Authorization": "b"},
        {"Cookie": "a=1"},
        {"Cookie": "a=1; b=2"},
        {"X-Api-Key": "a"},
        {"Proxy-Authorization": "a"},
        {"Authorization": "a", "Cookie": "a=1"},
    ]
    table = [
        {"method": method, "url": url, "params": query}
        for method, url, query in itertools.product(("GET", "HEAD"), urls, queries)
    ]
    table += [
        {"method": "POST", "url": url, "params": query, **body}
        for url, query, body in itertools.product(urls[:3], queries[:3], bodies[:-1])
    ]
    table += [
        {"method": "GET", "url": url, "params": query, "headers": fields}
        for url, query, fields in itertools.product(urls[:3], queries[:6], headers[1:])
    ]
    table += [{"method": "GET", "url": "http://h.test/", "params": None, "decoded": False}]
    return table


def test_distinct_requests_have_distinct_keys(note: Note) -> None:
    keys: dict[str, dict[str, Any]] = {}
    table = distinct_requests()
    for request in table:
        key = create_key(**request)
        assert key not in keys, f"{request} and {keys[key]}"
        keys[key] = request
    note(distinct_requests=len(table), distinct_keys=len(keys))


EQUAL: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"url": "http://h.test"}, {"url": "http://h.test/"}),
    ({"url": "http://H.test/"}, {"url": "http://h.test/"}),
    ({"url": "http://h.test:80/"}, {"url": "http://h.test/"}),
    ({"url": "http://h.test/#top"}, {"url": "http://h.test/"}),
    ({"url": "http://h.test/?a=1&b=2"}, {"url": "http://h.test/?b=2&a=1"}),
    ({"url": "http://h.test/?a=1"}, {"url": "http://h.test/", "params": {"a": 1}}),
    ({"url": "http://h.test/?a=1"}, {"url": URL("http://h.test/").with_query(a=1)}),
    ({"url": "http://h.test/", "headers": {"AUTHORIZATION": "x"}}, {"headers": {"authorization": "x"}}),
    ({"auth": basic_auth("u", "p")}, {"headers": {"Authorization": basic_auth("u", "p").encode()}}),
    ({"auth": basic_auth("u", "p")}, {"url": "http://u:p@h.test/"}),
    ({"cookies": {"a": "1"}}, {"headers": {"Cookie": "a=1"}}),
    ({"headers": {"Cookie": "a=1; b=2"}}, {"headers": {"Cookie": "b=2; a=1"}}),
    ({"json": {"a": 1, "b": 2}}, {"json": {"b": 2, "a": 1}}),
    (
        {"json": {"a": 1}},
        {"data": json.dumps({"a": 1}).encode(), "headers": {"Content-Type": "application/json"}},
    ),
    ({"data": {"a": "1", "b": "2"}}, {"data": FormData({"b": "2", "a": "1"})}),
]


@pytest.mark.parametrize("pair", EQUAL, ids=str)
def test_equal_requests_have_equal_keys(pair: tuple[dict[str, Any], dict[str, Any]]) -> None:
    plain: dict[str, Any] = {"method": "GET", "url": "http://h.test/"}
    first, second = (plain | request for request in pair)
    assert create_key(**first) == create_key(**second)
