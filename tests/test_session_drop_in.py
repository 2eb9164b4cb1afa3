"""A CachedSession can be used wherever a ClientSession can: each test runs with both.

A test that passes with aiohttp's own session shows that it expects what aiohttp does.
"""

from __future__ import annotations

import asyncio
import gc
import gzip
import io
import ssl
import subprocess
import tracemalloc
import weakref
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, MagicMock, create_autospec

import aiohttp
import pytest
from aiohttp import (
    ClientConnectionError,
    ClientConnectorCertificateError,
    ClientConnectorError,
    ClientOSError,
    ClientPayloadError,
    ClientRequest,
    ClientResponse,
    ClientResponseError,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    ContentTypeError,
    CookieJar,
    DigestAuthMiddleware,
    Fingerprint,
    FormData,
    InvalidUrlClientError,
    InvalidUrlRedirectClientError,
    NonHttpUrlClientError,
    NonHttpUrlRedirectClientError,
    ServerDisconnectedError,
    ServerFingerprintMismatch,
    SocketTimeoutError,
    StreamReader,
    TCPConnector,
    TooManyRedirects,
    TraceConfig,
    WSServerHandshakeError,
    encode_basic_auth,
    web,
)
from aiohttp.test_utils import TestServer
from yarl import URL

from aiohttp_cache_di import CachedSession
from aiohttp_cache_di.backends import CacheBackend
from tests.origin import CLOSE, CUT, Origin, Received, answer, chunked

Open = Callable[..., ClientSession]


@pytest.fixture(params=["ClientSession", "CachedSession", "CachedSession, nothing kept"])
async def open_session(request: pytest.FixtureRequest) -> AsyncIterator[Open]:
    """Make sessions of either class, and close them at the end."""
    made: list[ClientSession] = []

    def make(*args: Any, **kwargs: Any) -> ClientSession:
        if request.param == "ClientSession":
            session = ClientSession(*args, **kwargs)
        elif request.param == "CachedSession":
            session = CachedSession(*args, **kwargs)
        else:
            session = CachedSession(*args, expire_after=0, **kwargs)
        made.append(session)
        return session

    maker: Any = make
    maker.made = made
    yield make
    for session in made:
        await session.close()


def numbered(request: Received) -> bytes:
    """Answer with the number of the request."""
    return answer(str(request.number))


class TestArguments:
    @pytest.mark.parametrize(
        ("url", "error"),
        [
            ("http://", InvalidUrlClientError),
            ("/path", InvalidUrlClientError),
            ("http://[::1", InvalidUrlClientError),
            ("http://:80/", InvalidUrlClientError),
            ("", InvalidUrlClientError),
            ("ftp://example.org/", NonHttpUrlClientError),
            ("javascript:1", NonHttpUrlClientError),
            (["http://example.org"], TypeError),
            (b"http://example.org", TypeError),
            (None, TypeError),
        ],
    )
    async def test_a_wrong_url_is_refused(self, open_session: Open, url: Any, error: type[Exception]) -> None:
        session = open_session()
        for _ in range(2):
            with pytest.raises(error):
                await session.get(url)

    async def test_data_and_json_together_are_refused(self, open_session: Open, origin: Origin) -> None:
        with pytest.raises(ValueError, match="data and json parameters can not be used at the same time"):
            await open_session().post(origin.on("/", numbered), data=b"1", json=1)

    async def test_a_wrong_timeout_is_refused(self, open_session: Open) -> None:
        with pytest.raises(ValueError, match="timeout parameter cannot be of"):
            open_session(timeout="1")

    async def test_an_unknown_option_is_a_type_error(self, open_session: Open, origin: Origin) -> None:
        unknown: Any = {"colour": "blue"}
        with pytest.raises(TypeError, match="colour"):
            await open_session().get(origin.on("/", numbered), **unknown)

    async def test_none_is_an_argument_like_any_other(self, open_session: Open, origin: Origin) -> None:
        nothing: dict[str, Any] = dict.fromkeys(
            ("params", "data", "json", "cookies", "headers", "auth", "compress", "chunked", "raise_for_status"), None
        )
        nothing |= dict.fromkeys(("proxy", "proxy_auth", "timeout", "server_hostname", "proxy_headers"), None)
        nothing |= dict.fromkeys(("trace_request_ctx", "read_bufsize", "auto_decompress", "middlewares"), None)
        async with open_session().get(origin.on("/", numbered), **nothing) as response:
            assert await response.text() == "1"

    async def test_the_base_url_is_the_first_argument(self, open_session: Open, origin: Origin) -> None:
        session = open_session(f"{origin.url}/base/")
        origin.on("/base/page", numbered)
        for _ in range(3):
            async with session.get("page") as response:
                assert await response.text()
                assert response.url == URL(f"{origin.url}/base/page")

    async def test_a_base_url_without_a_slash_at_its_end_is_refused(self, open_session: Open) -> None:
        with pytest.raises(ValueError, match="must have a trailing '/'"):
            open_session("http://example.org/base")

    async def test_a_closed_session_refuses_requests(self, open_session: Open, origin: Origin) -> None:
        session = open_session()
        await session.close()
        with pytest.raises(RuntimeError, match="Session is closed"):
            await session.get(origin.on("/", numbered))

    async def test_headers_go_out_as_they_were_given(self, open_session: Open, origin: Origin) -> None:
        session = open_session(headers={"A": "1"}, skip_auto_headers=["User-Agent"])
        url = origin.on("/", numbered)
        async with session.get(url, headers=[("B", "2"), ("B", "3")], skip_auto_headers=["Accept"]):
            pass
        received = origin.received[0].headers
        assert (received["A"], received.getall("B")) == ("1", ["2", "3"])
        assert "User-Agent" not in received
        assert "Accept" not in received

    async def test_a_get_goes_out_byte_for_byte_as_aiohttp_sends_it(self, open_session: Open, origin: Origin) -> None:
        async with open_session().get(origin.on("/", numbered), params={"a": "b c"}):
            pass
        received = origin.received[0]
        assert received.target == "/?a=b+c"
        assert list(received.headers) == ["Host", "Accept", "Accept-Encoding", "User-Agent"]


class TestForeignObjects:
    """Parts of aiohttp that a program or its tests have replaced."""

    async def test_a_request_that_is_no_client_request(self, open_session: Open) -> None:
        class FakeBody:
            consumed = False

            async def close(self) -> None:
                """Do nothing."""

        class FakeRequest:
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                self.method, self.url, self._body = "GET", URL("http://example.org"), FakeBody()

            async def send(self, conn: Any) -> Any:
                raise OSError(1, "not permitted")

        class FakeConnection:
            class protocol:  # noqa: N801  # an attribute of a connection
                @staticmethod
                def set_response_params(**kwargs: Any) -> None:
                    """Do nothing."""

            def close(self) -> None:
                """Do nothing."""

        async def connect(*args: Any, **kwargs: Any) -> Any:
            return FakeConnection()

        fake: Any = FakeRequest
        session = open_session(request_class=fake)
        connector: Any = session.connector
        connector.connect = connect
        with pytest.raises(ClientOSError) as caught:
            await session.get("http://example.org")
        assert caught.value.errno == 1

    async def test_a_request_that_only_says_that_it_is_one(self, open_session: Open) -> None:
        request = create_autospec(ClientRequest, instance=True, method="GET", url=URL("http://example.org"), _body=None)
        request.send.side_effect = OSError(1, "not permitted")
        session = open_session(request_class=MagicMock(return_value=request))
        connector: Any = session.connector
        connector.connect = AsyncMock(return_value=MagicMock())
        with pytest.raises(ClientOSError) as caught:
            await session.get("http://example.org")
        assert caught.value.errno == 1

    async def test_a_response_that_is_no_client_response(self, open_session: Open, origin: Origin) -> None:
        class FakeResponse:
            status, connection, _raw_cookie_headers, _history = 200, None, None, ()

            def __init__(self, *args: Any, **kwargs: Any) -> None:
                """Take the arguments of any response."""

            async def start(self, connection: Any) -> None:
                """Close the connection at once."""
                connection.close()

        fake: Any = FakeResponse
        session = open_session(response_class=fake)
        for _ in range(2):
            response: Any = await session.get(origin.on("/", numbered))
            assert isinstance(response, FakeResponse)

    async def test_a_response_class_of_the_user_is_not_touched(self, open_session: Open, origin: Origin) -> None:
        class Upper(ClientResponse):
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, **kwargs)
                self.mark = "mine"

            async def text(self, encoding: str | None = None, errors: str = "strict") -> str:
                return (await super().text(encoding, errors)).upper()

        session, url = open_session(response_class=Upper), origin.on("/", answer("text"))
        for _ in range(3):
            async with session.get(url) as response:
                assert isinstance(response, Upper)
                assert (await response.text(), response.mark) == ("TEXT", "mine")

    async def test_nothing_of_a_response_class_is_used_but_what_aiohttp_uses(
        self, open_session: Open, origin: Origin
    ) -> None:
        class Untouched(ClientResponse):
            @property
            def content_type(self) -> str:
                raise AssertionError("it was not asked for")

        session, url = open_session(response_class=Untouched), origin.on("/", answer("text"))
        for _ in range(3):
            async with session.get(url) as response:
                assert await response.read() == b"text"
                assert "_content_type" not in vars(response)

    async def test_a_connector_that_cannot_connect_in_time(self, open_session: Open) -> None:
        async def connect(*args: Any, **kwargs: Any) -> Any:
            raise TimeoutError

        session = open_session()
        connector: Any = session.connector
        connector.connect = connect
        with pytest.raises(ConnectionTimeoutError):
            await session.get("http://example.org")

    async def test_an_error_of_any_kind_passes_through(self, open_session: Open) -> None:
        class UnexpectedError(BaseException):
            pass

        async def connect(*args: Any, **kwargs: Any) -> Any:
            raise UnexpectedError

        session = open_session()
        connector: Any = session.connector
        connector.connect = connect
        with pytest.raises(UnexpectedError):
            await session.get("http://example.org")

    async def test_a_cookie_jar_of_the_user(self, open_session: Open, origin: Origin) -> None:
        class CountingJar(CookieJar):
            asked = 0

            def filter_cookies(self, request_url: URL = URL()) -> Any:  # noqa: B008  # as aiohttp has it
                self.asked += 1
                return super().filter_cookies(request_url)

        jar = CountingJar()
        session, url = open_session(cookie_jar=jar), origin.on("/", numbered)
        assert session.cookie_jar is jar
        for _ in range(4):
            await session.get(url)
        assert jar.asked == 4

    async def test_a_stream_is_of_aiohttp_s_class(self, open_session: Open, origin: Origin) -> None:
        async def slowly(request: Received) -> AsyncIterator[bytes]:
            yield answer(headers={"Content-Length": "4"})
            await asyncio.sleep(0.01)
            yield b"text"

        async with open_session().get(origin.on("/", slowly)) as response:
            assert isinstance(response.content, StreamReader)
            assert repr(response.content).startswith("<StreamReader")


class TestResponses:
    async def test_raise_for_status_by_session_and_request(self, open_session: Open, origin: Origin) -> None:
        url = origin.on("/", answer("no", status=404, reason="Not Here"))
        for _ in range(2):
            with pytest.raises(ClientResponseError) as caught:
                await open_session(raise_for_status=True).get(url)
            assert (caught.value.status, caught.value.message, str(caught.value.request_info.url)) == (
                404,
                "Not Here",
                url,
            )
        async with open_session(raise_for_status=True).get(url, raise_for_status=False) as response:
            assert (response.ok, response.status) == (False, 404)
            with pytest.raises(ClientResponseError):
                response.raise_for_status()

    async def test_raise_for_status_may_be_a_function(self, open_session: Open, origin: Origin) -> None:
        asked: list[int] = []

        async def check(response: ClientResponse) -> None:
            asked.append(response.status)
            if len(asked) == 4:
                raise ZeroDivisionError

        session, url = open_session(raise_for_status=check), origin.on("/", numbered)
        for _ in range(3):
            async with session.get(url) as response:
                await response.read()
        with pytest.raises(ZeroDivisionError):
            await session.get(url)
        assert asked == [200] * 4

    async def test_json_of_the_wrong_kind_is_refused(self, open_session: Open, origin: Origin) -> None:
        session, url = open_session(), origin.on("/", answer("not json", headers={"Content-Type": "text/html"}))
        for _ in range(3):
            async with session.get(url) as response:
                with pytest.raises(ContentTypeError, match="unexpected mimetype: text/html"):
                    await response.json()
                with pytest.raises(ValueError, match="Expecting value"):
                    await response.json(content_type=None)
                assert await response.json(content_type=None, loads=str.upper) == "NOT JSON"

    async def test_a_response_that_was_released_cannot_be_read(self, open_session: Open, origin: Origin) -> None:
        session, url = open_session(), origin.on("/", answer("x" * 100))
        for _ in range(3):
            response = await session.get(url)
            await response.read()
            response.release()
            with pytest.raises(ClientConnectionError):
                await response.read()

    async def test_reading_after_the_end_gives_nothing_more(self, open_session: Open, origin: Origin) -> None:
        session, url = open_session(), origin.on("/", answer("text"))
        for _ in range(3):
            async with session.get(url) as response:
                assert await response.content.read(2) == b"te"
                assert await response.read() == b"xt"
                assert await response.read() == b"xt"
                assert await response.content.read() == b""
                assert response.content.at_eof()

    async def test_the_header_is_what_the_origin_sent(self, open_session: Open, origin: Origin) -> None:
        session, url = open_session(), origin.on("/", answer("text"))
        for _ in range(3):
            async with session.get(url) as response:
                assert list(response.headers) == ["Content-Type", "Cache-Control", "Content-Length"]

    async def test_a_line_may_be_long(self, open_session: Open, origin: Origin) -> None:
        session, url = open_session(), origin.on("/", answer("x" * 300_000 + "\nend"))
        for _ in range(3):
            async with session.get(url) as response:
                assert [len(line) async for line in response.content] == [300_001, 3]

    async def test_the_stream_tells_how_much_there_was(self, open_session: Open, origin: Origin) -> None:
        session, url = open_session(), origin.on("/", answer("text"))
        for _ in range(3):
            async with session.get(url) as response:
                await response.read()
                assert (response.content.total_bytes, response.content.is_eof()) == (4, True)

    @pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204)])
    async def test_what_has_no_body_can_be_read_when_it_was_released(
        self, open_session: Open, origin: Origin, method: str, status: int
    ) -> None:
        session = open_session()
        url = origin.on("/", answer(status=status, headers={"Content-Length": None}))
        for _ in range(3):
            response = await session.request(method, url)
            response.release()
            assert (await response.content.readany(), await response.read()) == (b"", b"")

    async def test_a_plain_await_gives_a_response_too(self, open_session: Open, origin: Origin) -> None:
        session, url = open_session(), origin.on("/", answer("text"))
        for _ in range(3):
            response = await session.get(url)
            assert await response.text() == "text"
            assert response.closed
            assert response.connection is None
            await response.release()

    async def test_the_encoding_may_be_resolved_by_the_session(self, open_session: Open, origin: Origin) -> None:
        url = origin.on("/", answer("ä".encode("latin-1"), headers={"Content-Type": "text/plain"}))
        session = open_session(fallback_charset_resolver=latin_1)
        for _ in range(3):
            async with session.get(url) as response:
                assert (await response.text(), response.get_encoding()) == ("ä", "latin-1")

    async def test_the_encoding_of_an_unread_body_is_not_known(self, open_session: Open, origin: Origin) -> None:
        session, url = open_session(), origin.on("/", answer("text", headers={"Content-Type": "text/plain"}))
        for _ in range(3):
            async with session.get(url) as response:
                with pytest.raises(RuntimeError, match="not yet read body"):
                    response.get_encoding()
                await response.read()

    @pytest.mark.parametrize("status", [204, 304])
    async def test_a_response_without_a_body(self, open_session: Open, origin: Origin, status: int) -> None:
        session, url = open_session(), origin.on("/", answer(status=status, headers={"Content-Length": None}))
        for _ in range(2):
            async with session.get(url) as response:
                assert (response.status, await response.read()) == (status, b"")

    async def test_head_has_headers_and_no_body(self, open_session: Open, origin: Origin) -> None:
        session, url = open_session(), origin.on("/", answer("text"))
        for _ in range(3):
            async with session.head(url) as response:
                assert (response.method, response.headers["Content-Length"], await response.read()) == (
                    "HEAD",
                    "4",
                    b"",
                )

    async def test_cookies_reach_response_and_jar(self, open_session: Open, origin: Origin) -> None:
        session = open_session(cookie_jar=CookieJar(unsafe=True))
        url = origin.on("/", answer(lines=(("Set-Cookie", "a=1"), ("Set-Cookie", "b=2; Path=/"))))
        async with session.get(url) as response:
            assert {name: morsel.value for name, morsel in response.cookies.items()} == {"a": "1", "b": "2"}
        assert {cookie.key for cookie in session.cookie_jar} == {"a", "b"}
        async with session.get(url, cookies={"c": "3"}):
            pass
        assert origin.received[-1].headers["Cookie"] == "a=1; b=2; c=3"


class TestRedirects:
    async def test_a_chain_is_followed_and_told(self, open_session: Open, origin: Origin) -> None:
        origin.on("/1", answer(status=301, reason="Moved", headers={"Location": "/2"}))
        origin.on("/2", answer(status=302, headers={"Location": "/3?a=b#c"}))
        origin.on("/3", numbered)
        session = open_session()
        for _ in range(3):
            async with session.get(f"{origin.url}/1") as response:
                assert await response.text()
                assert [(hop.status, hop.url.path) for hop in response.history] == [(301, "/1"), (302, "/2")]
                assert response.history[0].reason == "Moved"
                assert str(response.real_url) == f"{origin.url}/3?a=b#c"
                assert str(response.url) == f"{origin.url}/3?a=b"

    async def test_a_redirect_that_is_not_to_be_followed(self, open_session: Open, origin: Origin) -> None:
        session = open_session()
        url = origin.on("/", answer("moved", status=302, headers={"Location": "/2"}))
        for _ in range(3):
            async with session.get(url, allow_redirects=False) as response:
                assert (response.status, response.headers["Location"], response.history) == (302, "/2", ())
                assert await response.text() == "moved"

    async def test_a_loop_ends(self, open_session: Open, origin: Origin) -> None:
        url = origin.on("/", answer(status=302, headers={"Location": "/"}))
        session = open_session()
        for _ in range(2):
            with pytest.raises(TooManyRedirects) as caught:
                await session.get(url, max_redirects=3)
            assert len(caught.value.history) == 3
            assert str(caught.value.request_info.url) == url

    @pytest.mark.parametrize(
        ("location", "error"),
        [
            ("http://:80/", InvalidUrlRedirectClientError),
            ("http://[::1", InvalidUrlRedirectClientError),
            ("ftp://example.org/", NonHttpUrlRedirectClientError),
            ("mailto:a@example.org", NonHttpUrlRedirectClientError),
        ],
    )
    async def test_a_wrong_location_is_refused(
        self, open_session: Open, origin: Origin, location: str, error: type[Exception]
    ) -> None:
        session, url = open_session(), origin.on("/", answer(status=302, headers={"Location": location}))
        for _ in range(2):
            with pytest.raises(error):
                await session.get(url)

    async def test_a_redirect_without_a_location_is_a_response(self, open_session: Open, origin: Origin) -> None:
        session, url = open_session(), origin.on("/", answer("where?", status=302))
        for _ in range(2):
            async with session.get(url) as response:
                assert (response.status, await response.text()) == (302, "where?")

    @pytest.mark.parametrize(
        ("status", "method", "body"), [(303, "GET", b""), (307, "POST", b"data"), (302, "GET", b"")]
    )
    async def test_a_post_is_redirected(
        self, open_session: Open, origin: Origin, status: int, method: str, body: bytes
    ) -> None:
        origin.on("/", answer(status=status, headers={"Location": "/2"}))
        origin.on("/2", numbered)
        async with open_session().post(f"{origin.url}/", data=b"data") as response:
            assert response.method == method
        assert (origin.received[1].method, origin.received[1].body) == (method, body)

    async def test_a_cookie_of_a_redirect_is_sent_on(self, open_session: Open, origin: Origin) -> None:
        session = open_session(cookie_jar=CookieJar(unsafe=True))
        origin.on("/", answer(status=302, headers={"Location": "/2", "Set-Cookie": "a=1"}))
        origin.on("/2", numbered)
        async with session.get(f"{origin.url}/") as response:
            assert response.history[0].cookies["a"].value == "1"
        assert origin.received[1].headers["Cookie"] == "a=1"

    async def test_credentials_stay_with_their_origin(self, open_session: Open, origin: Origin) -> None:
        async with Origin() as other:
            other.on("/", numbered)
            origin.on("/", answer(status=302, headers={"Location": f"{other.url}/"}))
            for _ in range(2):
                async with open_session().get(f"{origin.url}/", headers={"Authorization": "secret"}):
                    pass
            assert origin.received[0].headers["Authorization"] == "secret"
            assert all("Authorization" not in request.headers for request in other.received)


class TestBodies:
    @pytest.mark.parametrize("read", ["read", "readany", "readline", "readchunk", "iter"])
    async def test_a_cut_connection_raises_where_the_body_is_read(
        self, open_session: Open, origin: Origin, read: str
    ) -> None:
        async def cut(request: Received) -> AsyncIterator[bytes]:
            yield answer(headers={"Content-Length": "100"}) + b"begin"
            await asyncio.sleep(0.01)
            yield CLOSE

        async with open_session().get(origin.on("/", cut)) as response:
            with pytest.raises(ClientPayloadError, match="not completed"):
                await read_to_the_end(response, read)

    async def test_a_broken_coding_raises_where_the_body_is_read(self, open_session: Open, origin: Origin) -> None:
        session = open_session()
        url = origin.on("/", answer(b"x" * 100, headers={"Content-Encoding": "gzip"}))
        for _ in range(2):
            with pytest.raises(ClientPayloadError):
                async with session.get(url) as response:
                    await response.read()

    async def test_a_server_that_hangs_up_is_reported(self, open_session: Open, origin: Origin) -> None:
        async def hang_up(request: Received) -> AsyncIterator[bytes]:
            yield CLOSE

        with pytest.raises(ServerDisconnectedError):
            await open_session().get(origin.on("/", hang_up))

    async def test_a_reset_is_reported(self, open_session: Open, origin: Origin) -> None:
        async def reset(request: Received) -> AsyncIterator[bytes]:
            yield CUT

        with pytest.raises(ClientOSError):
            await open_session().post(origin.on("/", reset))

    async def test_nobody_listening_is_reported(self, open_session: Open) -> None:
        async with Origin() as gone:
            url = gone.url
        with pytest.raises(ClientConnectorError):
            await open_session().get(url)

    async def test_an_old_connection_is_replaced(self, open_session: Open, origin: Origin) -> None:
        session = open_session()

        async def once(request: Received) -> AsyncIterator[bytes]:
            yield answer(f"{request.number}", headers={"Cache-Control": "no-store"})
            yield CLOSE

        url = origin.on("/", once)
        for number in range(1, 4):
            async with session.get(url) as response:
                assert await response.text() == str(number)

    async def test_chunks_keep_their_boundaries(self, open_session: Open, origin: Origin) -> None:
        head = answer(headers={"Content-Length": None, "Transfer-Encoding": "chunked"})
        async with open_session().get(origin.on("/", head + chunked(b"one", b"two"))) as response:
            assert [piece async for piece in response.content.iter_chunks()] == [(b"one", True), (b"two", True)]

    async def test_a_connection_is_used_again_after_a_whole_body_and_not_after_an_early_close(
        self, open_session: Open, origin: Origin
    ) -> None:
        session = open_session()

        async def long(request: Received) -> AsyncIterator[bytes]:
            yield answer(headers={"Content-Length": "1000000", "Cache-Control": "no-store"}) + b"begin"
            await asyncio.sleep(5)

        origin.on("/", lambda request: answer("text", headers={"Cache-Control": "no-store"}))
        origin.on("/long", long)
        for _ in range(2):
            async with session.get(f"{origin.url}/") as response:
                await response.read()
        assert origin.connections == 1
        async with session.get(f"{origin.url}/long"):
            pass
        async with session.get(f"{origin.url}/"):
            pass
        assert origin.connections == 2

    async def test_a_fast_origin_waits_for_a_slow_reader(self, open_session: Open, origin: Origin) -> None:
        sent = 0

        async def flood(request: Received) -> AsyncIterator[bytes]:
            nonlocal sent
            yield answer(headers={"Content-Length": str(64 * 2**20)})
            for _ in range(64):
                yield b"x" * 2**20
                sent += 1

        session = open_session()
        async with session.get(origin.on("/", flood)) as response:
            await response.content.readexactly(1)
            await asyncio.sleep(0.2)
            assert sent < 32
            response.close()

    @pytest.mark.parametrize("is_announced", [True, False])
    async def test_a_large_body_is_not_held_in_memory(
        self, open_session: Open, origin: Origin, is_announced: bool
    ) -> None:
        async def large(request: Received) -> AsyncIterator[bytes]:
            length = str(32 * 2**20) if is_announced else None
            yield answer(headers={"Content-Length": length, "Transfer-Encoding": None if is_announced else "chunked"})
            piece = b"x" * 2**16
            for _ in range(512):
                yield piece if is_announced else chunked(piece, end=False)
            yield b"" if is_announced else chunked()

        session, url, read = open_session(), origin.on("/", large), 0
        tracemalloc.start()
        try:
            async with session.get(url) as response:
                async for piece in response.content.iter_any():
                    read += len(piece)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert read == 32 * 2**20
        # A body of unknown length is held in memory until it exceeds the limit for storing it.
        assert peak < (4 if is_announced else 4 + 8) * 2**20

    async def test_the_coding_can_be_left_alone(self, open_session: Open, origin: Origin) -> None:
        coded = gzip.compress(b"text")
        url = origin.on("/", answer(coded, headers={"Content-Encoding": "gzip"}))
        session = open_session(auto_decompress=False)
        for _ in range(3):
            async with session.get(url) as response:
                assert await response.read() == coded
            async with session.get(url, auto_decompress=True) as response:
                assert await response.read() == b"text"

    async def test_a_raw_deflate_body_is_decoded(self, open_session: Open, origin: Origin) -> None:
        coder = zlib.compressobj(wbits=-15)
        coded = coder.compress(b"text" * 100) + coder.flush()
        session, url = open_session(), origin.on("/", answer(coded, headers={"Content-Encoding": "deflate"}))
        for _ in range(3):
            async with session.get(url) as response:
                assert await response.read() == b"text" * 100


class TestUploads:
    async def test_every_kind_of_body_arrives(self, open_session: Open, origin: Origin, tmp_path: Path) -> None:
        session, url = open_session(), origin.on("/", numbered)
        (tmp_path / "file").write_bytes(b"from a file")

        async def generate() -> AsyncIterator[bytes]:
            yield b"gener"
            yield b"ated"

        await session.post(url, data=b"bytes")
        await session.post(url, data="text")
        await session.post(url, data={"a": "b"})
        await session.post(url, json={"a": 1})
        await session.post(url, data=io.BytesIO(b"stream"))
        with (tmp_path / "file").open("rb") as file:
            await session.post(url, data=file)
        await session.post(url, data=generate())
        await session.put(url, data=b"c" * 100, chunked=True)
        assert [request.body for request in origin.received] == [
            b"bytes",
            b"text",
            b"a=b",
            b'{"a": 1}',
            b"stream",
            b"from a file",
            b"generated",
            b"c" * 100,
        ]

    async def test_a_compressed_upload_is_compressed(self, open_session: Open, origin: Origin) -> None:
        await open_session().post(origin.on("/", numbered), data=b"x" * 1000, compress="deflate")
        assert zlib.decompress(origin.received[0].body) == b"x" * 1000
        assert origin.received[0].headers["Content-Encoding"] == "deflate"

    async def test_a_form_with_files_arrives(self, open_session: Open, origin: Origin) -> None:
        form = FormData()
        form.add_field("name", "value")
        form.add_field("file", io.BytesIO(b"content"), filename="f.txt")
        await open_session().post(origin.on("/", numbered), data=form)
        assert b"content" in origin.received[0].body

    async def test_an_upload_waits_for_100_continue(self, open_session: Open, origin: Origin) -> None:
        async with open_session().post(origin.on("/", numbered), data=b"x" * 10, expect100=True) as response:
            assert await response.text() == "1"
        assert origin.received[0].headers["Expect"] == "100-continue"
        assert origin.received[0].body == b"x" * 10

    @pytest.mark.parametrize("method", ["GET", "POST"])
    async def test_a_body_that_cannot_be_read_is_reported(
        self, open_session: Open, origin: Origin, method: str
    ) -> None:
        class Unreadable(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                raise OSError(5, "bad sector")

            def readlines(self, hint: int | None = -1) -> list[bytes]:
                raise OSError(5, "bad sector")

        url = origin.on("/", numbered)
        with pytest.raises(ClientOSError, match="Can not write request body for") as caught:
            await open_session().request(method, url, data=Unreadable(b"text"))
        assert caught.value.errno == 5

    async def test_an_upload_is_tracked(self, open_session: Open, origin: Origin) -> None:
        if not hasattr(aiohttp, "UploadTracker"):
            pytest.skip("this aiohttp has no UploadTracker yet")
        tracker = aiohttp.UploadTracker()
        async with open_session().post(origin.on("/", numbered), data=b"x" * 10, upload_tracker=tracker):
            pass
        await tracker.upload_complete
        assert (tracker.bytes_written, tracker.attempts) == (10, 1)


async def headed(session: ClientSession, url: str, limit: str) -> ClientResponse:
    """A response whose timeout *limit* is as short as possible without expiring before the head arrives."""
    for limit_s in (0.05, 0.5, 5):
        with suppress(TimeoutError):
            return await session.get(url, timeout=ClientTimeout(**{limit: limit_s}))
    raise AssertionError("the machine is too slow for any of these times")


class TestTimeouts:
    async def test_the_total_time_covers_the_head(self, open_session: Open, origin: Origin) -> None:
        async def never(request: Received) -> bytes:
            await asyncio.sleep(10)
            return answer()

        with pytest.raises(TimeoutError):
            await open_session().get(origin.on("/", never), timeout=ClientTimeout(total=0.05))
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    async def test_the_total_time_covers_the_body(self, open_session: Open, origin: Origin) -> None:
        async def never(request: Received) -> AsyncIterator[bytes]:
            yield answer(headers={"Content-Length": "10"}) + b"12345"
            await asyncio.sleep(10)

        async with await headed(open_session(), origin.on("/", never), "total") as response:
            with pytest.raises(TimeoutError):
                await response.read()

    async def test_the_time_between_reads_is_limited(self, open_session: Open, origin: Origin) -> None:
        async def never(request: Received) -> AsyncIterator[bytes]:
            yield answer(headers={"Content-Length": "10"}) + b"12345"
            await asyncio.sleep(10)

        async with await headed(open_session(), origin.on("/", never), "sock_read") as response:
            with pytest.raises(SocketTimeoutError):
                await response.read()

    async def test_a_cancelled_request_is_cancelled(self, open_session: Open, origin: Origin) -> None:
        async def never(request: Received) -> bytes:
            await asyncio.sleep(10)
            return answer()

        session = open_session()
        task = asyncio.create_task(session.get(origin.on("/", never)).__aenter__())
        await origin.arrival()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert isinstance(session.connector, TCPConnector)
        assert not session.connector._acquired


class TestMiddlewaresAndTraces:
    async def test_middlewares_run_in_their_order(self, open_session: Open, origin: Origin) -> None:
        seen: list[str] = []

        def middleware(name: str) -> Any:
            async def run(request: ClientRequest, handler: Any) -> ClientResponse:
                seen.append(f"{name} in")
                response: ClientResponse = await handler(request)
                seen.append(f"{name} out")
                return response

            return run

        session, url = open_session(middlewares=(middleware("a"), middleware("b"))), origin.on("/", numbered)
        expected = ["a in", "b in", "b out", "a out"]
        for times in range(1, 4):
            async with session.get(url):
                pass
            assert seen == expected * times
        seen.clear()
        async with session.get(url, middlewares=(middleware("c"),)):
            pass
        assert seen == ["c in", "c out"]

    async def test_a_middleware_may_be_added_later(self, open_session: Open, origin: Origin) -> None:
        called: list[str] = []

        async def note(request: ClientRequest, handler: Any) -> ClientResponse:
            called.append(request.url.path)
            response: ClientResponse = await handler(request)
            return response

        middlewares: list[Any] = []
        session, url = open_session(middlewares=middlewares), origin.on("/", numbered)
        for _ in range(3):
            await (await session.get(url)).read()
        middlewares.append(note)
        await (await session.get(url)).read()
        assert called == ["/"]

    async def test_a_middleware_may_ask_again(self, open_session: Open, origin: Origin) -> None:
        async def retry(request: ClientRequest, handler: Any) -> ClientResponse:
            for _ in range(3):
                response: ClientResponse = await handler(request)
                if response.status == 200:
                    return response
                response.release()
            raise AssertionError("it never came")

        url = origin.on("/", lambda request: answer(status=503) if request.number < 3 else answer("at last"))
        async with open_session(middlewares=(retry,)).get(url) as response:
            assert await response.text() == "at last"

    async def test_a_middleware_may_use_the_session(self, open_session: Open, origin: Origin) -> None:
        origin.on("/token", answer("secret"))

        async def authorise(request: ClientRequest, handler: Any) -> ClientResponse:
            if request.url.path != "/token":
                async with request.session.get(f"{origin.url}/token") as token:
                    request.headers["Authorization"] = await token.text()
            response: ClientResponse = await handler(request)
            return response

        session, url = open_session(middlewares=(authorise,)), origin.on("/", numbered)
        for _ in range(3):
            async with session.get(url) as response:
                assert await response.text()
        assert {request.headers.get("Authorization") for request in origin.received if request.path == "/"} == {
            "secret"
        }

    async def test_digest_authentication_works(self, open_session: Open, origin: Origin) -> None:
        challenge = 'Digest realm="r", nonce="n", qop="auth", algorithm=SHA-256'

        def script(request: Received) -> bytes:
            if "Authorization" not in request.headers:
                return answer(status=401, headers={"WWW-Authenticate": challenge})
            return answer("in")

        session, url = open_session(middlewares=(DigestAuthMiddleware("user", "password"),)), origin.on("/", script)
        for _ in range(3):
            async with session.get(url) as response:
                assert (response.status, await response.text()) == (200, "in")

    async def test_a_trace_sees_start_and_end_of_every_request(self, open_session: Open, origin: Origin) -> None:
        seen: list[tuple[str, Any]] = []
        trace = TraceConfig()

        async def on_start(session: ClientSession, context: Any, params: Any) -> None:
            seen.append(("start", params.url.path))

        async def on_end(session: ClientSession, context: Any, params: Any) -> None:
            seen.append(("end", params.response.status))

        async def on_redirect(session: ClientSession, context: Any, params: Any) -> None:
            seen.append(("redirect", params.response.status))

        async def on_chunk(session: ClientSession, context: Any, params: Any) -> None:
            seen.append(("chunk", params.chunk))

        async def on_exception(session: ClientSession, context: Any, params: Any) -> None:
            failure: BaseException = params.exception
            seen.append(("exception", type(failure)))

        trace.on_request_start.append(on_start)
        trace.on_request_end.append(on_end)
        trace.on_request_redirect.append(on_redirect)
        trace.on_response_chunk_received.append(on_chunk)
        trace.on_request_exception.append(on_exception)
        origin.on("/", answer(status=302, headers={"Location": "/2"}))
        origin.on("/2", answer("text"))
        origin.on("/error", answer(status=500))
        session = open_session(trace_configs=[trace])
        for _ in range(3):
            seen.clear()
            async with session.get(f"{origin.url}/") as response:
                await response.read()
            assert seen == [("start", "/"), ("redirect", 302), ("end", 200), ("chunk", b"text")]
        seen.clear()
        with pytest.raises(ClientResponseError):
            await session.get(f"{origin.url}/error", raise_for_status=True)
        assert seen == [("start", "/error"), ("exception", ClientResponseError)]


class TestOtherProtocols:
    @pytest.fixture
    async def server(self) -> AsyncIterator[TestServer]:
        async def echo(request: web.Request) -> web.StreamResponse:
            if request.headers.get("Upgrade", "").lower() != "websocket":
                return web.Response(text="not a websocket", headers={"Cache-Control": "max-age=60"})
            socket = web.WebSocketResponse(protocols=("chat",))
            await socket.prepare(request)
            async for message in socket:
                await socket.send_str(f"echo {message.data}")
            return socket

        app = web.Application()
        app.router.add_get("/", echo)
        server = TestServer(app)
        async with server:
            yield server

    async def test_a_websocket_is_opened_after_the_same_url_was_fetched(
        self, open_session: Open, server: TestServer
    ) -> None:
        session, url = open_session(), server.make_url("/")
        for _ in range(3):
            async with session.get(url) as response:
                assert await response.text() == "not a websocket"
            async with session.ws_connect(url, protocols=("chat",)) as socket:
                await socket.send_str("hello")
                assert await socket.receive_str() == "echo hello"
                assert socket.protocol == "chat"

    async def test_a_handshake_that_fails_is_reported(self, open_session: Open, origin: Origin) -> None:
        session, url = open_session(), origin.on("/", answer("no"))
        for _ in range(2):
            with pytest.raises(WSServerHandshakeError):
                await session.ws_connect(url)


class TestTheWayThere:
    """Proxies, TLS and credentials from the environment."""

    @pytest.fixture
    def certificate(self, tmp_path: Path) -> ssl.SSLContext:
        folder = tmp_path
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        command += ["-days", "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
        command += ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
        subprocess.run(command, check=True, capture_output=True)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        return context

    async def test_an_answer_is_not_for_those_who_verify_otherwise(
        self, open_session: Open, certificate: ssl.SSLContext
    ) -> None:
        async with Origin(tls=certificate) as origin:
            session, url = open_session(), origin.on("/", numbered)
            for _ in range(3):
                async with session.get(url, ssl=False) as response:
                    assert await response.text()
                with pytest.raises(ClientConnectorCertificateError):
                    await session.get(url)
                with pytest.raises(ServerFingerprintMismatch):
                    await session.get(url, ssl=Fingerprint(b"x" * 32))

    async def test_a_connector_that_verifies_nothing_shares_nothing_with_one_that_does(
        self, certificate: ssl.SSLContext
    ) -> None:
        backend = CacheBackend()
        async with (
            Origin(tls=certificate) as origin,
            CachedSession(cache=backend, connector=TCPConnector(ssl=False)) as careless,
            CachedSession(cache=backend) as careful,
        ):
            url = origin.on("/", numbered)
            for _ in range(3):
                async with careless.get(url) as response:
                    assert await response.text() == "1"
                with pytest.raises(ClientConnectorCertificateError):
                    await careful.get(url)
            assert await backend.has_url(url, ssl=False)
            assert not await backend.has_url(url)

    async def test_a_proxy_is_asked(self, open_session: Open, origin: Origin) -> None:
        session, url = open_session(), "http://example.org/page"
        origin.on(url, numbered)
        for _ in range(3):
            async with session.get(url, proxy=origin.url, proxy_headers={"X-Proxy": "1"}) as response:
                assert await response.text()
                assert str(response.url) == url
        assert origin.received[0].target == url

    async def test_credentials_of_the_environment_are_sent(
        self, open_session: Open, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = origin.on("/", lambda request: answer(request.headers.get("Authorization", "none")))
        netrc = tmp_path / "netrc"
        monkeypatch.setenv("NETRC", str(netrc))
        session = open_session(trust_env=True)
        for user in ("alice", "bob"):
            netrc.write_text(f"machine 127.0.0.1 login {user} password secret")
            for _ in range(3):
                async with session.get(url) as response:
                    assert await response.text() == encode_basic_auth(user, "secret")


class TestLifecycle:
    async def test_a_connector_that_is_shared_stays_open(self, open_session: Open, origin: Origin) -> None:
        connector = TCPConnector()
        session = open_session(connector=connector, connector_owner=False)
        async with session, session.get(origin.on("/", numbered)) as response:
            await response.read()
        assert session.closed
        assert not connector.closed
        await connector.close()

    async def test_closing_it_waits_for_no_body(self, open_session: Open, origin: Origin) -> None:
        async def never(request: Received) -> AsyncIterator[bytes]:
            yield answer(headers={"Content-Length": "10"}) + b"12345"
            await asyncio.sleep(10)

        session = open_session()
        response = await session.get(origin.on("/", never))
        async with asyncio.timeout(20):
            await session.close()
        with pytest.raises(RuntimeError, match="Connection closed"):
            await response.read()

    async def test_in_debug_mode_it_remembers_the_line_that_made_it(self) -> None:
        asyncio.get_running_loop().set_debug(True)
        for session in (ClientSession(), CachedSession(), CachedSession(read_bufsize=1024)):
            assert session._source_traceback is not None
            assert session._source_traceback[-1].filename == __file__
            await session.close()

    async def test_it_is_no_synchronous_context_manager(self, open_session: Open) -> None:
        session: Any = open_session()
        with pytest.raises(TypeError), session:
            pass

    async def test_a_session_that_is_dropped_is_gone_at_once(self, open_session: Open, origin: Origin) -> None:
        kept = TCPConnector()
        session: ClientSession | None = open_session(connector=kept, connector_owner=False)
        assert session is not None
        url = origin.on("/", gzipped(b"text"))
        async with session.get(url) as response:
            await response.read()
        gone = weakref.ref(session)
        forget(open_session)
        gc.disable()
        try:
            session.detach()
            del session
            assert gone() is None
        finally:
            gc.enable()
        await kept.close()

    @pytest.mark.parametrize("how", ["read", "closed", "refused"])
    async def test_a_response_that_is_dropped_is_gone_at_once(
        self, open_session: Open, origin: Origin, how: str
    ) -> None:
        async def late(request: Received) -> AsyncIterator[bytes]:
            if how == "refused":
                yield CLOSE
            whole = gzipped(b"text" * 1000)
            yield whole[:-10]
            await asyncio.sleep(0.01)
            yield whole[-10:]

        session, url = open_session(), origin.on("/", late)
        made: list[weakref.ref[Any]] = []

        async def note(request: ClientRequest, handler: Any) -> ClientResponse:
            made.append(weakref.ref(request))
            answered: ClientResponse = await handler(request)
            made.append(weakref.ref(answered))
            return answered

        gc.collect()
        gc.disable()
        try:
            if how == "refused":
                with pytest.raises(ServerDisconnectedError):
                    await session.post(url, middlewares=(note,))
            else:
                async with session.get(url, middlewares=(note,)) as response:
                    if how == "read":
                        await response.read()
                del response
            for _ in range(100):  # the loop drops its references within a few iterations
                if not any(one() for one in made):
                    break
                await asyncio.sleep(0.01)
            assert [one() for one in made] == [None] * len(made)
        finally:
            gc.enable()

    async def test_its_properties_are_what_it_was_made_with(self, open_session: Open) -> None:
        timeout, trace = ClientTimeout(total=1), TraceConfig()
        session = open_session(
            timeout=timeout, trust_env=False, raise_for_status=True, trace_configs=[trace], skip_auto_headers=["A"]
        )
        assert (session.timeout, session.trust_env, session.raise_for_status) == (timeout, False, True)
        assert (session.trace_configs, set(session.skip_auto_headers)) == ([trace], {"A"})
        assert (session.auto_decompress, session.requote_redirect_url, session.auth) == (True, True, None)


def gzipped(body: bytes) -> bytes:
    """A response with a gzip body."""
    return answer(gzip.compress(body), headers={"Content-Encoding": "gzip"})


def forget(open_session: Any) -> None:
    """Drop the references to the sessions."""
    open_session.made.clear()


def latin_1(response: ClientResponse, body: bytes) -> str:
    """Resolve every unknown charset."""
    return "latin-1"


async def read_to_the_end(response: ClientResponse, how: str) -> None:
    """Read a body that always ends in an error, with one of aiohttp's methods."""
    if how == "iter":
        async for _ in response.content.iter_any():
            pass
        return
    source: Any = response if how == "read" else response.content
    while True:
        await getattr(source, how)()
