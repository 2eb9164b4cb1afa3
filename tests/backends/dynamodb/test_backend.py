"""DynamoDBBackend and DynamoDbCache: what users see, on a real server."""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from aiohttp_cache_di import CachedSession, ConfigurationError, DynamoDBBackend, DynamoDbCache, MissingDependencyError
from aiohttp_cache_di.response import CachedResponse
from tests.backends.contract import MakeStorage, StorageContract
from tests.backends.entries import make_entry
from tests.blocking import allowed_to_block
from tests.ministack import CREDENTIALS, MinistackServer, create_client
from tests.origin import Origin, Received, answer

MakeBackend = Callable[..., DynamoDBBackend]


class TestContract(StorageContract):
    """All that every storage keeps to."""

    @pytest.fixture
    def make(self, ministack: MinistackServer) -> MakeStorage:
        name = uuid.uuid4().hex
        return partial(
            DynamoDbCache, name, "responses", create_if_not_exists=True, endpoint_url=ministack.url, **CREDENTIALS
        )


@pytest.fixture
def make_backend(ministack: MinistackServer) -> MakeBackend:
    """Make backends on one table."""
    name = uuid.uuid4().hex
    return partial(
        DynamoDBBackend,
        name,
        create_if_not_exists=True,
        endpoint_url=ministack.url,
        autoclose=True,
        storage_deadline=5.0,
        **CREDENTIALS,
    )


async def test_a_response_is_stored_once_for_all_processes(origin: Origin, make_backend: MakeBackend) -> None:
    url = origin.on("/a", answer("body"))
    seen: list[bool] = []
    for _ in range(2):
        async with CachedSession(cache=make_backend()) as session:
            async with session.get(url) as response:
                assert await response.text() == "body"
            seen.append(getattr(response, "from_cache", False))
            assert session.cache.stats.store_errors == {}
    assert (origin.hits, seen) == (1, [False, True])


async def test_redirects_and_responses_share_a_table_and_are_shown_apart(
    origin: Origin, make_backend: MakeBackend
) -> None:
    origin.on("/a", answer("body"))
    url = origin.on("/redirect", answer(status=301, headers={"Location": "/a"}))
    async with CachedSession(cache=make_backend()) as session:
        async with session.get(url) as response:
            await response.read()
        cache = session.cache
        assert (await cache.responses.size(), await cache.redirects.size()) == (1, 1)
        await cache.redirects.clear()
        assert (await cache.responses.size(), await cache.redirects.size()) == (1, 0)


async def test_one_of_many_processes_fetches_what_all_ask_for(origin: Origin, make_backend: MakeBackend) -> None:
    async def slowly(request: Received) -> bytes:
        await asyncio.sleep(0.3)
        return answer(f"{request.number}")

    url = origin.on("/slow", slowly)
    sessions = [CachedSession(cache=make_backend()) for _ in range(4)]

    async def fetch(session: CachedSession) -> str:
        async with session.get(url) as response:
            return await response.text()

    bodies = await asyncio.gather(*(fetch(session) for session in sessions for _ in range(5)))
    for session in sessions:
        await session.close()
    assert set(bodies) == {"1"}


@pytest.mark.parametrize("size", [0, 399_000, 401_000, 5_000_000, 17_000_000])
async def test_a_body_of_any_size_is_kept(make_backend: MakeBackend, size: int) -> None:
    backend = make_backend(storage_deadline=20.0)
    entry = make_entry("k", bytes(size))
    await backend.responses.write("k", CachedResponse.from_stored(entry))
    item = await backend.responses.read("k")
    assert isinstance(item, CachedResponse)
    assert item.stored == entry
    assert await backend.responses.size() == 1
    await backend.delete("k")
    assert await backend.stack.store.get(["k", "k\0chunk 0", "k\0chunk 1"]) == [None] * 3
    await backend.close()


async def test_a_copy_in_memory_is_believed_for_its_lifetime(make_backend: MakeBackend) -> None:
    one, two = make_backend(near_tier_s=0.3), make_backend()
    await two.responses.write("k", CachedResponse.from_stored(make_entry("k")))
    await one.stack.here().fetch("k")
    await two.delete("k")
    assert one.responses.peek("k") is not None
    await asyncio.sleep(0.31)
    assert one.responses.peek("k") is None
    assert await one.responses.read("k") is None
    await one.close()
    await two.close()


async def test_a_context_may_be_handed_in(ministack: MinistackServer) -> None:
    context = create_client(ministack.url)
    backend = DynamoDBBackend(uuid.uuid4().hex, create_if_not_exists=True, context=context)
    with allowed_to_block("the context is the user's, and reads its files when it is entered"):
        await backend.redirects.write("alias", "target")
    assert await backend.redirects.read("alias") == "target"
    await backend.close()


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"region": "x"}, TypeError, "did you mean 'region_name'"),
        ({"context": object()}, ConfigurationError, "context"),
        ({"val_attr_name": "k"}, ConfigurationError, "val_attr_name"),
        ({"near_tier_s": 0}, ConfigurationError, "near_tier_s"),
        ({"near_tier_s": 1, "near_tier_bytes": 0}, ConfigurationError, "near_tier_bytes"),
        ({"secret_key": ""}, ConfigurationError, "secret_key"),
    ],
)
def test_an_option_that_cannot_be_used_is_an_error_at_once(options: Any, error: type[Exception], text: str) -> None:
    for make in (DynamoDBBackend, partial(DynamoDbCache, "table", "responses")):
        with pytest.raises(error, match=text):
            make(**options)


def test_a_backend_says_where_it_is() -> None:
    backend = DynamoDBBackend("table", region_name="eu-west-1")
    assert repr(backend) == "<DynamoDBBackend 'table' at eu-west-1>"
    assert repr(backend.responses) == "<DynamoDbCache at eu-west-1>"


def test_a_missing_driver_is_said_with_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiobotocore.session", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'aiohttp-cache-di\[dynamodb\]'"):
        DynamoDBBackend()
