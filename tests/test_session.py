"""What is specific to CachedSession: construction, options, disabling, expiry and closing."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import warnings
import weakref
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import pytest
from aiohttp import ClientConnectionError, ClientResponse, ClientSession, CookieJar, DummyCookieJar, TraceConfig, hdrs

from aiohttp_cache_di import CachedResponse, CachedSession, CacheMiddleware, CacheMixin, ConfigurationError, RedisCache
from aiohttp_cache_di.backends import CacheBackend, DictCache
from aiohttp_cache_di.testing import CacheClock
from tests.origin import Origin, Received, answer
from tests.storages import CustomBackend


def numbered(request: Received) -> bytes:
    """Answer with the number of the request."""
    return answer(str(request.number))


async def fetch(session: ClientSession, url: str, **options: Any) -> tuple[bool, str]:
    """Whether the response was a hit, and its text."""
    async with session.get(url, **options) as response:
        return isinstance(response, CachedResponse), await response.text()


def session_on(cache: Any) -> CachedSession:
    """A session on *cache*, of any type."""
    return CachedSession(cache=cache)


class TestConstruction:
    async def test_the_default_cache_is_in_memory_and_the_session_s_own(self) -> None:
        async with CachedSession() as session:
            assert type(session.cache) is CacheBackend
            assert isinstance(session.cache.responses, DictCache)

    async def test_options_of_the_backend_are_handed_on_to_the_default_one(self) -> None:
        async with CachedSession(expire_after=3, cache_control=True, headers={"A": "b"}) as session:
            assert (session.cache.expire_after, session.cache.cache_control) == (3, True)
            assert session.headers["A"] == "b"

    async def test_options_of_the_backend_beside_a_backend_are_refused(self) -> None:
        with pytest.raises(
            TypeError, match=r"expire_after=3 is not what the backend has \(-1\).*give it there, or leave it out"
        ):
            CachedSession(cache=CacheBackend(), expire_after=3)

    async def test_a_storage_is_not_taken_for_a_backend(self) -> None:
        wrong: Any = DictCache()
        with pytest.raises(TypeError, match=r"cache= takes a CacheBackend, and <DictCache .*: use a CacheBackend with"):
            CachedSession(cache=wrong)

    async def test_a_storage_that_is_called_like_a_backend_is_told_with_the_backend(self) -> None:
        wrong: Any = RedisCache()
        with pytest.raises(TypeError, match=r"<RedisCache .*> is a storage: use RedisBackend$"):
            CachedSession(cache=wrong)
        wrong = "redis"
        with pytest.raises(TypeError, match=r"cache= takes a CacheBackend, not 'redis': use one such as SQLiteBackend"):
            CachedSession(cache=wrong)

    async def test_a_backend_in_the_place_of_the_base_url_is_refused_with_the_way_out(self) -> None:
        wrong: Any = CacheBackend()
        with pytest.raises(TypeError, match=r"^CachedSession: give the CacheBackend as cache=$"):
            CachedSession(wrong)

    @pytest.mark.parametrize("make", [session_on, CacheMiddleware])
    async def test_what_is_no_backend_is_refused_and_no_password_told(self, make: Callable[[Any], object]) -> None:
        with pytest.raises(TypeError, match=r"not the class CacheBackend: call it$"):
            make(CacheBackend)
        with pytest.raises(TypeError, match="not an address: use one such as RedisBackend") as caught:
            make("redis://:hunter2@localhost")
        assert "hunter2" not in str(caught.value)

    async def test_a_name_that_is_almost_cache_is_told_so(self) -> None:
        for name in ("cach", "backend"):
            misspelt: Any = {name: None}
            with pytest.raises(TypeError, match=f"'{name}'; did you mean 'cache'"):
                CachedSession(**misspelt)

    async def test_a_misspelt_option_is_refused_with_the_right_one(self) -> None:
        with pytest.raises(TypeError, match="'expire_afer'; did you mean 'expire_after'"):
            CachedSession(expire_afer=3)  # type: ignore[call-arg]  # the misspelling is tested

    async def test_a_misspelt_option_of_a_request_is_refused_with_the_right_one(self, origin: Origin) -> None:
        async with CachedSession() as session:
            misspelt: Any = {"expire_afer": 3}
            with pytest.raises(TypeError, match="'expire_afer'; did you mean 'expire_after'"):
                await session.get(origin.on("/", numbered), **misspelt)

    @pytest.mark.parametrize(
        ("name", "meant"),
        [("ttl", "expire_after"), ("no_cache", "refresh"), ("force_refresh", "refresh"), ("verify", "ssl")],
    )
    async def test_an_option_of_another_library_is_refused_with_its_name_here(self, name: str, meant: str) -> None:
        async with CachedSession() as session:
            option: Any = {name: True}
            with pytest.raises(TypeError, match=f"{name!r}; did you mean {meant!r}"):
                await session.get("http://127.0.0.1/", **option)

    @pytest.mark.parametrize("name", ["timeout", "use_cache"])
    async def test_an_option_that_means_something_else_is_not_suggested(self, name: str) -> None:
        option: Any = {name: 5}
        with pytest.raises(TypeError, match=f"{name!r}; it takes allowed_codes, "):
            CacheBackend(**option)

    async def test_a_wrong_lifetime_is_refused_at_the_request(self, origin: Origin) -> None:
        async with CachedSession() as session:
            with pytest.raises(ConfigurationError, match="tomorrow-ish"):
                await session.get(origin.on("/", numbered), expire_after="tomorrow-ish")

    async def test_a_session_class_need_not_know_of_what_the_mixin_does(self, origin: Origin) -> None:
        with pytest.warns(DeprecationWarning, match="discouraged"):

            class Api(ClientSession):
                """A session that takes only one argument."""

                def __init__(self, token: str) -> None:
                    super().__init__(headers={"X-Token": token})

        class CachedApi(CacheMixin, Api):
            """The same with a cache."""

        async with CachedApi("secret") as session:
            url = origin.on("/", lambda request: answer(request.headers["X-Token"]))
            assert [await fetch(session, url) for _ in range(2)] == [(False, "secret"), (True, "secret")]

    async def test_the_mixin_combines_with_other_mixins(self, origin: Origin) -> None:
        class Counting:
            """A mixin of a user's."""

            def __init__(self, *args: Any, label: str = "", **kwargs: Any) -> None:
                super().__init__(*args, **kwargs)
                self.label, self.requests = label, 0

            async def _request(self, *args: Any, **kwargs: Any) -> Any:
                self.requests += 1
                parent: Any = super()
                return await parent._request(*args, **kwargs)

        class CustomSession(CacheMixin, Counting, ClientSession):
            """The example of the documentation."""

        url = origin.on("/", numbered)
        async with CustomSession(label="mine", expire_after=60, raise_for_status=True) as session:
            assert [await fetch(session, url) for _ in range(3)] == [(False, "1"), (True, "1"), (True, "1")]
            assert (session.label, session.cache.expire_after) == ("mine", 60)
            assert session.requests >= 1

    def test_a_session_class_of_the_mixin_is_not_discouraged_and_one_of_the_session_is(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            type("OfTheMixin", (CacheMixin, ClientSession), {})
        with pytest.warns(DeprecationWarning, match="Inheritance class OfTheSession from ClientSession is discouraged"):
            type("OfTheSession", (CachedSession,), {})

    async def test_another_backend_may_take_the_place_of_the_first(self, origin: Origin) -> None:
        url = origin.on("/", numbered)
        async with CachedSession() as session:
            for _ in range(3):
                await fetch(session, url)
            session.cache = other = CacheBackend()
            assert [await fetch(session, url) for _ in range(3)] == [(False, "2"), (True, "2"), (True, "2")]
            assert await other.responses.size() == 1

    async def test_its_attributes_are_among_those_that_aiohttp_knows(self) -> None:
        async with CachedSession() as session:
            assert set(vars(session)) <= session.ATTRS

    def test_no_warning_of_a_development_mode_speaks_of_it(self) -> None:
        program = (
            "import asyncio, logging, aiohttp_cache_di\n"
            "from aiohttp import ClientSession\n"
            "logging.getLogger('asyncio').setLevel(logging.ERROR)  # not of what takes 0.1 s on a busy machine\n"
            "class Mixed(aiohttp_cache_di.CacheMixin, ClientSession): pass\n"
            "async def main():\n"
            "    asyncio.get_running_loop().slow_callback_duration = 60\n"  # or asyncio warns on a busy machine
            "    async with aiohttp_cache_di.CachedSession() as session: session.cache = session.cache\n"
            "    async with Mixed(): pass\n"
            "asyncio.run(main())\n"
        )
        ran = subprocess.run(
            [sys.executable, "-X", "dev", "-W", "error", "-c", program], capture_output=True, text=True, check=False
        )
        assert (ran.returncode, ran.stderr) == (0, "")

    async def test_a_deprecated_argument_is_reported_at_the_caller_s_line(self) -> None:
        with pytest.warns(DeprecationWarning, match="read_timeout is deprecated") as caught:
            session = CachedSession(read_timeout=3)
        assert [warning.filename for warning in caught] == [__file__]
        await session.close()

    async def test_a_deprecated_argument_may_be_an_error(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(DeprecationWarning):
                CachedSession(read_timeout=3)


class TestFastLane:
    """Whatever changes after the fast lane has learned a request, answers are the same as without the fast lane."""

    @pytest.fixture
    async def session(self, origin: Origin) -> Any:
        async with CachedSession(cookie_jar=CookieJar(unsafe=True)) as session:
            for _ in range(3):
                await fetch(session, origin.on("/", numbered))
            assert origin.hits == 1
            yield session

    async def test_a_new_default_header_counts(self, session: CachedSession, origin: Origin) -> None:
        session.headers["Authorization"] = "Bearer of-another-user"
        assert await fetch(session, origin.url + "/") == (False, "2")

    async def test_default_headers_may_be_replaced_by_a_mapping_of_any_kind(
        self, session: CachedSession, origin: Origin
    ) -> None:
        fields = {"User-Agent": "of the app"}  # as Home Assistant does, so that nothing overrides it
        session._default_headers = MappingProxyType(fields)  # type: ignore[assignment]  # aiohttp takes any mapping
        for _ in range(3):
            assert await fetch(session, origin.url + "/") == (True, "1")
        fields["Authorization"] = "Bearer of-another-user"
        assert await fetch(session, origin.url + "/") == (False, "2")

    async def test_a_new_cookie_counts(self, session: CachedSession, origin: Origin) -> None:
        session.cookie_jar.update_cookies({"session": "of-another-user"})
        assert await fetch(session, origin.url + "/") == (False, "2")

    async def test_cookies_that_are_loaded_count(self, session: CachedSession, origin: Origin, tmp_path: Any) -> None:
        jar = CookieJar(unsafe=True)
        jar.update_cookies({"session": "of-another-user"})
        jar.save(tmp_path / "cookies")
        assert isinstance(session.cookie_jar, CookieJar)
        session.cookie_jar.load(tmp_path / "cookies")
        assert await fetch(session, origin.url + "/") == (False, "2")

    async def test_a_new_trace_is_told(self, session: CachedSession, origin: Origin) -> None:
        seen: list[bool] = []

        async def on_end(session: ClientSession, context: Any, params: Any) -> None:
            seen.append(params.response.from_cache)

        trace = TraceConfig()
        trace.on_request_end.append(on_end)
        trace.freeze()
        session.trace_configs.append(trace)
        await fetch(session, origin.url + "/")
        assert seen == [True]

    async def test_a_changed_setting_counts(self, session: CachedSession, origin: Origin) -> None:
        def refuse(response: ClientResponse) -> bool:
            return False

        session.cache.filter_fn = refuse
        assert await fetch(session, origin.url + "/") == (False, "2")

    async def test_a_deleted_entry_is_gone(self, session: CachedSession, origin: Origin) -> None:
        await session.cache.clear()
        assert await fetch(session, origin.url + "/") == (False, "2")

    async def test_a_disabled_cache_is_not_asked(self, session: CachedSession, origin: Origin) -> None:
        async with session.disabled():
            assert await fetch(session, origin.url + "/") == (False, "2")

    @pytest.mark.parametrize("option", [{"headers": {"X-Api-Key": "1"}}, {"params": {"a": "1"}}, {"json": {"a": 1}}])
    async def test_an_option_that_may_matter_is_looked_at(
        self, session: CachedSession, origin: Origin, option: dict[str, Any]
    ) -> None:
        assert await fetch(session, origin.url + "/", **option) == (False, "2")

    async def test_a_redirect_that_was_asked_for_is_not_handed_to_one_who_follows(self, origin: Origin) -> None:
        origin.on("/old", answer(status=302, headers={"Location": "/new"}))
        origin.on("/new", numbered)
        for backend in (CacheBackend(), CustomBackend()):
            async with CachedSession(cache=backend) as session:
                for _ in range(3):
                    async with session.get(origin.url + "/old", allow_redirects=False) as response:
                        assert response.status == 302
                async with session.get(origin.url + "/old") as response:
                    assert response.status == 200

    async def test_stored_cookies_are_seen_at_every_hit(self, origin: Origin) -> None:
        url = origin.on("/", answer(headers={"Set-Cookie": "a=b"}))
        async with CachedSession(store_cookies=True, cookie_jar=DummyCookieJar()) as session:
            for _ in range(4):
                async with session.get(url) as response:
                    assert response.cookies["a"].value == "b"
        assert origin.hits == 1


class TestDisabled:
    async def test_it_is_off_within_and_on_again_after(self, origin: Origin) -> None:
        url = origin.on("/", numbered)
        async with CachedSession() as session:
            await fetch(session, url)
            async with session.disabled():
                assert await fetch(session, url) == (False, "2")
            with session.disabled():
                assert await fetch(session, url) == (False, "3")
            assert await fetch(session, url) == (True, "1")

    async def test_an_exception_turns_it_on_again(self, origin: Origin) -> None:
        url = origin.on("/", numbered)
        async with CachedSession() as session:
            await fetch(session, url)
            with pytest.raises(ZeroDivisionError):
                async with session.disabled():
                    raise ZeroDivisionError
            assert await fetch(session, url) == (True, "1")

    async def test_nested_uses_end_with_the_outermost(self, origin: Origin) -> None:
        url = origin.on("/", numbered)
        async with CachedSession() as session:
            await fetch(session, url)
            disabled = session.disabled()
            async with disabled:
                async with disabled:
                    pass
                assert await fetch(session, url) == (False, "2")
            assert await fetch(session, url) == (True, "1")

    async def test_other_tasks_and_other_sessions_keep_their_cache(self, origin: Origin) -> None:
        url, backend = origin.on("/", numbered), CacheBackend()
        off, checked = asyncio.Event(), asyncio.Event()

        async with CachedSession(cache=backend) as session, CachedSession(cache=backend) as other:
            await fetch(session, url)

            async def elsewhere() -> tuple[bool, str]:
                await off.wait()
                try:
                    return await fetch(session, url)
                finally:
                    checked.set()

            task = asyncio.create_task(elsewhere())
            async with session.disabled():
                off.set()
                await checked.wait()
                assert await fetch(other, url) == (True, "1")
            assert await task == (True, "1")

    async def test_a_response_without_the_cache_says_so(self, origin: Origin) -> None:
        async with CachedSession() as session, session.disabled(), session.get(origin.on("/", numbered)) as response:
            assert response.from_cache is False


class TestExpiry:
    async def test_expired_responses_are_deleted_on_demand(self, origin: Origin) -> None:
        origin.on("/short", numbered)
        origin.on("/long", numbered)
        with CacheClock() as clock:
            async with CachedSession(expire_after="1h") as session:
                await fetch(session, origin.url + "/short", expire_after=datetime.now(UTC) + timedelta(minutes=5))
                await fetch(session, origin.url + "/long")
                clock.advance("10m")
                assert await session.cache.responses.size() == 2
                await session.delete_expired_responses()
                assert await session.cache.responses.size() == 1
                await session.remove_expired_responses()

    async def test_what_the_filter_refuses_now_is_deleted_too(self, origin: Origin) -> None:
        origin.on("/a", numbered)
        origin.on("/b", numbered)
        async with CachedSession() as session:
            await fetch(session, origin.url + "/a")
            await fetch(session, origin.url + "/b")

            async def is_a(response: ClientResponse) -> bool:
                return response.url.path == "/a"

            session.cache.filter_fn = is_a
            await session.delete_expired_responses()
            assert [url async for url in session.cache.get_urls()] == [origin.url + "/a"]


class TestClosing:
    async def test_it_may_be_closed_twice(self) -> None:
        session = CachedSession()
        await session.close()
        await session.close()
        assert session.closed

    async def test_it_is_closed_even_if_the_close_is_cancelled(self, origin: Origin) -> None:
        async def never_whole(request: Received) -> AsyncIterator[bytes]:
            yield answer(headers={"Content-Length": "10"})
            await asyncio.sleep(10)

        session, closed = CachedSession(cache=CacheBackend(autoclose=True)), asyncio.Event()
        backend_close = session.cache.close

        async def note() -> None:
            closed.set()
            await backend_close()

        session.cache.close = note  # type: ignore[method-assign]  # records the call
        response = await session.get(origin.on("/", never_whole))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(session.close(), 0.01)
        assert session.closed
        assert closed.is_set()
        response.close()

    async def test_a_hit_after_the_close_is_refused_as_a_miss_is(self, origin: Origin) -> None:
        url, session = origin.on("/", numbered), CachedSession()
        for _ in range(3):
            await fetch(session, url)
        await session.close()
        with pytest.raises(RuntimeError, match="Session is closed"):
            await fetch(session, url)

    async def test_a_request_that_asks_the_store_meanwhile_fails_as_one_that_connects(
        self, origin: Origin, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked, closed = asyncio.Event(), asyncio.Event()

        async def read_late(key: str) -> None:
            asked.set()
            await closed.wait()

        backend = CustomBackend()
        monkeypatch.setattr(backend.responses, "read", read_late)
        session = CachedSession(cache=backend)
        task = asyncio.create_task(fetch(session, origin.on("/", numbered)))
        await asked.wait()
        await session.close()
        closed.set()
        with pytest.raises(ClientConnectionError, match="Connector is closed"):
            await task
        assert origin.hits == 0

    @pytest.mark.parametrize("autoclose", [True, False])
    async def test_a_backend_that_was_passed_is_closed_when_it_says_so(self, autoclose: bool) -> None:
        closed: list[object] = []

        class Noting(CacheBackend):
            async def close(self) -> None:
                closed.append(self)
                await super().close()

        async with CachedSession(cache=Noting(autoclose=autoclose)):
            pass
        assert len(closed) == autoclose

    async def test_what_is_being_stored_is_stored_before_the_close_is_over(self, origin: Origin) -> None:
        backend = CustomBackend()
        async with CachedSession(cache=backend) as session:
            await fetch(session, origin.on("/", numbered))
        assert await backend.responses.size() == 1

    async def test_a_session_that_is_dropped_is_gone_at_once_and_says_that_it_was_not_closed(self) -> None:
        session = CachedSession()
        gone = weakref.ref(session)
        gc.disable()
        try:
            with pytest.warns(ResourceWarning, match="Unclosed client session"):
                del session
            assert gone() is None
        finally:
            gc.enable()

    async def test_a_detached_session_leaves_its_connector_open(self) -> None:
        session = CachedSession()
        connector = session.connector
        session.detach()
        assert session.closed
        assert connector is not None
        assert not connector.closed
        await session.close()
        await connector.close()

    def test_it_cannot_be_made_outside_a_loop_and_leaves_nothing_behind(self) -> None:
        with pytest.raises(RuntimeError, match="no running event loop"):
            CachedSession()


class TestTraces:
    async def test_a_trace_tells_hits_from_misses(self, origin: Origin) -> None:
        seen: list[tuple[bool, str]] = []

        async def on_end(session: ClientSession, context: Any, params: Any) -> None:
            seen.append((params.response.from_cache, params.response.cache_status.split("; ")[1].partition("=")[0]))

        trace = TraceConfig()
        trace.on_request_end.append(on_end)
        url = origin.on("/", numbered)
        async with CachedSession(trace_configs=[trace]) as session:
            for _ in range(3):
                await fetch(session, url)
            await session.post(url)
            async with session.disabled():
                await fetch(session, url)
        assert seen == [(False, "fwd"), (True, "hit"), (True, "hit"), (False, "fwd"), (False, "fwd")]


class TestMiddlewares:
    async def test_the_cache_is_behind_the_session_s_own(self, origin: Origin) -> None:
        async def sign(request: Any, handler: Any) -> ClientResponse:
            request.headers["X-Api-Key"] = "secret"
            response: ClientResponse = await handler(request)
            return response

        url = origin.on("/", numbered)
        async with CachedSession(middlewares=(sign,)) as session:
            for number in range(3):
                assert await fetch(session, url) == (number > 0, "1")
            assert await fetch(session, url, middlewares=()) == (False, "2")
            assert await fetch(session, url, middlewares=[sign]) == (True, "1")

    async def test_a_backend_may_be_shared_by_a_session_and_a_middleware(self, origin: Origin) -> None:
        url, backend = origin.on("/", numbered), CacheBackend()
        async with (
            CachedSession(cache=backend) as one,
            ClientSession(middlewares=(CacheMiddleware(backend),)) as other,
        ):
            assert await fetch(one, url) == (False, "1")
            assert await fetch(other, url) == (True, "1")

    async def test_the_middleware_alone_has_a_backend_of_its_own(self, origin: Origin) -> None:
        middleware, url = CacheMiddleware(), origin.on("/", numbered)
        async with ClientSession(middlewares=(middleware,)) as session:
            await fetch(session, url)
            assert await middleware.backend.has_url(url, headers={hdrs.ACCEPT: "*/*"})
        await middleware.close()


@pytest.mark.parametrize("option", [{"refresh": "no"}, {"only_if_cached": "false"}, {"refresh": 2}], ids=str)
async def test_a_flag_of_a_request_that_is_neither_true_nor_false_is_refused(option: dict[str, Any]) -> None:
    async with CachedSession() as session:
        with pytest.raises(ConfigurationError, match=f"^{next(iter(option))}=.*: use True or False"):
            await session.get("http://127.0.0.1:1/", **option)
