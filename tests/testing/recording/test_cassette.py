"""The recorder in the door to the origin: what it answers, what it asks upstreams for, and what it leaves on disk."""

from __future__ import annotations

import asyncio
import json
from email.utils import formatdate
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import ClientSession

from aiohttp_cache_di import CachedSession, CacheMiddleware
from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.testing import CacheClock, FakeUpstream, UnrecordedRequestError, recorded, reply
from aiohttp_cache_di.testing.recording import MODES
from aiohttp_cache_di.testing.recording.options import OPTIONS, RecordingOptions
from tests.origin import Origin, Received, answer
from tests.testing.recording.tapes import kept, put, text_at, text_of

MINUTE = {"Cache-Control": "max-age=60"}


def counting(received: Received) -> bytes:
    return answer(str(received.number), headers={"Cache-Control": "no-store"})


async def test_what_is_recorded_once_is_answered_without_the_upstream(path: Path, origin: Origin) -> None:
    url = origin.on("/a", answer("hello"))
    async with recorded(path, "once"):
        assert await text_of(url) == "hello"
    async with recorded(path):
        assert await text_of(url) == "hello"

    assert origin.hits == 1
    assert [one.answered.body for one in kept(path)] == [b"hello"]


@pytest.mark.parametrize("mode", MODES)
def test_a_run_without_requests_makes_no_file(path: Path, mode: Any) -> None:
    with recorded(path, mode):
        pass
    assert not path.exists()


@pytest.mark.parametrize("mode", ["none", "once"])
async def test_a_web_socket_is_refused_as_one(path: Path, mode: Any) -> None:
    async with recorded(path, mode) as cassette, CachedSession() as session:
        with pytest.raises(UnrecordedRequestError, match=r"http://127\.0\.0\.1:1/ws\?key=REDACTED is a web socket"):
            await session.ws_connect("http://127.0.0.1:1/ws?key=hunter2")
    assert len(cassette.misses) == 1


async def test_each_mode_does_as_its_table_says(path: Path, origin: Origin) -> None:
    old, new = origin.on("/old", counting), origin.on("/new", counting)
    unasked = origin.on("/unasked", counting)
    async with recorded(path, "once"):
        await text_of(old)
        await text_of(unasked)
    first = text_at(path)
    found: dict[str, tuple[str, str, list[str]]] = {}
    for mode in MODES:
        put(path, first)
        origin.received.clear()
        async with recorded(path, mode):  # type: ignore[arg-type]  # of the literals
            answers: list[str] = []
            for url in (old, new):
                try:
                    answers.append(await text_of(url))
                except UnrecordedRequestError:
                    answers.append("fails")
        paths = [one.asked.url.rpartition("/")[2] for one in kept(path)]
        asked = " ".join(one.path for one in origin.received)
        found[mode] = (" ".join(answers), asked, paths)

    assert found == {
        "none": ("1 fails", "", ["old", "unasked"]),
        "once": ("1 fails", "", ["old", "unasked"]),
        "new_episodes": ("1 1", "/new", ["old", "unasked", "new"]),
        "all": ("1 1", "/old /new", ["old", "new", "unasked"]),
        "rewrite": ("1 1", "/old /new", ["old", "new"]),
    }


async def test_repeated_calls_are_answered_in_their_order(path: Path, origin: Origin, session: CachedSession) -> None:
    url = origin.on("/a", counting)
    async with recorded(path, "once"):
        assert [await text_of(url, session) for _ in range(3)] == ["1", "2", "3"]

    async with recorded(path) as cassette:
        assert [await text_of(url, session) for _ in range(3)] == ["1", "2", "3"]
        with pytest.raises(UnrecordedRequestError, match="recorded 3 times, and asked for once more"):
            await text_of(url, session)
    assert len(cassette.misses) == 1
    async with recorded(path, repeat=True):
        assert [await text_of(url, session) for _ in range(5)] == ["1", "2", "3", "3", "3"]


async def test_requests_at_the_same_time_are_recorded_in_the_order_of_asking(
    path: Path, origin: Origin, session: CachedSession
) -> None:
    gates = [asyncio.Event() for _ in range(4)]
    all_there = asyncio.Barrier(4)

    async def late(received: Received) -> bytes:
        number = int(received.path[1:])
        await all_there.wait()
        if number == 3:
            gates[3].set()
        await gates[number].wait()
        if number:
            gates[number - 1].set()
        return answer(str(number))

    urls = [origin.on(f"/{number}", late) for number in range(4)]
    async with recorded(path, "once"):
        await asyncio.gather(*(text_of(url, session) for url in urls))

    assert [one.asked.url for one in kept(path)] == urls


async def test_a_request_that_is_not_recorded_fails_at_once_and_says_what_differs(
    path: Path, origin: Origin, session: CachedSession
) -> None:
    url = origin.on("/rates", answer("1"))
    async with recorded(path, "once"):
        await text_of(f"{url}?base=EUR", session)

    async with recorded(path):
        with pytest.raises(UnrecordedRequestError) as caught:
            await text_of(f"{url}?base=USD", session)
    said = str(caught.value)
    assert f"GET {url}?base=USD is not recorded in {path}; pytest --record-mode=new_episodes records it" in said
    assert f"The nearest is GET {url}?base=EUR, from which it differs:\n  - parameter base: recorded EUR" in said


async def test_a_file_that_is_not_there_says_how_to_record_it(path: Path, session: CachedSession) -> None:
    async with recorded(path):
        with pytest.raises(UnrecordedRequestError, match="no such file; pytest --record-mode=once"):
            await text_of("https://api.example.com/", session)


async def test_a_failure_leaves_the_file_as_it_was(path: Path, origin: Origin) -> None:
    url = origin.on("/a", answer("1"))

    async def record() -> None:
        async with recorded(path, "once"):
            await text_of(url)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await record()
    assert list(path.parent.iterdir()) == []


async def test_an_upstream_that_fails_is_not_recorded(path: Path, origin: Origin) -> None:
    url = origin.on("/cut", answer("12345", headers={"Content-Length": "10"}))
    async with recorded(path, "once"):
        with pytest.raises(aiohttp.ClientError):
            await text_of("http://127.0.0.1:1/")  # where nothing listens
        await text_of(origin.on("/a", answer("1")))
        asking = asyncio.create_task(text_of(url, timeout=aiohttp.ClientTimeout(total=0.1)))
        with pytest.raises(TimeoutError):
            await asking

    assert len(kept(path)) == 1


async def test_redirects_cookies_and_errors_are_as_they_were(path: Path, origin: Origin) -> None:
    lines = (("Set-Cookie", "a=1; Path=/"), ("Set-Cookie", "b=2; Path=/"), ("Location", "/new"))
    old = origin.on("/old", answer(status=302, reason="Found", lines=lines, headers={"Cache-Control": None}))
    origin.on("/new", answer("gone", status=410, reason="Gone for good"))
    for mode in ("once", "none"):
        session = CachedSession(cache_control=True)
        async with recorded(path, mode, unfiltered=["a", "b"]), session, session.get(old) as response:
            assert (response.status, response.reason) == (410, "Gone for good")
            assert [one.status for one in response.history] == [302]
            assert await response.text() == "gone"
    assert origin.hits == 2
    assert [value for name, value in kept(path)[0].answered.headers if name == "Set-Cookie"] == [
        "a=1; Path=/",
        "b=2; Path=/",
    ]


async def test_a_validation_is_recorded_with_its_304(path: Path, origin: Origin) -> None:
    def validating(received: Received) -> bytes:
        headers = {"ETag": '"1"', "Cache-Control": "no-cache"}
        if "If-None-Match" in received.headers:
            return answer(status=304, reason="Not Modified", headers={**headers, "Content-Length": None})
        return answer("whole", headers=headers)

    url = origin.on("/a", validating)
    for mode in ("once", "none", "none"):
        async with recorded(path, mode), CachedSession(cache_control=True) as session:
            assert [await text_of(url, session) for _ in range(2)] == ["whole", "whole"]
            assert session.cache.stats.revalidated == 1
    assert [one.answered.status for one in kept(path)] == [200, 304]


async def test_lifetimes_play_no_part(path: Path, origin: Origin, session: CachedSession) -> None:
    at = 1_500_000_000.0
    dates = {"Date": formatdate(at, usegmt=True), "Expires": formatdate(at + 60, usegmt=True), "Cache-Control": None}
    url = origin.on("/a", answer("1", headers=dates))
    async with recorded(path, "once"):
        await text_of(url)
    old = text_at(path)
    put(path, old.replace(old.rpartition("recorded_at: ")[2], "'2017-07-14T02:40:00Z'\n"))

    async with recorded(path):
        assert [await text_of(url, session) for _ in range(2)] == ["1", "1"]  # the second is a hit: there is but one
    async with recorded(path), CachedSession(cache_control=True) as other:
        with CacheClock() as clock:
            await text_of(url, other)
            clock.advance(30)
            await text_of(url, other)
            clock.advance(40)
            with pytest.raises(UnrecordedRequestError):
                await text_of(url, other)


async def test_recording_anew_what_has_not_changed_changes_no_byte(path: Path, origin: Origin) -> None:
    numbers = iter(range(1000))

    def volatile(received: Received) -> bytes:
        body = json.dumps({"a": 1, "served": next(numbers)})
        return answer(body, headers={"Content-Type": "application/json", "X-Request-Id": str(next(numbers))})

    urls = [origin.on(f"/{number}", volatile) for number in range(3)]

    async def run(mode: Any, order: list[str]) -> str:
        async with recorded(path, mode, volatile=["served"]), CachedSession() as session:
            for url in order:
                await text_of(url, session)
        return text_at(path)

    first = await run("once", urls)
    assert await run("rewrite", urls[::-1]) == first
    assert await run("all", urls) == first
    assert await run("new_episodes", urls) == first


async def test_secrets_are_not_on_disk_and_the_app_is_given_them_while_it_records(path: Path, origin: Origin) -> None:
    token = answer('{"access_token": "s3cr3t"}', headers={"Content-Type": "application/json", **MINUTE})
    url = origin.on("/token", token)
    headers = {"Authorization": "Bearer s3cr3t"}
    async with recorded(path, "once"):
        assert "s3cr3t" in await text_of(f"{url}?api_key=s3cr3t", headers=headers)
    async with recorded(path):
        assert "REDACTED" in await text_of(f"{url}?api_key=other", headers={"Authorization": "Bearer other"})

    assert "s3cr3t" not in text_at(path)


async def test_a_session_with_the_middleware_is_recorded_too(path: Path, origin: Origin) -> None:
    url = origin.on("/a", answer("1"))
    for mode in ("once", "none"):
        async with recorded(path, mode), ClientSession(middlewares=(CacheMiddleware(),)) as plain:
            assert [await text_of(url, plain) for _ in range(2)] == ["1", "1"]
    assert origin.hits == 1


async def test_a_plain_session_is_not(path: Path, origin: Origin) -> None:
    url = origin.on("/a", answer("1"))
    async with recorded(path), ClientSession() as plain:
        assert await text_of(url, plain) == "1"


async def test_a_fake_upstream_may_be_recorded(path: Path) -> None:
    with FakeUpstream() as upstream:
        upstream.get("https://api.example.com/", lambda _: reply(text="faked"))
        async with recorded(path, "once"):
            assert await text_of("https://api.example.com/") == "faked"
    async with recorded(path):
        assert await text_of("https://api.example.com/") == "faked"


@pytest.mark.parametrize("mode", ["once", "new_episodes", "all", "rewrite"])
async def test_a_file_with_another_name_is_not_recorded_into(mode: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with pytest.raises(ConfigurationError, match=r"a\.txt cannot be recorded into; .* end in \.yaml or \.yml; give"):
        await recorded(path, mode).__aenter__()


@pytest.mark.parametrize("text", [None, "format: aiohttp-cache-di/1\nexchanges: []\n"])
async def test_a_miss_in_a_file_with_another_name_names_no_mode_that_would_be_refused(
    text: str | None, tmp_path: Path, session: CachedSession
) -> None:
    path = tmp_path / "a.txt"
    if text is not None:
        put(path, text)
    async with recorded(path):
        with pytest.raises(UnrecordedRequestError, match=r"end in \.yaml or \.yml; give such a name") as caught:
            await text_of("https://api.example.com/", session)
    assert "--record-mode" not in str(caught.value)


def test_what_type_checkers_are_told_that_a_recording_takes_is_what_it_takes() -> None:
    assert sorted(RecordingOptions.__annotations__) == sorted(OPTIONS)
