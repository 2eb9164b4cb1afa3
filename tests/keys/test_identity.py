"""Which requests share a response, as an origin sees it, in each way to cache."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import encode_basic_auth
from yarl import URL

from aiohttp_cache_di.backends import CacheBackend
from tests.clients import Clients
from tests.origin import Origin, Received, answer


@pytest.mark.parametrize("cache_control", [False, True])
async def test_each_host_has_its_own_page(clients: Clients, origin: Origin, cache_control: bool) -> None:
    url = origin.on("/", lambda request: answer(request.headers["Host"]))
    client = clients(cache_control=cache_control)
    for _ in range(3):
        for host in ("a.test", "b.test"):
            assert (await client.fetch(url, headers={"Host": host}))[1] == host
        assert (await client.fetch(url))[1] == f"127.0.0.1:{origin.port}"
    assert origin.hits == 3


async def test_requests_for_different_hosts_do_not_wait_for_each_other(clients: Clients, origin: Origin) -> None:
    async def slow(request: Received) -> bytes:
        await asyncio.sleep(0.02)
        return answer(request.headers["Host"])

    url = origin.on("/", slow)
    client = clients()
    hosts = ("a.test", "b.test", "a.test", "b.test")
    answers = await asyncio.gather(*(client.fetch(url, headers={"Host": host}) for host in hosts))
    assert [text for _, text in answers] == list(hosts)


async def test_a_change_at_one_host_leaves_the_other_alone(clients: Clients, origin: Origin) -> None:
    url = origin.on("/", lambda request: answer(request.headers["Host"]))
    client = clients(cache_control=True)

    async def is_hit(host: str) -> bool:
        return (await client.fetch(url, headers={"Host": host}))[0]

    for host in ("a.test", "b.test"):
        await is_hit(host)
    await client.fetch(url, "PUT", headers={"Host": "a.test"})
    assert [await is_hit(host) for host in ("a.test", "b.test")] == [False, True]


@pytest.mark.parametrize(
    ("options", "is_kept_apart"),
    [
        ({}, False),
        ({"match_order": True}, True),
        ({"cache_control": True}, True),
        ({"cache_control": True, "match_order": False}, False),
    ],
)
async def test_the_order_of_names_counts_by_mode_or_by_option(
    clients: Clients, origin: Origin, options: dict[str, Any], is_kept_apart: bool
) -> None:
    url = origin.on("/image", lambda request: answer(request.target))
    client = clients(**options)
    assert await client.fetch(url + "?resize&crop") == (False, "/image?resize&crop")
    found, text = await client.fetch(url + "?crop&resize")
    assert (found, text == "/image?crop&resize") == (not is_kept_apart, is_kept_apart)


async def test_a_query_that_begins_otherwise_is_not_found_nor_deleted_in_its_place(
    clients: Clients, origin: Origin
) -> None:
    url = origin.on("/image", answer("an image"))
    client = clients(cache_control=True)
    await client.fetch(url + "?resize&crop")
    assert await client.backend.has_url(url + "?resize&crop")
    assert not await client.backend.has_url(url + "?crop&resize")
    await client.fetch(url + "?crop&resize", "PUT", data=b"")
    assert (await client.fetch(url + "?resize&crop"))[0]


RAW = ["/x?sig=a%2Fb", "/x?q=%41", "/x?a=1%20b+c", "/%7Euser"]


@pytest.mark.parametrize("target", RAW)
async def test_a_change_is_seen_by_a_url_that_is_requested_as_it_is(
    clients: Clients, origin: Origin, target: str
) -> None:
    origin.on(target.partition("?")[0], lambda request: answer(str(request.number)))
    url = URL(origin.url + target, encoded=True)
    client = clients(cache_control=True)

    async def text(method: str = "GET") -> str:
        async with client.session.request(method, url) as response:
            return await response.text()

    assert [await text() for _ in range(2)] == ["1", "1"]
    assert await text("PUT") == "2"
    assert await text() == "3"
    assert {request.target for request in origin.received} == {target}
    async with client.session.head(url) as response:
        assert getattr(response, "from_cache", False)


@pytest.mark.parametrize("target", RAW)
@pytest.mark.parametrize("encoded", [False, True])
async def test_what_is_listed_can_be_asked_for_and_deleted(
    clients: Clients, origin: Origin, target: str, encoded: bool
) -> None:
    origin.on(URL(target).raw_path, answer("a"))
    origin.on(target.partition("?")[0], answer("a"))
    client = clients(cache_control=True)
    async with client.session.get(URL(origin.url + target, encoded=encoded)) as response:
        await response.read()
    (listed,) = [url async for url in client.backend.get_urls()]
    assert await client.backend.has_url(listed)
    await client.backend.delete_url(listed)
    assert [url async for url in client.backend.get_urls()] == []


async def test_what_is_stored_of_credentials_and_of_vary_cannot_be_guessed_with_a_secret_key(
    clients: Clients, origin: Origin
) -> None:
    url = origin.on("/", answer("a", headers={"Vary": "X-Pin"}))
    fields = {"Authorization": encode_basic_auth("alice", "1234"), "X-Pin": "1234"}
    found: list[tuple[str, str, bytes]] = []
    for secret in (None, "s", "s", "t"):
        client = clients(cache_control=True, secret_key=secret)
        assert [(await client.fetch(url, headers=fields))[0] for _ in range(2)] == [False, True]
        await client.backend.settle()
        key = client.backend.create_key("GET", url, headers=fields)
        entry = await client.backend.responses.read_entry(key)
        assert entry is not None
        found.append((key, entry.partition, entry.vary_digest))
    guessed, one, same, other = found
    assert one == same
    assert all(len({tried[part] for tried in (guessed, one, other)}) == 3 for part in range(3))


def test_a_key_of_digests_is_shown_nowhere() -> None:
    backend = CacheBackend(secret_key="s")
    actions = backend.create_cache_actions("key", "http://example.org/")
    assert backend.digest_key.hex() not in f"{actions!r} {backend!r}"
    assert "DigestKey(...)" in repr(actions.rules)


QUERYING = {"Content-Type": "application/sql"}


async def test_a_query_is_cached_by_its_content_and_changes_nothing(clients: Clients, origin: Origin) -> None:
    url = origin.on("/", lambda request: answer(f"{request.method} {request.body.decode()}"))
    client = clients(cache_control=True)

    async def query(text: str, **fields: str) -> tuple[bool, str]:
        return await client.fetch(url, "QUERY", data=text.encode(), headers={**QUERYING, **fields})

    assert await client.fetch(url) == (False, "GET ")
    assert [await query(text) for text in "aba"] == [(False, "QUERY a"), (False, "QUERY b"), (True, "QUERY a")]
    assert await query("a", **{"Content-Type": "text/plain"}) == (False, "QUERY a")
    assert await client.fetch(url) == (True, "GET ")
    await client.fetch(url, "PUT")
    assert await client.fetch(url) == (False, "GET ")


async def test_a_query_without_a_type_is_for_the_origin_alone(clients: Clients, origin: Origin) -> None:
    url = origin.on("/", answer("a"))
    client = clients(cache_control=True)
    assert [(await client.fetch(url, "QUERY"))[0] for _ in range(2)] == [False, False]


async def test_by_the_rules_alone_a_query_is_cached_if_it_is_allowed(clients: Clients, origin: Origin) -> None:
    url = origin.on("/", answer("a"))
    for methods, is_hit in ((("GET", "HEAD"), False), (("GET", "QUERY"), True)):
        client = clients(allowed_methods=methods)
        found = [(await client.fetch(url, "QUERY", data=b"a", headers=QUERYING))[0] for _ in range(2)]
        assert found == [False, is_hit]


async def test_a_post_is_a_query_where_the_user_says_so(clients: Clients, origin: Origin) -> None:
    def script(request: Received) -> bytes:
        return answer(f"{request.number} {request.body.decode()}")

    search, other = origin.on("/search", script), origin.on("/other", script)
    client = clients(cache_control=True, post_as_query=["127.0.0.1:*/search"], allowed_methods=("GET", "POST"))
    assert [await client.fetch(search, "POST", json=text) for text in "aba"] == [
        (False, '1 "a"'),
        (False, '2 "b"'),
        (True, '1 "a"'),
    ]
    assert [(await client.fetch(other, "POST", json="a"))[0] for _ in range(2)] == [False, False]
