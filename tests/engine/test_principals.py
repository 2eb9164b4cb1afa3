"""Principals: the user of a request, where that is better known than from its credentials."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, DigestAuthMiddleware, encode_basic_auth
from aiohttp.typedefs import StrOrURL

from aiohttp_cache_di import AnyResponse, CachedSession, CacheMiddleware, ExpirationTime
from aiohttp_cache_di.backends import CacheBackend
from aiohttp_cache_di.backends.sqlite import SQLiteBackend
from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.policy.rules.principals import Principal
from aiohttp_cache_di.rfc9111.messages import Request
from tests.origin import Origin, Received, answer

tokens = itertools.count()

MODES = pytest.mark.parametrize("cache_control", [True, False], ids=["standard", "rules"])


def numbered(request: Received) -> bytes:
    """Answer with the number of the request."""
    return answer(str(request.number))


def hourly() -> dict[str, str]:
    """An OAuth token that is different each time."""
    return {"Authorization": f"Bearer token-{next(tokens)}"}


def signed() -> dict[str, str]:
    """Headers as AWS expects them, with a new signature for each request."""
    number = next(tokens)
    return {
        "Authorization": f"AWS4-HMAC-SHA256 Credential=AKIA/2026/eu/s3/aws4_request, Signature={number:064x}",
        "X-Amz-Date": f"20261128T{number:06}Z",
        "X-Amz-Security-Token": f"session-{number}",
        "X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD",
    }


def tenant_7(request: Request) -> str:
    return "tenant-7"


async def text(session: ClientSession, url: str, **options: Any) -> str:
    async with session.get(url, **options) as response:
        return await response.text()


@MODES
@pytest.mark.parametrize("credentials", [hourly, signed])
@pytest.mark.parametrize("said", ["request", "session", "backend", "pattern", "function", "shared"])
async def test_credentials_that_change_hit_where_the_principal_is_said(
    said: str, credentials: Callable[[], dict[str, str]], cache_control: bool, origin: Origin
) -> None:
    url = origin.on("/report", numbered)
    options: dict[str, dict[str, Any]] = {
        "backend": {"principal": "tenant-7"},
        "pattern": {"principals": {"127.0.0.1": "tenant-7"}},
        "function": {"principal": tenant_7},
        "shared": {"shared_credentials": ["127.0.0.1"]},
    }
    backend = CacheBackend(cache_control=cache_control, **options.get(said, {}))
    principal: Principal = "tenant-7" if said == "session" else None
    wish = {"principal": "tenant-7"} if said == "request" else {}

    async with CachedSession(cache=backend, principal=principal) as session:
        found = [await text(session, url, headers=credentials(), **wish) for _ in range(4)]

    assert found == ["1"] * 4
    assert backend.stats.hits == 3


@MODES
async def test_without_it_each_token_is_a_principal_of_its_own(cache_control: bool, origin: Origin) -> None:
    url = origin.on("/report", numbered)

    async with CachedSession(cache_control=cache_control) as session:
        assert [await text(session, url, headers=hourly()) for _ in range(2)] == ["1", "2"]


@MODES
@pytest.mark.parametrize("way", ["request", "session", "function"])
async def test_two_principals_with_the_same_credentials_share_nothing(
    way: str, cache_control: bool, origin: Origin
) -> None:
    url = origin.on("/report", numbered)
    current = ContextVar("current", default="")
    backend = CacheBackend(cache_control=cache_control)
    token = {"Authorization": "Bearer of the service"}

    def who(request: Request) -> str:
        return current.get()

    async with CachedSession(cache=backend, principal=who if way == "function" else None) as session:

        async def ask(name: str) -> str:
            current.set(name)
            if way == "session":
                session.principal = name
            return await text(session, url, headers=token, **({"principal": name} if way == "request" else {}))

        assert [await ask(name) for name in ("a", "b", "a", "b", "a")] == ["1", "2", "1", "2", "1"]


@MODES
async def test_plain_hits_are_told_apart_by_the_principal_too(cache_control: bool, origin: Origin) -> None:
    """Without credentials, so that the fast lane can tell the requests apart only by the principal."""
    url = origin.on("/plain", numbered)
    backend = CacheBackend(cache_control=cache_control)

    async with CachedSession(cache=backend) as session:
        assert [await text(session, url) for _ in range(3)] == ["1"] * 3
        assert [await text(session, url, principal="a") for _ in range(3)] == ["2"] * 3
        session.principal = "b"
        assert [await text(session, url) for _ in range(3)] == ["3"] * 3
        session.principal = "a"
        assert [await text(session, url) for _ in range(3)] == ["2"] * 3
        session.principal = None
        assert [await text(session, url) for _ in range(3)] == ["1"] * 3
        backend.principals = {"127.0.0.1": "a"}
        assert [await text(session, url) for _ in range(3)] == ["2"] * 3


async def test_a_pattern_does_not_reach_beyond_what_it_matches_on_one_origin(origin: Origin) -> None:
    """What the fast lane has learned from other URLs of an origin does not apply to these."""
    backend = CacheBackend(principals={f"127.0.0.1:{origin.port}/a/": "a"})
    other = CacheBackend()
    other.responses, other.redirects = backend.responses, backend.redirects

    async with CachedSession(cache=backend) as named, CachedSession(cache=other) as anonymous:
        for path in ("/b/1", "/b/2", "/a/1", "/a/2"):
            url = origin.on(path, numbered)
            for _ in range(3):
                await text(named, url)
        hits = other.stats.hits
        for path in ("/b/1", "/b/2"):
            await text(anonymous, origin.url + path)
        assert other.stats.hits == hits + 2
        for path in ("/a/1", "/a/2"):
            await text(anonymous, origin.url + path)
        assert other.stats.hits == hits + 2


async def test_what_comes_first_is_the_request_then_the_session_then_a_pattern_then_the_backend() -> None:
    backend = CacheBackend(principal="backend", principals={"a.test": "pattern"})
    plain = CacheBackend()

    def key(url: str, name: str) -> str:
        return plain.create_key("GET", url, principal=name)

    assert backend.create_key("GET", "http://b.test/") == key("http://b.test/", "backend")
    assert backend.create_key("GET", "http://a.test/") == key("http://a.test/", "pattern")
    assert backend.create_key("GET", "http://a.test/", principal="request") == key("http://a.test/", "request")


@MODES
async def test_requests_without_credentials_see_nothing_of_what_shared_ones_are_given(
    cache_control: bool, origin: Origin
) -> None:
    url = origin.on("/report", numbered)

    async with CachedSession(cache_control=cache_control, shared_credentials=["127.0.0.1"]) as session:
        assert await text(session, url, headers=hourly()) == "1"
        assert await text(session, url) == "2"
        assert await text(session, url, headers={"X-API-Key": "k"}) == "1"


async def test_which_resource_is_meant_still_counts(origin: Origin) -> None:
    url = origin.on("/report", numbered)

    async with CachedSession(shared_credentials=["127.0.0.1"]) as session:
        for options in ({"principal": "a"}, {"headers": hourly()}):
            found = set[str]()
            for host in ("a.test", "b.test"):
                headers = {**options.get("headers", {}), "X-Forwarded-Host": host}  # type: ignore[dict-item]  # mixed
                found.add(await text(session, url, **{**options, "headers": headers}))
            assert len(found) == 2


@MODES
@pytest.mark.parametrize(
    "options",
    [{"principal": "a"}, {"shared_credentials": ["127.0.0.1"]}, {"ignored_params": ["Authorization"]}],
    ids=["principal", "shared", "ignored"],
)
async def test_vary_on_credentials_that_make_no_difference_makes_none(
    options: dict[str, Any], cache_control: bool, origin: Origin
) -> None:
    url = origin.on("/report", lambda request: answer(str(request.number), headers={"Vary": "Authorization"}))

    async with CachedSession(cache_control=cache_control, **options) as session:
        assert [await text(session, url, headers=hourly()) for _ in range(3)] == ["1"] * 3


@MODES
async def test_an_ignored_authorization_sets_nobody_apart_and_is_not_stored(
    cache_control: bool, origin: Origin, tmp_path: Path
) -> None:
    url = origin.on("/report", numbered)
    path = tmp_path / "ignored.sqlite"
    backend = SQLiteBackend(str(path), cache_control=cache_control, ignored_params=["authorization"])

    async with CachedSession(cache=backend) as session:
        assert [await text(session, url, headers=hourly()) for _ in range(3)] == ["1"] * 3
        assert await text(session, url, headers={"Authorization": encode_basic_auth("a", "b")}) == "1"
    assert await backend.has_url(url)
    await backend.close()


@MODES
async def test_a_challenge_is_not_what_others_of_the_principal_are_given(cache_control: bool, origin: Origin) -> None:
    async def script(request: Received) -> bytes:
        if request.headers.get("Authorization") == "Bearer expired":
            return answer("who are you?", status=401, headers={"WWW-Authenticate": "Bearer"})
        return answer(str(request.number))

    url = origin.on("/report", script)
    backend = CacheBackend(cache_control=cache_control, allowed_codes=(200, 401))

    async with CachedSession(cache=backend, principal="a") as session:
        for _ in range(2):
            async with session.get(url, headers={"Authorization": "Bearer expired"}) as response:
                assert response.status == 401
                assert "stored" not in response.cache_status
        assert await text(session, url, headers={"Authorization": "Bearer good"}) == "3"
        assert await text(session, url, headers={"Authorization": "Bearer expired"}) == "3"


@MODES
@pytest.mark.parametrize(
    ("options", "bad", "good"),
    [
        ({"ignored_params": ["Authorization"]}, {"headers": {"Authorization": "Bearer old"}}, {}),
        ({"ignored_params": ["X-Api-Key"]}, {"headers": {"X-Api-Key": "old"}}, {}),
        ({"ignored_params": ["api_key"]}, {"params": {"api_key": "old"}}, {"params": {"api_key": "new"}}),
        ({"credential_headers": ["Authorization"]}, {"headers": {"X-Api-Key": "old"}}, {}),
        ({"partition_cookies": "explicit"}, {"allow_redirects": False}, {}),
    ],
    ids=["authorization", "key", "parameter", "names alone", "cookies"],
)
async def test_a_challenge_is_stored_for_no_one_where_credentials_make_no_difference(
    cache_control: bool, options: dict[str, Any], bad: dict[str, Any], good: dict[str, Any], origin: Origin
) -> None:
    url = origin.on("/report", lambda request: answer(status=401 if request.number == 1 else 200))
    backend = CacheBackend(cache_control=cache_control, allowed_codes=(200, 401), **options)

    async with CachedSession(cache=backend) as session:
        async with session.get(url, **bad) as response:
            assert (response.status, "stored" in response.cache_status) == (401, False)
        async with session.get(url, **good) as response:
            assert (response.status, response.from_cache) == (200, False)


@MODES
async def test_a_challenge_to_credentials_is_stored_for_them_alone(cache_control: bool, origin: Origin) -> None:
    url = origin.on("/report", answer(status=401))
    backend = CacheBackend(cache_control=cache_control, allowed_codes=(200, 401), ignored_params=["utm_source"])

    async with CachedSession(cache=backend) as session:
        for expected in (False, True):
            async with session.get(url, headers={"Authorization": "Bearer old"}) as response:
                assert response.from_cache == expected


async def test_a_function_that_fails_costs_the_hit_and_nothing_else(
    origin: Origin, caplog: pytest.LogCaptureFixture
) -> None:
    def who(request: Request) -> str:
        raise LookupError("no one is logged in")

    url = origin.on("/report", numbered)
    backend = CacheBackend(principal=who, cache_control=True)

    async with CachedSession(cache=backend) as session:
        assert [await text(session, url) for _ in range(2)] == ["1", "2"]
        async with session.post(url, data=b"x") as response:
            assert response.status == 200
    assert await backend.responses.size() == 0
    assert not backend.stats.store_errors  # the store works
    assert backend.stats.health().is_ok
    (told,) = caplog.messages
    assert told.startswith("A function that says whose a request is, ")
    assert "has failed (LookupError in " in told
    assert f"{who.__qualname__}, line" in told
    assert "logged in" not in told


@pytest.mark.parametrize("cache_control", [True, False])
@pytest.mark.parametrize("name", ["create_key", "create_cache_actions"])
async def test_only_if_cached_asks_nobody_although_a_function_fails(
    name: str, cache_control: bool, origin: Origin
) -> None:
    def fails(self: CacheBackend, *args: Any, **kwargs: Any) -> Any:
        raise LookupError

    backend = type("Own", (CacheBackend,), {name: fails})(cache_control=cache_control)
    async with CachedSession(cache=backend) as session:
        async with session.get(origin.on("/", numbered), only_if_cached=True) as response:
            assert response.status == 504
        async with session.get(f"{origin.url}/") as response:
            assert "fwd=bypass" in response.cache_status
    assert origin.hits == 1


async def test_only_if_cached_asks_nobody_with_a_body_that_is_read_once(origin: Origin) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"a"

    url = origin.on("/", numbered)
    async with (
        CachedSession(allowed_methods=("GET", "POST")) as session,
        session.post(url, data=body(), only_if_cached=True) as response,
    ):
        assert response.status == 504
    assert origin.hits == 0


@pytest.mark.parametrize("key", [None, "", 7, b"a", ("GET", "/")])
async def test_what_is_no_key_shares_no_response_and_is_told_with_the_way_out(
    key: Any, origin: Origin, caplog: pytest.LogCaptureFixture
) -> None:
    class Own(CacheBackend):
        def create_key(self, method: str, url: StrOrURL, **kwargs: Any) -> str:
            return key if method == "GET" else super().create_key(method, url, **kwargs)

    urls = [origin.on(path, answer(path)) for path in ("/a", "/b")]
    backend = Own(allowed_methods=("GET", "HEAD", "POST"))
    async with CachedSession(cache=backend) as session:
        assert await asyncio.gather(*(text(session, url) for url in urls)) == ["/a", "/b"]
        assert [await text(session, url) for url in urls] == ["/a", "/b"]
        for expected in (False, True):
            async with session.post(urls[0], data=b"x") as response:
                assert response.from_cache == expected
        with pytest.raises(ConfigurationError, match=r"has returned an .+; a key is a str"):
            await session.has_url(urls[0])
    assert await backend.responses.size() == 1
    assert not backend.stats.store_errors
    (told,) = caplog.messages
    assert "create_key() has returned an" in told
    assert "a key is a str that is not empty" in told


@pytest.mark.parametrize("key", [None, 7, ["a"], LookupError("of tenant-7")], ids=type)
async def test_a_change_is_seen_although_some_urls_have_no_key(
    key: Any, origin: Origin, caplog: pytest.LogCaptureFixture
) -> None:
    class Own(CacheBackend):
        def create_key(self, method: str, url: StrOrURL, **kwargs: Any) -> str:
            return made(key) if "unkeyed" in str(url) else super().create_key(method, url, **kwargs)

    def script(request: Received) -> bytes:
        return answer(str(request.number), headers={"Location": "/unkeyed"})

    url = origin.on("/report", script)
    backend = Own(cache_control=True)
    async with CachedSession(cache=backend) as session:
        assert await text(session, url) == "1"
        async with session.post(url, data=b"x") as response:
            assert response.status == 200
        assert backend.stats.invalidated == 1
        assert await text(session, url) == "3"
    assert not backend.stats.store_errors
    (told,) = caplog.messages
    assert "what its key is" in told
    assert "tenant-7" not in told


@pytest.mark.parametrize("key", [None, 7, ["a"], LookupError("of tenant-7")], ids=type)
async def test_a_head_request_is_answered_by_what_is_stored_for_it_although_get_requests_have_no_key(
    key: Any, tmp_path: Path, origin: Origin, caplog: pytest.LogCaptureFixture
) -> None:
    class Own(SQLiteBackend):
        def create_key(self, method: str, url: StrOrURL, **kwargs: Any) -> str:
            return made(key) if method == "GET" else super().create_key(method, url, **kwargs)

    url = origin.on("/", answer(headers={"Cache-Control": "max-age=60"}))
    backend = Own(str(tmp_path / "cache"), cache_control=True, autoclose=True)
    async with CachedSession(cache=backend) as session:
        for expected in ("fwd=uri-miss; stored", "hit; ttl="):
            async with session.head(url) as response:
                assert expected in response.cache_status
            await backend.settle()
        assert not backend.stats.store_errors
    (told,) = caplog.messages
    assert "what its key is" in told


def made(result: Any) -> Any:
    """*result* of a user's function, which raises it if it is an exception."""
    if isinstance(result, Exception):
        raise result
    return result


@pytest.mark.parametrize("cache_control", [True, False])
@pytest.mark.parametrize("result", [None, {"expire_after": 5}, ValueError("of tenant-7")], ids=type)
async def test_actions_that_are_none_cost_the_hit_and_nothing_else(
    cache_control: bool, result: Any, origin: Origin, caplog: pytest.LogCaptureFixture
) -> None:
    class Own(CacheBackend):
        def create_cache_actions(
            self, key: str, url: StrOrURL, expire_after: ExpirationTime = None, refresh: bool = False, **kwargs: Any
        ) -> Any:
            if isinstance(result, Exception):
                raise result
            return result

    url = origin.on("/", numbered)
    backend = Own(cache_control=cache_control)
    async with CachedSession(cache=backend) as session:
        assert [await text(session, url) for _ in range(2)] == ["1", "2"]
        async with session.post(url, data=b"x") as response:
            assert response.status == 200
        with pytest.raises(ConfigurationError, match="expire_after='soon' is not a lifetime"):
            await session.get(url, expire_after="soon")
    assert await backend.responses.size() == 0
    assert not backend.stats.store_errors
    (told,) = caplog.messages
    assert "create_cache_actions" in told
    assert "tenant-7" not in told


async def test_what_a_function_of_the_users_has_returned_is_not_logged(
    origin: Origin, caplog: pytest.LogCaptureFixture
) -> None:
    def tags(response: AnyResponse) -> Any:
        return [("tenant-7", "sesame")]

    async with CachedSession(tag_fn=tags) as session:
        assert await text(session, origin.on("/", numbered)) == "1"
    (told,) = caplog.messages
    assert "sesame" not in told


@pytest.mark.parametrize("name", ["", 7, b"a"])
async def test_a_name_that_is_none_is_refused(name: Any, origin: Origin) -> None:
    for make in (CacheBackend, CachedSession):
        with pytest.raises(ConfigurationError, match="principal"):
            make(principal=name)
    with pytest.raises(ConfigurationError, match="principals"):
        CacheBackend(principals={"*": name})
    async with CachedSession() as session:
        with pytest.raises(ConfigurationError, match="principal"):
            await session.get(origin.url, principal=name)
        assert origin.hits == 0


@MODES
async def test_a_write_drops_what_the_principal_was_given(cache_control: bool, origin: Origin) -> None:
    url = origin.on("/report", numbered)
    backend = CacheBackend(cache_control=True)

    async with CachedSession(cache=backend, principal="a") as session:
        assert [await text(session, url, headers=hourly()) for _ in range(2)] == ["1", "1"]
        async with session.put(url, headers=hourly(), data=b"x"):
            pass
        assert await text(session, url, headers=hourly()) == "3"


async def test_the_user_finds_and_deletes_what_a_principal_has(origin: Origin) -> None:
    url = origin.on("/report", numbered)

    async with CachedSession(principal="a") as session:
        await text(session, url)
        assert not await session.cache.has_url(url)
        assert await session.cache.has_url(url, principal="a")
        await session.cache.delete_url(url, principal="a")
        assert await text(session, url) == "2"


async def test_neither_the_name_nor_the_credentials_stand_in_the_store(origin: Origin, tmp_path: Path) -> None:
    path = tmp_path / "names.sqlite"
    url = origin.on("/report", numbered)
    backend = SQLiteBackend(str(path))

    async with CachedSession(cache=backend, principal="alice@example.org") as session:
        await text(session, url, headers={"Authorization": "Bearer swordfish"})
    await backend.close()

    stored = b"".join(file.read_bytes() for file in tmp_path.iterdir())  # noqa: ASYNC240  # a test may wait for a disk
    assert b"alice" not in stored
    assert b"swordfish" not in stored


# ---- digest authentication (RFC 7616)


class DigestOrigin:
    """An origin that requires digest authentication, with nonces that are valid once."""

    def __init__(self, origin: Origin, *, user: str = "alice", password: str = "sesame") -> None:
        self.user, self.password = user, password
        self.challenges = self.answers = 0
        self.nonce = ""
        self.headers: dict[str, str | None] = {}
        self.url = origin.on("/secret", self)

    def __call__(self, request: Received) -> bytes:
        sent = request.headers.get("Authorization", "")
        fields = {
            name: value.strip('"')
            for name, _, value in (part.strip().partition("=") for part in sent.removeprefix("Digest ").split(","))
        }
        if fields.get("nonce") != self.nonce or not self.nonce or not self.proves(request, fields):
            self.challenges += 1
            self.nonce = f"nonce-{self.challenges}"
            challenge = f'Digest realm="test", nonce="{self.nonce}", qop="auth", algorithm=MD5'
            return answer(
                "who are you?",
                status=401,
                headers={"WWW-Authenticate": challenge, "Cache-Control": "max-age=60"},
            )
        self.answers += 1
        return answer(f"secret {self.answers}", headers=self.headers)

    def proves(self, request: Received, fields: dict[str, str]) -> bool:
        def md5(text: str) -> str:
            return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()

        who = md5(f"{self.user}:test:{self.password}")
        what = md5(f"{request.method}:{fields.get('uri')}")
        proof = f"{who}:{fields.get('nonce')}:{fields.get('nc')}:{fields.get('cnonce')}:auth:{what}"
        return fields.get("username") == self.user and fields.get("response") == md5(proof)


def clients(backend: CacheBackend, user: DigestAuthMiddleware, kind: str) -> ClientSession:
    if kind == "cached":
        return CachedSession(cache=backend, middlewares=(user,))
    if kind == "request":
        return CachedSession(cache=backend)
    return ClientSession(middlewares=(user, CacheMiddleware(backend)))


@MODES
@pytest.mark.parametrize("preemptive", [True, False])
@pytest.mark.parametrize("kind", ["cached", "plain", "request"])
async def test_a_session_that_logs_in_by_digest_hits(
    kind: str, preemptive: bool, cache_control: bool, origin: Origin
) -> None:
    server = DigestOrigin(origin)
    backend = CacheBackend(cache_control=cache_control, allowed_codes=(200, 401))
    user = DigestAuthMiddleware("alice", "sesame", preemptive=preemptive)
    options: dict[str, Any] = {"middlewares": (user,)} if kind == "request" else {}

    async with clients(backend, user, kind) as session:
        assert [await text(session, server.url, **options) for _ in range(4)] == ["secret 1"] * 4
    assert (server.challenges, server.answers) == (1, 1)

    again = DigestAuthMiddleware("alice", "sesame", preemptive=preemptive)
    options = {"middlewares": (again,)} if kind == "request" else {}
    async with clients(backend, again, kind) as session:
        assert await text(session, server.url, **options) == "secret 1"
    assert (server.challenges, server.answers) == (1, 1)


@MODES
async def test_who_logs_in_otherwise_or_not_at_all_is_given_nothing_of_it(cache_control: bool, origin: Origin) -> None:
    server = DigestOrigin(origin)
    backend = CacheBackend(cache_control=cache_control)
    alice = DigestAuthMiddleware("alice", "sesame")

    async with CachedSession(cache=backend, middlewares=(alice,)) as session:
        assert await text(session, server.url) == "secret 1"
    others: list[Any] = [
        {"middlewares": (DigestAuthMiddleware("alice", "wrong"),)},
        {"middlewares": (DigestAuthMiddleware("bob", "sesame"),)},
        {},
        {"headers": {"Authorization": 'Digest username="alice"'}},
    ]
    for options in others:
        async with CachedSession(cache=backend, **options) as session:
            assert await text(session, server.url) == "who are you?"
    async with CachedSession(cache=backend, middlewares=(alice,)) as session:
        assert await text(session, server.url, middlewares=()) == "who are you?"


async def test_a_validation_that_is_challenged_confirms_what_is_stored(origin: Origin) -> None:
    server = DigestOrigin(origin)
    server.headers = {"Cache-Control": "max-age=0", "ETag": '"1"'}
    backend = CacheBackend(cache_control=True)
    alice = DigestAuthMiddleware("alice", "sesame", preemptive=False)

    async with CachedSession(cache=backend, middlewares=(alice,)) as session:
        assert await text(session, server.url) == "secret 1"
        assert await text(session, server.url) == "secret 2"
    assert backend.stats.stored == 2


async def test_the_password_is_in_no_text_and_not_in_the_store(
    origin: Origin, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    server = DigestOrigin(origin)
    backend = SQLiteBackend(str(tmp_path / "digest.sqlite"))

    async with CachedSession(cache=backend, middlewares=(DigestAuthMiddleware("alice", "sesame"),)) as session:
        assert await text(session, server.url) == "secret 1"
    await backend.close()

    stored = b"".join(file.read_bytes() for file in tmp_path.iterdir())  # noqa: ASYNC240  # a test may wait for a disk
    assert b"sesame" not in stored
    assert b"alice" not in stored
    assert "sesame" not in caplog.text
