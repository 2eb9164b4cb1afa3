"""Random programs of requests and changes of settings have the same results with the shortcuts and without."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import pytest
from aiohttp import ClientError, CookieJar, DummyCookieJar

from aiohttp_cache_di import CachedSession
from aiohttp_cache_di.backends import CacheBackend
from tests.origin import Origin, Received, Script, answer
from tests.storages import CustomBackend

STEPS = 80
PAGES: dict[str, dict[str, str | None]] = {
    "/plain": {},
    "/short": {"Cache-Control": "max-age=2", "ETag": '"x"'},
    "/stale": {"Cache-Control": "max-age=2, stale-if-error=100"},
    "/language": {"Vary": "Accept-Language"},
    "/all": {"Vary": "*"},
    "/never": {"Cache-Control": "no-store"},
    "/cookie": {"Set-Cookie": "a=b"},
    "/away": {"Location": "/plain"},
    "/missing": {},
}
STATUS = {"/away": 302, "/missing": 404}
OPTIONS: tuple[dict[str, Any], ...] = (
    *({"headers": {name: value}} for name, value in (("Accept-Language", "de"), ("Authorization", "x"))),
    *({"headers": {"Cache-Control": value}} for value in ("no-cache", "max-age=1", "only-if-cached", "max-stale=5")),
    {"headers": {"Range": "bytes=0-3"}},
    {"params": {"x": "1"}},
    {"allow_redirects": False},
    {"raise_for_status": True},
    {"expire_after": 0},
    {"expire_after": 1},
    {"refresh": True},
    {"refresh": False, "expire_after": None, "principal": None, "tags": ()},
    {"only_if_cached": True},
    {"raise_for_status": None},
    {"tags": ("a",)},
    {"cookies": {"k": "v"}},
    {"auto_decompress": False},
    {"bogus": 1},
)
SETTINGS: tuple[tuple[str, Any], ...] = (
    ("cache_control", True),
    ("cache_control", False),
    ("expire_after", 3),
    ("urls_expire_after", {"*/plain": 0}),
    ("urls_expire_after", None),
    ("allowed_codes", (200, 302, 404)),
    ("ignored_params", ["x"]),
)

Step: TypeAlias = Callable[[CachedSession, Origin], Awaitable[object]]


def page(path: str) -> Script:
    """The origin's answer to requests for *path*: the number of the request, which identifies the response."""

    def script(request: Received) -> bytes:
        headers = {**PAGES[path], "Date": None}
        if request.headers.get("If-None-Match") == PAGES[path].get("ETag", ""):
            return answer(status=304, reason="Not Modified", headers={**headers, "Content-Length": None})
        return answer(f"{request.method} {request.number}", status=STATUS.get(path, 200), headers=headers)

    return script


class Program:
    """A list of steps; the same *seed* gives the same steps."""

    def __init__(self, seed: int, clock: list[float]) -> None:
        chance = random.Random(seed)
        self.with_cookies = chance.random() < 0.5
        self.standard = chance.random() < 0.6
        self._clock = clock
        hot = ["/language", *chance.sample(sorted(PAGES), 3)]
        self.steps = [self._step(chance, hot) for _ in range(STEPS)]

    def _step(self, chance: random.Random, hot: list[str]) -> Step:
        kind, path = chance.random(), chance.choice(hot)
        if kind < 0.7:
            method = chance.choices(("GET", "HEAD", "POST", "DELETE"), (90, 4, 4, 2))[0]
            options = chance.choice(OPTIONS) if chance.random() < 0.3 else {}
            return lambda session, origin: self._request(session, origin, method, path, options)
        seconds, (name, value) = chance.choice((0.6, 1.2, 3, 70)), chance.choice(SETTINGS)
        language, cookies = chance.choice(("de", "fr")), chance.choice(({"k": "v"}, {}))
        return chance.choice(
            (
                lambda session, origin: self._pass(seconds),
                lambda session, origin: self._set(session, name, value),
                lambda session, origin: self._speak(session, language),
                lambda session, origin: self._have(session, cookies),
                lambda session, origin: session.cache.delete_url(origin.url + path),
            )
        )

    async def _request(
        self, session: CachedSession, origin: Origin, method: str, path: str, options: dict[str, Any]
    ) -> object:
        try:
            async with session.request(method, origin.url + path, **options) as response:
                body = await response.text()
        except (ClientError, TypeError) as error:
            return type(error).__name__
        found = (response.status, response.url.path_qs, [each.url.path for each in response.history], body)
        headers = sorted(item for item in response.headers.items() if item[0] != "Date")
        return found, headers, getattr(response, "from_cache", None), origin.hits

    async def _pass(self, seconds: float) -> None:
        self._clock[0] += seconds

    async def _set(self, session: CachedSession, name: str, value: object) -> None:
        setattr(session.cache, name, value)

    async def _speak(self, session: CachedSession, language: str) -> None:
        session.headers["Accept-Language"] = language

    async def _have(self, session: CachedSession, cookies: dict[str, str]) -> None:
        session.cookie_jar.clear()
        session.cookie_jar.update_cookies(cookies)

    async def run(self, backend: CacheBackend) -> list[object]:
        """Run the steps, and return what a caller sees of each."""
        seen: list[object] = []
        jar = CookieJar(unsafe=True) if self.with_cookies else DummyCookieJar()
        async with Origin() as origin, CachedSession(cache=backend, cookie_jar=jar) as session:
            for path in PAGES:
                origin.on(path, page(path))
            for step in self.steps:
                seen.append(await step(session, origin))
                await backend.settle()
        return seen


@pytest.mark.parametrize("backend_class", [CacheBackend, CustomBackend])
@pytest.mark.parametrize("seed", range(24))
async def test_a_caller_sees_the_same_with_the_shortcuts_and_without(
    seed: int, backend_class: type[CacheBackend], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "time", lambda: 1_800_000_000.3 + clock[0])
    program = Program(seed, clock)
    seen: list[list[object]] = []
    for fast_lane, write_behind in ((False, False), (True, False), (True, True)):
        clock[0] = 0.0
        backend = backend_class(cache_control=program.standard, fast_lane=fast_lane, write_behind=write_behind)
        seen.append(await program.run(backend))
    assert seen[1] == seen[0]
    assert seen[2] == seen[0]
