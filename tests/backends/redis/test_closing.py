"""Closing while a connection is being opened, at any moment: no connection is left, which would warn when collected."""

from __future__ import annotations

import asyncio
import gc
import warnings
from types import SimpleNamespace
from typing import Any, cast

import pytest

from aiohttp_cache_di.backends.redis.servers.endpoints import _Connections
from tests.backends.redis.opened import store_at
from tests.interleaving import at_line
from tests.valkey import ValkeyServer
from tests.valkey_cluster import ValkeyCluster
from tests.valkey_sentinels import Sentinels

STEPS = 120
"""Turns of the loop, in which any of these is opened and has answered."""


@pytest.mark.parametrize("kind", ["valkey", "sentinels", "cluster"])
async def test_closing_at_any_moment_of_an_opening_leaves_nothing_open(
    kind: str, request: pytest.FixtureRequest
) -> None:
    servers: ValkeyServer | Sentinels | ValkeyCluster = request.getfixturevalue(kind)
    outcomes: set[str] = set()
    with warnings.catch_warnings(record=True) as complaints:
        warnings.simplefilter("always")
        for steps in range(STEPS):
            store = store_at(servers.url)
            asking = asyncio.ensure_future(store.get(["k"]))
            for _ in range(steps):
                await asyncio.sleep(0)
            await store.close()
            async with asyncio.timeout(20):
                await asyncio.wait([asking])
            outcomes.add(type(asking.exception()).__name__)
            await store.close()
            del store, asking
        gc.collect()
    assert [str(each.message) for each in complaints] == []
    assert outcomes == {"NoneType", "StorageError"}, "some were closed while they were opened, and some after that"


def test_connections_that_another_thread_lets_go_meanwhile_are_no_error() -> None:
    loops = [asyncio.new_event_loop() for _ in range(3)]
    for number in range(20):
        connections = _Connections()
        connections.update({loop: cast("Any", SimpleNamespace(abort=bool)) for loop in loops})
        with at_line(number, connections.clear):
            connections.let_go()
        assert not connections
    for loop in loops:
        loop.close()
