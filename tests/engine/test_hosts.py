"""The effective Host is part of a request's identity, on every path through the engine."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import ClientRequest

from tests.clients import Client, Clients
from tests.origin import Origin, Received, answer


def of_host(request: Received) -> bytes:
    """Answer with the host and the number of the request."""
    return answer(f"{request.headers['Host']} {request.method} {request.number}", headers={"ETag": '"same"'})


async def ask(client: Client, url: str, host: str = "", method: str = "GET") -> tuple[bool, str]:
    return await client.fetch(url, method, **({"headers": {"Host": host}} if host else {}))


@pytest.mark.parametrize("cache_control", [False, True])
async def test_each_host_has_its_own(clients: Clients, origin: Origin, cache_control: bool) -> None:
    url = origin.on("/", of_host)
    own = url.split("/")[2]
    client = clients(cache_control=cache_control)
    hosts = ["a.test", "b.test", "", "a.test:81"]
    first = [await ask(client, url, host) for host in hosts]
    assert first == [(False, f"{host or own} GET {number}") for number, host in enumerate(hosts, 1)]
    for _ in range(3):
        assert [await ask(client, url, host) for host in hosts] == [(True, text) for _, text in first]
    assert await ask(client, url, own) == (True, first[2][1]), "which is what the URL says"
    assert await ask(client, url, " A.test ") == (True, first[0][1])


@pytest.mark.parametrize("cache_control", [False, True])
async def test_a_host_of_the_session_is_its_requests_host(
    clients: Clients, origin: Origin, cache_control: bool
) -> None:
    url = origin.on("/", of_host)
    one = clients(cache_control=cache_control, session={"headers": {"Host": "a.test"}})
    other = clients(backend=one.backend)
    for client, host in ((one, "a.test"), (other, url.split("/")[2])) * 3:
        assert (await ask(client, url))[1].startswith(host + " GET")
    one.session.headers["Host"] = "b.test"
    assert (await ask(one, url))[1].startswith("b.test GET")


async def test_a_host_that_a_middleware_gives_counts(clients: Clients, origin: Origin) -> None:
    hosts = iter(["a.test", "b.test", "a.test", "b.test"])

    async def route(request: ClientRequest, handler: Any) -> Any:
        request.headers["Host"] = next(hosts)
        return await handler(request)

    url = origin.on("/", of_host)
    client = clients(session={"middlewares": (route,)})
    found = [await ask(client, url) for _ in range(4)]
    assert [is_hit for is_hit, _ in found] == [False, False, True, True]
    assert [text.partition(" ")[0] for _, text in found] == ["a.test", "b.test"] * 2


@pytest.mark.parametrize("cache_control", [False, True])
async def test_requests_of_two_hosts_are_not_collapsed(clients: Clients, origin: Origin, cache_control: bool) -> None:
    go_on = asyncio.Event()

    async def slow(request: Received) -> bytes:
        await go_on.wait()
        return of_host(request)

    url = origin.on("/", slow)
    client = clients(cache_control=cache_control)
    hosts = ["a.test", "b.test", "", "a.test", "b.test", ""]
    asked = [asyncio.create_task(ask(client, url, host)) for host in hosts]
    await origin.arrival()
    go_on.set()
    for host, (_, text) in zip(hosts, await asyncio.gather(*asked), strict=True):
        assert text.startswith((host or url.split("/")[2]) + " GET")
    assert origin.hits == 3


async def test_a_change_on_one_host_is_none_on_another(clients: Clients, origin: Origin) -> None:
    url = origin.on("/", of_host)
    client = clients(cache_control=True)
    hosts = ["a.test", "b.test", ""]
    first = [(await ask(client, url, host))[1] for host in hosts]
    await ask(client, url, "a.test", "PUT")
    assert await ask(client, url, "b.test") == (True, first[1])
    assert await ask(client, url) == (True, first[2])
    assert not (await ask(client, url, "a.test"))[0]
    await ask(client, url, method="DELETE")
    assert await ask(client, url, "b.test") == (True, first[1])
    assert (await ask(client, url, "a.test"))[0]
    assert not (await ask(client, url))[0]


async def test_a_change_is_seen_where_the_host_says_it_is(clients: Clients, origin: Origin) -> None:
    url = origin.on("/", of_host)
    origin.on("/edit", answer(headers={"Location": "/", "Content-Location": "http://a.test/other"}))
    other = origin.on("/other", of_host)
    client = clients(cache_control=True)
    for where in (url, other):
        for host in ("a.test", "b.test"):
            await ask(client, where, host)
    await ask(client, origin.url + "/edit", "a.test", "POST")
    assert [(await ask(client, url, host))[0] for host in ("a.test", "b.test")] == [False, True]
    assert [(await ask(client, other, host))[0] for host in ("a.test", "b.test")] == [False, True]


@pytest.mark.parametrize("cache_control", [False, True])
async def test_a_redirect_of_one_host_leads_no_other(clients: Clients, origin: Origin, cache_control: bool) -> None:
    def redirect(request: Received) -> bytes:
        return answer(status=301, reason="Moved", headers={"Location": f"/of/{request.headers['Host']}"})

    for host in ("a.test", "b.test"):
        origin.on(f"/of/{host}", of_host)
    url, client = origin.on("/", redirect), clients(cache_control=cache_control)
    for _ in range(3):
        for host in ("a.test", "b.test"):
            assert (await ask(client, url, host))[1].startswith(f"{host} GET")
    assert origin.hits == 4


async def test_a_head_request_is_answered_by_its_own_host(clients: Clients, origin: Origin) -> None:
    url, client = origin.on("/", of_host), clients(cache_control=True)
    await ask(client, url, "a.test")
    assert (await ask(client, url, "a.test", "HEAD"))[0]
    assert not (await ask(client, url, "b.test", "HEAD"))[0]
    assert not (await ask(client, url, "", "HEAD"))[0]
