"""Which requests share a response, as an origin sees it, in each way to cache."""

from __future__ import annotations

import asyncio

import pytest

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
