"""Bases of a session in addition to the cache: which are called for hits, and which only for requests to the origin."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

import pytest
from aiohttp import (
    ClientRequest,
    ClientResponse,
    ClientResponseError,
    ClientSession,
    ClientTimeout,
    DigestAuthMiddleware,
    TCPConnector,
    TraceConfig,
)

from aiohttp_cache_di import CacheMixin
from aiohttp_cache_di.engine.bases.overrides import hands_on, taken_by
from tests.origin import Origin, answer

logger = logging.getLogger(__name__)


class Bucket:
    """Counts what it lets through."""

    def __init__(self) -> None:
        self.spent = 0

    async def take(self, weight: int = 1) -> bool:
        self.spent += weight
        return True

    def try_take(self) -> bool:
        self.spent += 1
        return True

    async def __aenter__(self) -> None:
        self.spent += 1

    async def __aexit__(self, *error: object) -> None:
        """Release the limit."""


class Base:
    """A base with a limit; the next base is one like this or `aiohttp.ClientSession`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.bucket = Bucket()
        self.wait_until = 0.0


def guarded(function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @wraps(function)
    async def limited(self: Any, *args: Any, **kwargs: Any) -> Any:
        async with self.bucket:
            return await function(self, *args, **kwargs)

    return limited


class Raising(Base):
    async def _request(self, *args: Any, **kwargs: Any) -> Any:
        base: Any = super()
        assert self.bucket is not None
        if not self.bucket.try_take():
            raise RuntimeError("there is no more to be had this minute")
        return await base._request(*args, **kwargs)


class Timed(Base):
    async def _request(self, *args: Any, **kwargs: Any) -> Any:
        base: Any = super()
        now = time.monotonic()
        wait_s = self.wait_until - now
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        async with asyncio.timeout(30), self.bucket:
            return await base._request(*args, **kwargs)


class Retrying(Base):
    async def _request(self, method: str, url: Any, **kwargs: Any) -> Any:
        base: Any = super()
        response = None
        for _ in range(3):
            await self.bucket.take()
            response = await base._request(method, url, **kwargs)
            if response.status != 429:
                return response
            response.release()
            logger.debug("%s is asked again", url)
            await asyncio.sleep(float(response.headers.get("Retry-After", "0")))
        return response


class Weighing(Base):
    async def _request(self, method: str, str_or_url: Any, *, weight: int = 1, **kwargs: Any) -> Any:
        base: Any = super()
        await self.bucket.take(weight and 1)
        return await base._request(method, str_or_url, **kwargs)


class Popping(Base):
    async def _request(self, *args: Any, **kwargs: Any) -> Any:
        base: Any = super()
        await self.bucket.take(kwargs.pop("weight", 1) and 1)
        return await base._request(*args, **kwargs)


class Spelling(Base):
    async def _request(
        self, method: str, str_or_url: Any, *, params: Any = None, data: Any = None, headers: Any = None, **kwargs: Any
    ) -> Any:
        base: Any = super()
        await self.bucket.take()
        return await base._request(method, str_or_url, params=params, data=data, headers=headers, **kwargs)


class Naming(Base):
    async def _request(self, method: str, url: Any, *, params: Any = None, **kwargs: Any) -> Any:
        base: Any = super()
        await self.bucket.take()
        return await base._request(method=method, str_or_url=url, params=params, **kwargs)


class Direct(Base):
    async def _request(self, *args: Any, **kwargs: Any) -> Any:
        await self.bucket.take()
        return await ClientSession._request(self, *args, **kwargs)  # type: ignore[arg-type]  # pyright: ignore  # it is one


class Decorated(Base):
    @guarded
    async def _request(self, *args: Any, **kwargs: Any) -> Any:
        base: Any = super()
        return await base._request(*args, **kwargs)


LIMITING = [Raising, Timed, Retrying, Weighing, Popping, Spelling, Naming, Direct, Decorated]


async def passing(request: ClientRequest, handler: Callable[[Any], Awaitable[ClientResponse]]) -> ClientResponse:
    """A middleware that does nothing."""
    return await handler(request)


@pytest.mark.parametrize("made", ["plain", "traced", "with middlewares"])
@pytest.mark.parametrize("base", LIMITING)
async def test_a_hit_does_not_spend_the_limit_of_a_base_however_it_is_written(
    base: type[Base], made: str, origin: Origin
) -> None:
    class Limited(CacheMixin, base, ClientSession):  # type: ignore[misc, valid-type]
        pass

    ways: dict[str, dict[str, Any]] = {
        "plain": {},
        "traced": {"trace_configs": [TraceConfig()]},
        "with middlewares": {"middlewares": (passing,)},
    }
    asked: list[dict[str, Any]] = [{}, {"params": {"a": "b"}, "headers": {"X-A": "b"}, "timeout": ClientTimeout(30)}]
    asked += [{"data": b"a"}]
    if base in (Weighing, Popping):
        asked += [{"weight": 5, "params": {"w": "5"}}]
    url = origin.on("/", lambda request: answer(request.target.encode() + request.body))
    session: Any = Limited(cache_control=True, **ways[made])
    async with session:
        for spent, each in enumerate(asked, 1):
            found = set[str]()
            for hit in (False, True, True):
                async with session.get(url, **each) as response:
                    found.add(await response.text())
                    assert response.from_cache is hit
            assert (len(found), session.bucket.spent, origin.hits) == (1, spent, spent)
        with pytest.raises(TypeError, match="misspelt"):
            await session.get(url, misspelt=5)


class RetryingOnErrors(Base):
    async def _request(self, *args: Any, **kwargs: Any) -> Any:
        base: Any = super()
        for _ in range(2):
            try:
                await self.bucket.take()
                return await base._request(*args, **kwargs)
            except ClientResponseError as error:
                logger.debug("asked again after %s", error.status)
        await self.bucket.take()
        return await base._request(*args, **kwargs)


@pytest.mark.parametrize("limit", [1, 100])
@pytest.mark.parametrize("is_of_session", [True, False])
@pytest.mark.parametrize("made", ["plain", "traced", "with middlewares"])
async def test_a_base_that_retries_after_errors_by_status_does_so_as_without_the_cache(
    made: str, origin: Origin, *, is_of_session: bool, limit: int
) -> None:
    class Retrying(CacheMixin, RetryingOnErrors, ClientSession):
        pass

    ways: dict[str, dict[str, Any]] = {
        "plain": {},
        "traced": {"trace_configs": [TraceConfig()]},
        "with middlewares": {"middlewares": (passing,)},
    }
    given: dict[str, Any] = {"raise_for_status": True}
    of_session, of_request = (given, {}) if is_of_session else ({}, given)
    large = b"x" * 300_000  # more than arrives with the head
    recovering = origin.on(
        "/recovers", lambda request: answer("well") if request.number == 3 else answer(large, status=503)
    )
    down = origin.on("/down", lambda request: answer(large, status=503))
    session: Any = Retrying(
        cache_control=True, connector=TCPConnector(limit=limit), timeout=ClientTimeout(20), **ways[made], **of_session
    )
    async with session:
        for hit in (False, True):
            async with session.get(recovering, **of_request) as response:
                assert await response.text() == "well"
                assert response.from_cache is hit
        assert (origin.hits_of("/recovers"), session.bucket.spent) == (3, 3)
        with pytest.raises(ClientResponseError) as caught:
            await session.get(down, **of_request)
        assert (caught.value.status, origin.hits_of("/down"), session.bucket.spent) == (503, 3, 6)


async def test_a_stored_response_is_used_after_all_attempts_of_a_base_have_failed(origin: Origin) -> None:
    class Retrying(CacheMixin, RetryingOnErrors, ClientSession):
        pass

    url = origin.on(
        "/",
        lambda request: (
            answer("stored", headers={"Cache-Control": "max-age=0, stale-if-error=60"})
            if request.number == 1
            else answer("down", status=503)
        ),
    )
    async with Retrying(cache_control=True, middlewares=(passing,), raise_for_status=True) as session:
        for asked in (1, 4):
            async with session.get(url) as response:
                assert await response.text() == "stored"
            assert origin.hits == asked


async def test_a_login_by_digest_is_not_repeated_by_a_base_that_retries(origin: Origin) -> None:
    class Retrying(CacheMixin, RetryingOnErrors, ClientSession):
        pass

    challenge = {"WWW-Authenticate": 'Digest realm="r", nonce="n", qop="auth"'}
    url = origin.on(
        "/",
        lambda request: answer("in") if "Authorization" in request.headers else answer(status=401, headers=challenge),
    )
    login = DigestAuthMiddleware("me", "secret")
    async with Retrying(middlewares=(login,), raise_for_status=True) as session:
        assert await (await session.get(url)).text() == "in"
    assert origin.hits == 2


async def test_what_a_base_refuses_to_send_is_refused_and_what_is_stored_is_not(origin: Origin) -> None:
    class Empty(Base):
        is_empty = False

        async def _request(self, *args: Any, **kwargs: Any) -> Any:
            base: Any = super()
            if self.is_empty:
                raise PermissionError("nothing more is sent")
            return await base._request(*args, **kwargs)

    class OnEmpty(CacheMixin, Empty, ClientSession):
        pass

    url = origin.on("/", lambda request: answer(request.target))
    async with OnEmpty() as session:
        assert await (await session.get(url)).text() == "/"
        session.is_empty = True
        assert await (await session.get(url, headers={"X-A": "b"})).text() == "/"
        with pytest.raises(PermissionError, match="nothing more is sent"):
            await session.get(url, params={"a": "b"})


def test_what_matters_to_a_request_has_to_be_handed_on_as_it_is() -> None:
    class Bases:
        def dropping(self, method: str, url: Any, *, headers: Any = None, **kwargs: Any) -> Any:
            return super()._request(method, url, **kwargs)  # type: ignore[misc]  # pyright: ignore

        def mutating(self, method: str, url: Any, *, headers: Any = None, **kwargs: Any) -> Any:
            headers["X-A"] = "b"
            return super()._request(method, url, headers=headers, **kwargs)  # type: ignore[misc]  # pyright: ignore

        def swapping(self, method: str, url: Any, *, headers: Any = None, params: Any = None, **kwargs: Any) -> Any:
            return super()._request(method, url, headers=params, params=headers, **kwargs)  # type: ignore[misc]  # pyright: ignore

        def constant(self, method: str, url: Any, *, headers: Any = None, **kwargs: Any) -> Any:
            return super()._request(method, url, headers={}, **kwargs)  # type: ignore[misc]  # pyright: ignore

        def renaming(self, method: str, url: Any, **kwargs: Any) -> Any:
            return super()._request(str_or_url=method, method=url, **kwargs)  # type: ignore[misc]  # pyright: ignore

        def forgetting(self, method: str, url: Any, **kwargs: Any) -> Any:
            return super()._request(method=method, **kwargs)  # type: ignore[misc]  # pyright: ignore

        def defaulting(self, method: str, url: Any, headers: Any = None, **kwargs: Any) -> Any:
            return super()._request(method, url, **kwargs)  # type: ignore[misc]  # pyright: ignore

        def telling(self, *args: Any, **kwargs: Any) -> Any:
            return super()._request(*args, tenant="a", **kwargs)  # type: ignore[misc]  # pyright: ignore

        def placing(self, *args: Any, **kwargs: Any) -> Any:
            kwargs["tenant"] = "a"
            return super()._request(*args, **kwargs)  # type: ignore[misc]  # pyright: ignore

        def popping(self, *args: Any, **kwargs: Any) -> Any:
            kwargs.pop("headers", None)
            return super()._request(*args, **kwargs)  # type: ignore[misc]  # pyright: ignore

        def setting(self, *args: Any, **kwargs: Any) -> Any:
            me: Any = self
            me.headers["X-A"] = "b"
            return super()._request(*args, **kwargs)  # type: ignore[misc]  # pyright: ignore

        async def looking(self, *args: Any, **kwargs: Any) -> Any:
            base: Any = super()
            response = await base.look_up()
            if response is None:
                response = await base._request(*args, **kwargs)
            return response

        async def emptying(self, *args: Any, **kwargs: Any) -> Any:
            base: Any = super()
            response = await base._request(*args, **kwargs)
            if response.status == 404:
                response = base
            return response

        async def reacting(self, *args: Any, **kwargs: Any) -> Any:
            base: Any = super()
            status = 0
            while True:
                if status == 404:
                    raise LookupError
                response = await base._request(*args, **kwargs)
                status = response.status
                if status != 404:
                    return response

    for name, method in vars(Bases).items():
        if not name.startswith("__"):
            assert not hands_on(method), name
    for base in LIMITING:
        assert hands_on(vars(base)["_request"]), base.__name__
    assert taken_by(vars(Weighing)["_request"]) == taken_by(vars(Popping)["_request"]) == frozenset({"weight"})
    assert taken_by(vars(Spelling)["_request"]) == frozenset()


LATER = """
class Labelled:
    def __init__(self, *args, label: Label = None, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.label = label

    async def _request(self, method: Label, url: Label, *, weight: Label = 1, **kwargs: Label) -> Label:
        return await super()._request(method, url, **kwargs)
"""


@pytest.mark.skipif(sys.version_info < (3, 14), reason="annotations are evaluated where they are written")
async def test_a_base_may_name_types_that_are_there_for_type_checkers_alone(origin: Origin) -> None:
    defined: dict[str, Any] = {}
    exec(compile(LATER, __file__, "exec", dont_inherit=True), defined)  # noqa: S102  # as in a module without the import
    base: Any = defined["Labelled"]
    session_class: Any = type("Session", (CacheMixin, base, ClientSession), {})
    url = origin.on("/", lambda request: answer(request.target))
    session = session_class(label="a")
    async with session:
        for hit in (False, True):
            async with session.get(url, weight=2) as response:
                assert response.from_cache is hit
        with pytest.raises(TypeError, match="wieght"):
            await session.get(url, wieght=2)
    assert (session.label, origin.hits) == ("a", 1)
