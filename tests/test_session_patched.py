"""A session whose methods another package has replaced, as sentry-sdk 1.x does, or that a subclass initialises."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Awaitable, Callable
from functools import partialmethod
from typing import Any

import pytest
from aiohttp import ClientResponse, ClientSession

from aiohttp_cache_di.arguments import named_parameters
from aiohttp_cache_di.backends import CacheBackend
from aiohttp_cache_di.containers import CacheContainer, open_container
from aiohttp_cache_di.session import CachedSession, CacheMixin
from aiohttp_cache_di.settings import CacheSettings
from tests.origin import Origin, answer


def wrapped_init(init: Callable[..., None]) -> Callable[..., None]:
    def instrumented(*args: Any, **kwargs: Any) -> None:
        init(*args, **kwargs)

    return instrumented


def wrapped_request(request: Callable[..., Awaitable[ClientResponse]]) -> Callable[..., Awaitable[ClientResponse]]:
    async def instrumented(*args: Any, **kwargs: Any) -> ClientResponse:
        return await request(*args, **kwargs)

    return instrumented


@pytest.fixture(params=["init", "request", "both"])
def _instrumented(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param != "request":
        monkeypatch.setattr(ClientSession, "__init__", wrapped_init(ClientSession.__init__))
    if request.param != "init":
        monkeypatch.setattr(ClientSession, "_request", wrapped_request(ClientSession._request))


@pytest.mark.usefixtures("_instrumented")
async def test_a_session_takes_what_aiohttps_own_takes(origin: Origin) -> None:
    url = origin.on("/", lambda request: answer(request.headers["X-A"]))

    async with CachedSession(headers={"X-A": "b"}, expire_after=60) as session:
        assert session.cache.expire_after == 60
        for hit in (False, True):
            async with session.get(url, allow_redirects=False) as response:
                assert (await response.text(), getattr(response, "from_cache", False)) == ("b", hit)


@pytest.mark.usefixtures("_instrumented")
async def test_a_container_starts() -> None:
    container: Any = CacheContainer(settings=CacheSettings.model_construct(backend="memory"))

    async with open_container(container) as session:
        assert not session.closed


@pytest.mark.parametrize("name", ["__init__", "_request"])
async def test_a_method_whose_signature_cannot_be_read_is_no_obstacle(
    name: str, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ClientSession, name, partialmethod(vars(ClientSession)[name]))
    url = origin.on("/", lambda request: answer(request.headers["X-A"]))

    async with CachedSession(headers={"X-A": "b"}, expire_after=60) as session:
        assert await (await session.get(url)).text() == "b"
        misspelt: dict[str, Any] = {"heders": {}}
        with pytest.raises(TypeError, match="heders"):
            await session.get(url, **misspelt)


@pytest.mark.usefixtures("_instrumented")
async def test_what_neither_takes_is_still_refused(origin: Origin) -> None:
    misspelt: dict[str, Any] = {"heders": {}}

    with pytest.raises(TypeError, match="heders"):
        CachedSession(**misspelt)
    async with CachedSession() as session:
        with pytest.raises(TypeError, match="heders"):
            await session.get(origin.url, **misspelt)


def test_a_session_that_was_replaced_before_the_import_is_no_obstacle() -> None:
    code = """
import asyncio, aiohttp
init, request = aiohttp.ClientSession.__init__, aiohttp.ClientSession._request
def new_init(*args, **kwargs): return init(*args, **kwargs)
async def new_request(*args, **kwargs): return await request(*args, **kwargs)
aiohttp.ClientSession.__init__, aiohttp.ClientSession._request = new_init, new_request
from aiohttp_cache_di import CacheBackend, CachedSession
async def main():
    async with CachedSession(headers={"A": "b"}, expire_after=5) as session:
        print(session.headers["A"], session.cache.expire_after)
        CacheBackend().create_key("GET", "http://a.test", allow_redirects=False)
asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False, timeout=60
    )

    assert (done.stdout, done.stderr) == ("b 5\n", "")


def test_what_a_function_hands_on_is_not_known() -> None:
    assert named_parameters(wrapped_init(ClientSession.__init__)) is None
    assert "headers" in (named_parameters(ClientSession.__init__) or ())


class Strict(CacheMixin, ClientSession):
    """A session with parameters that are named like options of the cache, some of which it passes on."""

    def __init__(self, name: str, lease: float = 7.0, expire_after: float = 60, headers: Any = None) -> None:
        super().__init__(cache_name=name, lease=lease, expire_after=expire_after, headers=headers)


async def test_a_subclass_may_name_its_parameters_like_options_of_the_cache() -> None:
    async with Strict("api", headers={"A": "b"}) as session:
        assert (session.cache.name, session.cache.lease_s, session.cache.expire_after) == ("api", 7.0, 60)
        assert session.headers["A"] == "b"


async def test_a_base_below_the_mixin_keeps_its_parameters() -> None:
    class Named:
        def __init__(self, *, lease: str = "none") -> None:
            super().__init__(headers={"Lease": lease})  # type: ignore[call-arg]  # pyright: ignore  # of the next base

    class OnNamed(CacheMixin, Named, ClientSession):
        pass

    async with OnNamed(lease="long", expire_after=5) as session:
        assert (session.headers["Lease"], session.cache.expire_after) == ("long", 5)


async def test_a_base_that_takes_more_keeps_the_parameters_that_it_names() -> None:
    class Open:
        def __init__(self, *args: Any, lease: str = "none", principal: str = "none", **kwargs: Any) -> None:
            headers = {"Lease": lease, "Principal": principal}
            super().__init__(*args, headers=headers, **kwargs)  # type: ignore[call-arg]  # pyright: ignore  # of the next

    class OnOpen(CacheMixin, Open, ClientSession):
        pass

    async with OnOpen(lease="long", principal="me", expire_after=5, raise_for_status=True) as session:
        assert (session.headers["Lease"], session.headers["Principal"]) == ("long", "me")
        assert (session.cache.expire_after, session.cache.lease_s, session.principal) == (5, 2.0, None)
    async with OnOpen(cache=CacheBackend(lease=3), lease="long") as session:
        assert (session.headers["Lease"], session.cache.lease_s) == ("long", 3)
    misspelt: dict[str, Any] = {"expire_aftr": 5}
    with pytest.raises(TypeError, match="expire_aftr"):
        OnOpen(**misspelt)
