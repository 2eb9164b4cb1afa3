"""POST and QUERY in addition to GET: when the response to one method may answer another."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientResponse

from aiohttp_cache_di import CachedSession
from tests.clients import Clients, is_hit
from tests.origin import Origin, Received, answer
from tests.storages import CustomBackend, CustomStorage

TEXT = {"Content-Type": "text/plain"}


def telling(location: str | None = "/", **fields: str | None) -> Any:
    """A script that answers with the number of the request; after POST it names the resource whose state it shows."""

    def script(request: Received) -> bytes:
        own = {"Content-Location": location} if request.method == "POST" else {}
        return answer(f"{request.method} {request.number}", headers={**own, **fields})

    return script


class TestPost:
    @pytest.mark.parametrize("before", [False, True])
    async def test_its_response_answers_get_where_it_says_so(
        self, origin: Origin, clients: Clients, before: bool
    ) -> None:
        client, url = clients(cache_control=True), origin.on("/", telling())
        if before:
            assert await client.fetch(url) == (False, "GET 1")
        number = 1 + before
        async with client.session.post(url, data=b"change", headers=TEXT) as response:
            assert await response.text() == f"POST {number}"
            assert getattr(response, "cache_status", "").endswith("fwd=method; stored")
        await client.backend.settle()
        assert await client.fetch(url) == (True, f"POST {number}")
        assert await client.fetch(url, "POST", data=b"change") == (False, f"POST {number + 1}")
        assert await client.fetch(url) == (True, f"POST {number + 1}")
        async with client.session.head(url) as response:
            assert is_hit(response)

    @pytest.mark.parametrize(
        "script",
        [
            telling(None),
            telling("/other"),
            telling(**{"Cache-Control": "no-store"}),
            telling(**{"Cache-Control": None}),
        ],
        ids=["no Content-Location", "another's", "no-store", "no lifetime"],
    )
    async def test_nothing_is_stored_where_it_does_not(self, origin: Origin, clients: Clients, script: Any) -> None:
        client, url = clients(cache_control=True), origin.on("/", script)
        assert await client.fetch(url, "POST") == (False, "POST 1")
        await client.backend.settle()
        assert await client.fetch(url) == (False, "GET 2")

    async def test_by_the_rules_alone_it_answers_no_get(self, origin: Origin, clients: Clients) -> None:
        client, url = clients(allowed_methods=("GET", "POST")), origin.on("/", telling())
        assert await client.fetch(url, "POST") == (False, "POST 1")
        assert await client.fetch(url) == (False, "GET 2")

    async def test_it_answers_those_with_the_same_credentials_alone(self, origin: Origin, clients: Clients) -> None:
        client, url = clients(cache_control=True), origin.on("/", telling())
        own: dict[str, Any] = {"headers": {"Authorization": "Bearer a"}}
        assert await client.fetch(url, "POST", data=b"change", **own) == (False, "POST 1")
        await client.backend.settle()
        assert await client.fetch(url) == (False, "GET 2")
        assert await client.fetch(url, **own) == (True, "POST 1")

    async def test_what_was_changed_after_it_was_sent_is_not_stored(self, origin: Origin, clients: Clients) -> None:
        client, go_on = clients(cache_control=True), asyncio.Event()

        async def script(request: Received) -> bytes:
            if request.number == 1:
                await go_on.wait()
            return answer(str(request.number), headers={"Content-Location": "/"})

        url = origin.on("/", script)
        first = asyncio.create_task(client.fetch(url, "POST"))
        await origin.arrival()
        assert await client.fetch(url, "PUT") == (False, "2")
        go_on.set()
        assert await first == (False, "1")
        await client.backend.settle()
        assert await client.fetch(url) == (False, "3")

    @pytest.mark.parametrize("varies", [False, True])
    async def test_a_later_response_to_get_is_not_replaced_when_its_body_has_arrived(
        self, origin: Origin, clients: Clients, varies: bool
    ) -> None:
        client, go_on = clients(cache_control=True), asyncio.Event()
        fields = {"Vary": "Accept-Language"} if varies else {}

        async def script(request: Received) -> AsyncIterator[bytes]:
            text = f"{request.method} {request.number}"
            yield (whole := answer(text, headers={"Content-Location": "/", **fields}))[:-1]
            if request.method == "POST":
                await go_on.wait()
            yield whole[-1:]

        url = origin.on("/", script)
        async with client.session.post(url) as response:
            assert await client.fetch(url) == (False, "GET 2")
            await client.backend.settle()
            for language in ("de", "en") if varies else ():
                await client.fetch(url, headers={"Accept-Language": language})
            go_on.set()
            assert await response.text() == "POST 1"
            assert getattr(response, "cache_status", "").endswith("detail=invalidated")
        await client.backend.settle()
        assert await client.fetch(url) == (True, "GET 2")

    async def test_what_was_changed_while_it_invalidated_is_not_stored(self, origin: Origin) -> None:
        is_watching, begun, goes_on = asyncio.Event(), asyncio.Event(), asyncio.Event()

        class Storage(CustomStorage):
            async def delete(self, key: str) -> None:
                if is_watching.is_set() and not begun.is_set():
                    begun.set()
                    await goes_on.wait()
                await super().delete(key)

        url = origin.on("/", telling())
        backend = CustomBackend(cache_control=True)
        backend.responses = Storage()
        async with CachedSession(cache=backend) as session:
            await (await session.get(url)).read()
            await backend.settle()
            is_watching.set()
            posting = asyncio.create_task(session.post(url))
            await begun.wait()
            await (await session.put(url)).read()
            goes_on.set()
            assert await (await posting).text() == "POST 2"
            await backend.settle()
            assert await (await session.get(url)).text() == "GET 4"

    async def test_a_filter_has_its_say(self, origin: Origin, clients: Clients) -> None:
        def refuse(response: ClientResponse) -> bool:
            return False

        client, url = clients(cache_control=True, filter_fn=refuse), origin.on("/", telling())
        assert await client.fetch(url, "POST") == (False, "POST 1")
        await client.backend.settle()
        assert await client.fetch(url) == (False, "GET 2")


class TestQuery:
    async def test_it_is_cached_by_its_content_and_changes_nothing(self, origin: Origin, clients: Clients) -> None:
        client, url = clients(cache_control=True), origin.on("/", telling())
        assert await client.fetch(url) == (False, "GET 1")
        assert await client.fetch(url, "QUERY", data=b"a", headers=TEXT) == (False, "QUERY 2")
        assert await client.fetch(url) == (True, "GET 1")
        assert await client.fetch(url, "QUERY", data=b"a", headers=TEXT) == (True, "QUERY 2")
        assert await client.fetch(url, "QUERY", data=b"b", headers=TEXT) == (False, "QUERY 3")
        assert await client.fetch(url, "QUERY", data=b"a", headers={"Content-Type": "text/csv"}) == (False, "QUERY 4")
        coded = {**TEXT, "Content-Encoding": "x-own"}
        assert await client.fetch(url, "QUERY", data=b"a", headers=coded) == (False, "QUERY 5")

    async def test_equal_ones_share_a_request(self, origin: Origin, clients: Clients) -> None:
        async def script(request: Received) -> bytes:
            await asyncio.sleep(0.05)
            return answer(request.body)

        client, url = clients(cache_control=True), origin.on("/", script)
        bodies = [b"a", b"b"] * 5
        found = await asyncio.gather(*(client.fetch(url, "QUERY", data=body, headers=TEXT) for body in bodies))
        assert [text for _, text in found] == ["a", "b"] * 5
        assert origin.hits == 2

    async def test_what_it_asks_for_must_be_told(self, origin: Origin, clients: Clients) -> None:
        client, url = clients(cache_control=True), origin.on("/", telling())
        plain = {"skip_auto_headers": ("Content-Type",)}
        for number in (1, 2):
            assert await client.fetch(url, "QUERY", data=b"a", **plain) == (False, f"QUERY {number}")

    async def test_a_large_one_is_not_kept_in_memory_for_its_key(self, origin: Origin, clients: Clients) -> None:
        client, url = clients(cache_control=True), origin.on("/", telling())
        for number in (1, 2):
            body = io.BytesIO(b"x" * (1024 * 1024 + 1))
            assert await client.fetch(url, "QUERY", data=body, headers=TEXT) == (False, f"QUERY {number}")

    async def test_post_is_one_where_the_user_says_so(self, origin: Origin, clients: Clients) -> None:
        client, url = clients(cache_control=True, post_as_query=["*/search"]), origin.on("/search", telling(None))
        assert await client.fetch(url) == (False, "GET 1")
        assert await client.fetch(url, "POST", data=b"a", headers=TEXT) == (False, "POST 2")
        assert await client.fetch(url, "POST", data=b"a", headers=TEXT) == (True, "POST 2")
        assert await client.fetch(url, "POST", data=b"b", headers=TEXT) == (False, "POST 3")
        untold = {"skip_auto_headers": ("Content-Type",)}
        assert await client.fetch(url, "POST", data=b"a", **untold) == (False, "POST 4")
        assert await client.fetch(url) == (True, "GET 1")


@pytest.mark.parametrize("method", ["QUERY", "POST"])
async def test_a_filter_leaves_queries_cacheable(origin: Origin, clients: Clients, method: str) -> None:
    url = origin.on("/", telling())
    seen: list[str] = []

    def keep_all(response: Any) -> bool:
        seen.append(response.method)
        return True

    client = clients(cache_control=True, post_as_query=[url], filter_fn=keep_all)
    fetched = [await client.fetch(url, method, data=b"q", headers=TEXT) for _ in range(2)]
    assert [is_hit for is_hit, _ in fetched] == [False, True]
    assert set(seen) == {method}
