"""Tags, from request to response: where they come from, what purges them, and what is reported."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import ClientResponse

from aiohttp_cache_di import CachedSession, ConfigurationError, UrlExpiration
from aiohttp_cache_di.backends import CacheBackend
from aiohttp_cache_di.engine.runtime import Runtime
from aiohttp_cache_di.response import AnyResponse
from aiohttp_cache_di.telemetry.reasons import DETAILS
from tests.clients import Client, Clients
from tests.origin import Origin, Received, answer
from tests.storages import CustomBackend

MODES = [False, True]


def numbered(headers: dict[str, str | None] | None = None) -> Callable[[Received], bytes]:
    """A script that answers with the number of the request."""
    return lambda request: answer(str(request.number), headers=headers)


async def tags_of(client: Client) -> list[tuple[str, ...]]:
    await client.backend.settle()
    return [info.tags async for info in client.backend.entries()]


async def told(session: CachedSession, url: str, method: str = "GET", **options: Any) -> tuple[str, str, str]:
    """The text of a response, its Cache-Status, and the sentence that explains it."""
    async with session.request(method, url, **options) as response:
        text = await response.text()
        return text, response.cache_status.partition("; ")[2], response.cache_decision.because


# ---- where tags come from


@pytest.mark.parametrize("cache_control", MODES)
@pytest.mark.parametrize(
    ("headers", "tags"),
    [
        ({"Cache-Groups": '"a b", "c";x=1'}, ("a b", "c")),
        ({"Surrogate-Key": "a  b"}, ("a", "b")),
        ({"Cache-Tag": "a b,c"}, ("a b", "c")),
        ({"xkey": "a b"}, ("a", "b")),
        ({"Cache-Tag": "x", "Cache-Groups": '"g"', "Surrogate-Key": "g y"}, ("g", "x", "y")),
        ({"Cache-Groups": '"a'}, ()),
    ],
)
async def test_tags_that_a_response_has_purge_it(
    origin: Origin, clients: Clients, cache_control: bool, headers: dict[str, str | None], tags: tuple[str, ...]
) -> None:
    client = clients(cache_control=cache_control)
    url = origin.on("/x", numbered(headers))
    await client.fetch(url)
    assert await tags_of(client) == [tags]
    for number, tag in enumerate(tags, 1):
        assert await client.fetch(url) == (True, f"{number}")
        await client.backend.purge(tags=tag)
        assert await client.fetch(url) == (False, f"{number + 1}")
        await client.backend.settle()


async def test_a_request_gives_tags_to_all_that_is_stored_of_it(origin: Origin, clients: Clients) -> None:
    if clients.way.plain:
        pytest.skip("a plain session takes no tags")
    client = clients(cache_control=True)
    origin.on("/to", numbered({"Surrogate-Key": "own"}))
    url = origin.on("/from", answer(status=301, headers={"Location": "/to"}))
    await client.fetch(url, tags=["a", " b ", "a"])
    assert sorted(await tags_of(client)) == [("a", "b"), ("own", "a", "b")]
    await client.fetch(url, tags="c")  # stored entries keep their tags
    assert origin.hits == 2
    assert (await client.backend.purge(tags="c", count_within_s=math.inf)).entries == 0
    assert (await client.backend.purge(tags="b", count_within_s=math.inf)).entries == 2
    await client.fetch(url)
    assert origin.hits == 4


async def test_tags_of_a_post_request_are_those_of_its_response_that_answers_get(
    origin: Origin, clients: Clients
) -> None:
    if clients.way.plain:
        pytest.skip("a plain session takes no tags")
    client = clients(cache_control=True)
    url = origin.on("/", numbered({"Content-Location": "/", "Cache-Tag": "told"}))
    await client.fetch(url, "POST", data=b"change", tags="own")
    assert await tags_of(client) == [("told", "own")]
    await client.backend.purge(tags="own")
    assert await client.fetch(url) == (False, "2")


async def test_a_purge_before_a_post_request_does_not_concern_its_response(origin: Origin, clients: Clients) -> None:
    client = clients(cache_control=True)
    url = origin.on("/", numbered({"Content-Location": "/", "Cache-Tag": "told"}))
    await client.fetch(url)
    await client.backend.purge(tags="told")
    await client.fetch(url, "POST", data=b"change")
    await client.backend.settle()
    assert await client.fetch(url) == (True, "2")


NO_TAGS: list[Any] = [7, [""], ["a", None], b"a"]


@pytest.mark.parametrize(
    "options", [*({"tags": tags} for tags in NO_TAGS), {"expire_after": "no length of time"}], ids=str
)
async def test_what_is_no_tag_is_refused_as_any_option_of_no_use_is(origin: Origin, options: dict[str, Any]) -> None:
    async with CachedSession() as session:
        with pytest.raises(ConfigurationError):
            await session.get(origin.url, **options)
    assert origin.hits == 0


@pytest.mark.parametrize("tags", [["x" * 1025], [str(n) for n in range(257)], ["x" * 1000 + str(n) for n in range(17)]])
@pytest.mark.parametrize("by", ["request", "tag_fn"])
async def test_more_tags_than_are_kept_cost_no_more_than_a_miss_and_are_logged(
    origin: Origin, caplog: pytest.LogCaptureFixture, tags: list[str], by: str
) -> None:
    backend = CacheBackend() if by == "request" else CacheBackend(tag_fn=lambda response: tags)
    options: Any = {"tags": tags} if by == "request" else {}
    url = origin.on("/x", numbered())
    async with CachedSession(cache=backend) as session:
        for number in ("1", "2"):
            async with session.get(f"{url}?token=hunter2", **options) as response:
                assert (await response.text(), response.from_cache) == (number, False)
            await backend.settle()
            assert response.cache_decision.reason == "too-many-tags"
            assert response.cache_decision.because.endswith(DETAILS["too-many-tags"])
        assert backend.stats.stored == 0
    (line,) = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert line.startswith(f"The response to GET {url}?token=REDACTED is handed on and not stored: it")


async def test_a_request_with_too_many_tags_is_answered_with_what_is_stored(origin: Origin) -> None:
    url = origin.on("/x", numbered())
    async with CachedSession() as session:
        for tags in ("a", [str(n) for n in range(300)]):
            async with session.get(url, tags=tags) as response:
                assert await response.text() == "1"


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_function_of_the_users_tells_tags(origin: Origin, clients: Clients, is_async: bool) -> None:
    seen: list[AnyResponse] = []

    def tag_fn(response: AnyResponse) -> list[str] | None:
        seen.append(response)
        return None if response.url.path == "/none" else [f"path:{response.url.path}"]

    async def asynchronous(response: AnyResponse) -> list[str]:
        return [*(tag_fn(response) or ()), f"body:{await response.text()}"]

    client = clients(cache_control=True, tag_fn=asynchronous if is_async else tag_fn)
    url, none = origin.on("/x", numbered({"Cache-Tag": "own"})), origin.on("/none", answer("no tags"))
    for each in (url, none, url):
        await client.fetch(each)
        await client.backend.settle()
    assert len(seen) == 2
    assert ("own", "path:/x", *(("body:1",) if is_async else ())) in await tags_of(client)
    await client.backend.purge(tags="body:1" if is_async else "path:/x")
    assert await client.fetch(url) == (False, "2")
    assert await client.fetch(none) == (True, "no tags")


@pytest.mark.parametrize("failure", [ValueError("of the user's"), [7], [""], object()])
async def test_a_function_that_fails_costs_no_more_than_a_miss(origin: Origin, failure: Any) -> None:
    def tag_fn(response: ClientResponse) -> Any:
        if isinstance(failure, Exception):
            raise failure
        return failure

    url = origin.on("/x", numbered())
    async with CachedSession(cache=CacheBackend(tag_fn=tag_fn)) as session:
        for number in ("1", "2"):
            async with session.get(url) as response:
                assert (await response.text(), response.from_cache) == (number, False)
            await session.cache.settle()
            assert "detail=error" in response.cache_status


async def failing(response: AnyResponse) -> Any:
    raise ValueError("hunter2")


@pytest.mark.parametrize("option", ["tag_fn", "filter_fn"])
async def test_a_function_that_fails_is_logged_by_its_name_with_what_becomes_of_the_response(
    origin: Origin, caplog: pytest.LogCaptureFixture, option: str
) -> None:
    url, functions = origin.on("/x", numbered()), dict[str, Any]({option: failing})
    async with CachedSession(cache=CacheBackend(**functions)) as session:
        for _ in range(2):
            async with session.get(f"{url}?token=hunter2") as response:
                await response.read()
            await session.cache.settle()
            assert response.cache_decision.reason == "error"
    (line,) = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert line.startswith(f"{option} ({__name__}.failing) has failed (ValueError in failing, line ")
    assert f" for GET {url}?token=REDACTED; the response is handed on and not stored. " in line
    assert "hunter2" not in caplog.text


async def test_a_filter_that_fails_on_what_is_stored_is_logged_by_its_name(
    origin: Origin, caplog: pytest.LogCaptureFixture
) -> None:
    url = origin.on("/x", numbered())
    async with CachedSession() as session:
        await told(session, url)
        session.cache.filter_fn = failing
        _, status, _ = await told(session, url)
        assert status.startswith("fwd=miss")
        assert session.cache.stats.unreadable == 0, "the entry is not at fault"
    first = next(each.getMessage() for each in caplog.records if each.levelno == logging.WARNING)
    assert first.startswith("filter_fn (")
    assert "; what is stored is dropped. " in first


async def test_settings_give_tags_by_url(origin: Origin, clients: Clients) -> None:
    rules = {"*/users": UrlExpiration(60, tags=["users"]), "*": UrlExpiration(60)}
    client = clients(urls_expire_after=rules)
    users, other = origin.on("/users/1", numbered()), origin.on("/other", numbered())
    for url in (users, other):
        await client.fetch(url)
    assert sorted(await tags_of(client)) == [(), ("users",)]
    await client.backend.purge(tags="users")
    assert [await client.fetch(url) for url in (users, other)] == [(False, "2"), (True, "1")]


async def test_a_response_that_a_user_saves_has_its_tags(origin: Origin) -> None:
    url = origin.on("/x", answer("body", headers={"Surrogate-Key": "a"}))
    async with CachedSession(cache=CacheBackend(tag_fn=lambda response: "told")) as session:
        async with session.disabled(), session.get(url) as response:
            await session.cache.save_response(response, "key")
        assert await session.cache.get_response("key") is not None
        assert (await session.cache.purge(tags="told", count_within_s=math.inf)).entries == 1
        assert await session.cache.get_response("key") is None


# ---- too many tags, and invalid ones


@pytest.mark.parametrize(
    "headers",
    [
        {"Surrogate-Key": " ".join(f"t{number}" for number in range(1000))},
        {"Cache-Tag": "x" * 2000},
        {"xkey": " ".join("y" * 1000 + str(number) for number in range(7)), "Cache-Tag": "z" * 1000},
    ],
)
async def test_a_response_with_more_tags_than_are_kept_is_not_stored(
    origin: Origin, headers: dict[str, str | None]
) -> None:
    lines = tuple(("Cache-Tag", ",".join(f"{n}-{part}" + "w" * 900 for part in range(8))) for n in range(3))
    url = origin.on("/x", answer("body", headers=headers, lines=lines if "xkey" in headers else ()))
    async with CachedSession() as session:
        for _ in range(2):
            async with session.get(url) as response:
                assert await response.text() == "body"
                assert response.cache_status.endswith("detail=too-many-tags")
                assert response.cache_decision.because.endswith(DETAILS["too-many-tags"])
        assert len(session.cache.responses) == 0  # type: ignore[arg-type]  # it is a mapping


async def test_a_304_with_too_many_tags_is_the_answer_and_not_stored(origin: Origin) -> None:
    def script(request: Received) -> bytes:
        many = " ".join(f"t{n}" for n in range(500))
        if "If-None-Match" in request.headers:
            return answer(status=304, headers={"ETag": '"1"', "Surrogate-Key": many, "Content-Length": None})
        return answer("body", headers={"ETag": '"1"', "Surrogate-Key": "a"})

    url = origin.on("/x", script)
    async with CachedSession(cache_control=True) as session:
        await told(session, url)
        text, status, _ = await told(session, url, refresh=True)
        assert (text, status.rpartition("=")[2]) == ("body", "too-many-tags")


@pytest.mark.parametrize("tag", ["ü:ß", 'a "b"', "a;b=c", "a\\b", "\u202eodd", "a, b", "x" * 1024])
async def test_an_odd_tag_is_one_like_others(origin: Origin, tag: str) -> None:
    url = origin.on("/x", numbered())
    async with CachedSession(cache_control=True) as session:
        await told(session, url, tags=tag)
        assert (await session.cache.purge(tags=tag, count_within_s=math.inf)).entries == 1
        text, status, because = await told(session, url)
        assert text == "2"
        assert status.startswith('fwd=uri-miss; purged="')
        assert status.endswith('"; stored')
        assert status.isascii()
        assert "was purged" in because


# ---- groups of an origin (RFC 9875)


@pytest.mark.parametrize("cache_control", MODES)
async def test_an_unsafe_request_outdates_groups_of_its_origin_alone(
    origin: Origin, clients: Clients, cache_control: bool
) -> None:
    client = clients(cache_control=cache_control)
    grouped: dict[str, str | None] = {"Cache-Groups": '"g", "other"', "Surrogate-Key": "g"}
    async with Origin() as evil:
        ours, theirs = origin.on("/x", numbered(grouped)), evil.on("/x", numbered(grouped))
        tagged = origin.on("/tagged", numbered({"Surrogate-Key": "g"}))
        for url in (ours, theirs, tagged):
            await client.fetch(url)
        attack = evil.on("/attack", answer(headers={"Cache-Group-Invalidation": '"g", "no-such"'}))
        await client.backend.settle()
        await client.fetch(attack, "POST")
        assert [await client.fetch(url) for url in (ours, theirs, tagged)] == [
            (True, "1"),
            (False, "2"),
            (True, "1"),  # a tag is no cache group
        ]
        await client.backend.settle()
        # An operator's purge applies to all origins.
        assert (await client.backend.purge(tags="g", count_within_s=math.inf)).entries == 3


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_the_field_says_nothing_in_a_response_to_a_safe_request(origin: Origin, method: str) -> None:
    url = origin.on("/x", numbered({"Cache-Groups": '"g"'}))
    safe = origin.on("/safe", answer(headers={"Cache-Group-Invalidation": '"g"'}))
    async with CachedSession(cache_control=True) as session:
        await told(session, url)
        await told(session, safe, method)
        assert (await told(session, url))[0] == "1"
        await told(session, safe, "DELETE")
        assert await told(session, url) == (
            "2",
            'fwd=uri-miss; purged="g"; stored',
            "sent to the origin; tag g was purged; stored",
        )


async def test_a_post_that_is_a_query_outdates_no_group(origin: Origin) -> None:
    url = origin.on("/x", numbered({"Cache-Groups": '"g"'}))
    query = origin.on("/query", answer(headers={"Cache-Group-Invalidation": '"g"'}))
    async with CachedSession(cache_control=True, post_as_query=["*/query"]) as session:
        await told(session, url)
        await told(session, query, "POST", data=b"q")
        await told(session, query, "POST", json={})
        assert (await told(session, url))[0] == "1"


async def test_a_response_on_its_way_while_its_group_is_outdated_is_not_used_again(
    origin: Origin, clients: Clients
) -> None:
    client = clients(cache_control=True)
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(request: Received) -> bytes:
        if request.number == 1:
            arrived.set()
            await go_on.wait()
        return answer(str(request.number), headers={"Cache-Groups": '"g"'})

    url, post = origin.on("/x", slowly), origin.on("/p", answer(headers={"Cache-Group-Invalidation": '"g"'}))
    async with asyncio.timeout(30):
        first = asyncio.create_task(client.fetch(url))
        await arrived.wait()
        await client.fetch(post, "POST")
        late = asyncio.create_task(client.fetch(url))
        go_on.set()
        assert (await first)[1] == "1"
        assert (await late)[1] == "2"
    await client.backend.settle()
    assert await client.fetch(url) == (True, "2")


# ---- variants, redirects, principals


async def test_a_purge_is_about_the_variant_that_has_the_tag_and_about_all_principals(
    origin: Origin, clients: Clients
) -> None:
    def by_language(request: Received) -> bytes:
        language = request.headers.get("Accept-Language", "")
        headers: dict[str, str | None] = {"Vary": "Accept-Language", "Surrogate-Key": f"all {language}"}
        return answer(f"{language}{request.number}", headers=headers)

    client = clients(cache_control=True)
    url = origin.on("/x", by_language)
    asked: list[dict[str, str]] = [
        {"Accept-Language": "fr"},
        {"Accept-Language": "de"},
        {"Accept-Language": "fr", "Authorization": "Bearer of-one"},
    ]

    async def texts() -> list[tuple[bool, str]]:
        found: list[tuple[bool, str]] = []
        for headers in asked:
            found.append(await client.fetch(url, headers=headers))
            await client.backend.settle()
        return found

    assert await texts() == [(False, "fr1"), (False, "de2"), (False, "fr3")]
    assert await texts() == [(True, "fr1"), (True, "de2"), (True, "fr3")]
    await client.backend.purge(tags="fr")
    assert await texts() == [(False, "fr4"), (True, "de2"), (False, "fr5")]
    assert await texts() == [(True, "fr4"), (True, "de2"), (True, "fr5")]
    await client.backend.purge(tags="all")
    assert [is_hit for is_hit, _ in await texts()] == [False] * 3


async def test_a_redirect_that_is_purged_is_asked_for_again(origin: Origin, clients: Clients) -> None:
    client = clients(cache_control=True)
    origin.on("/to", numbered())
    url = origin.on("/from", answer(status=301, headers={"Location": "/to", "Cache-Tag": "hop"}))
    await client.fetch(url)
    await client.backend.settle()
    assert await client.fetch(url) == (True, "1")
    await client.backend.purge(tags="hop")
    assert await client.fetch(url) == (True, "1")
    assert (origin.hits_of("/from"), origin.hits_of("/to")) == (2, 1)


# ---- what is reported


async def test_the_tag_is_told_as_the_reason(origin: Origin) -> None:
    url = origin.on("/x", numbered({"ETag": None, "Surrogate-Key": "user:7"}))
    async with CachedSession(cache_control=True) as session:
        await told(session, url)
        await session.cache.purge(tags="user:7")
        explanation = await session.explain("GET", url)
        assert "selected: no (tag user:7 was purged)" in str(explanation)
        assert (await told(session, url, only_if_cached=True))[1:] == (
            'detail=only-if-cached; purged="user:7"',
            "tag user:7 was purged; the request may only be answered from the cache, and nothing stored could be used",
        )
        assert await told(session, url) == (
            "2",
            'fwd=uri-miss; purged="user:7"; stored',
            "sent to the origin; tag user:7 was purged; stored",
        )
        async with session.get(url) as response:
            assert response.from_cache
            assert "purged" not in response.cache_status
        await session.cache.purge(tags="user:7", soft=True)
        assert "usable: no (tag user:7 was purged softly)" in str(await session.explain("GET", url))
        async with session.get(url) as response:
            assert response.cache_decision.reason == "purged"


async def test_what_was_purged_softly_stands_in_for_an_error_and_what_was_purged_does_not(origin: Origin) -> None:
    def failing(request: Received) -> bytes:
        return answer(status=503) if request.number > 1 else answer("body")

    url = origin.on("/x", failing)
    async with CachedSession(cache_control=True, stale_if_error=True) as session:
        await told(session, url, tags="a")
        await session.cache.purge(tags="a", soft=True)
        text, status, because = await told(session, url)
        assert (text, "purged=" in status, "tag a was purged" in because) == ("body", True, True)
        await session.cache.purge(tags="a")
        async with session.get(url) as response:
            assert response.status == 503


async def test_what_is_stale_by_a_purge_is_validated_in_the_background_where_that_is_allowed(origin: Origin) -> None:
    url = origin.on("/x", numbered())
    async with CachedSession(cache_control=True, stale_while_revalidate="1h") as session:
        await told(session, url, tags="a")
        await session.cache.purge(tags="a", soft=True)
        text, status, _ = await told(session, url)
        assert text == "1"
        assert "stale-while-revalidate" in status
        assert "purged" in status
        await Runtime.of(session.cache).finish(session)
        assert (await told(session, url))[0] == "2"


async def test_those_who_wait_for_a_response_are_not_given_it_after_its_purge(origin: Origin) -> None:
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(request: Received) -> bytes:
        if request.number == 1:
            arrived.set()
            await go_on.wait()
        return answer(str(request.number), headers={"xkey": "a"})

    url = origin.on("/x", slowly)
    async with CachedSession(cache=CustomBackend()) as session, asyncio.timeout(30):
        first = asyncio.create_task(told(session, url))
        await arrived.wait()
        waiting = [asyncio.create_task(told(session, url)) for _ in range(3)]
        await session.cache.purge(tags="a")
        go_on.set()
        text, status, because = await first
        assert text == "1"
        assert (status, because) == (
            "fwd=uri-miss; detail=purged",
            f"sent to the origin: nothing was stored for it; not stored: {DETAILS['purged']}",
        )
        assert {text for text, _, _ in await asyncio.gather(*waiting)}.isdisjoint({"1"})
