from __future__ import annotations

import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import FormData, MultipartWriter, payload
from multidict import MultiDict
from yarl import URL

from aiohttp_cache_di.keys import create_key, plain_key
from tests.blocking import allowed_to_block
from tests.keys.samples import BASE, JSON, basic_auth


class _Captured(Exception):  # noqa: N818  # No error: it ends a request before it reaches the network.
    pass


async def wire_view(method: str, url: str | URL, **kwargs: Any) -> tuple[str, URL, dict[str, Any]]:
    """What the engine sees of a request: the arguments that a middleware of a real session makes of it."""
    seen: list[tuple[str, URL, dict[str, Any]]] = []

    async def capture(request: aiohttp.ClientRequest, _: Any) -> aiohttp.ClientResponse:
        body = request.body
        content = body if isinstance(body, bytes) else await body.as_bytes()
        arguments: dict[str, Any] = {"headers": request.headers, "data": content}
        if request.proxy is not None:
            arguments["proxy"] = request.proxy
            arguments |= {"proxy_auth": request.proxy_auth, "proxy_headers": request.proxy_headers}
        seen.append((request.method, request.url, arguments))
        raise _Captured

    async with aiohttp.ClientSession(middlewares=(capture,)) as session:
        with pytest.raises(_Captured):
            await session.request(method, url, **kwargs)
    return seen[0]


async def assert_both_views_agree(method: str, url: str | URL, options: dict[str, Any], **kwargs: Any) -> None:
    with allowed_to_block("a file that the user hands to it is read where it is called"):
        users = create_key(method, url, **kwargs, **options)
        assert create_key(method, url, **kwargs, **options) == users
    wire_method, wire_url, arguments = await wire_view(method, url, **kwargs)
    assert create_key(wire_method, wire_url, **arguments, **options) == users


def form(*fields: tuple[Any, ...], **kwargs: Any) -> FormData:
    data = FormData(**kwargs)
    for name, value, *more in fields:
        extra: dict[str, Any] = more[0] if more else {}
        data.add_field(name, value, **extra)
    return data


def multipart() -> MultipartWriter:
    writer = MultipartWriter("mixed")
    writer.append("text")
    writer.append_json({"a": 1})
    return writer


REQUESTS: dict[str, Callable[[], tuple[str, str | URL, dict[str, Any]]]] = {
    "plain": lambda: ("GET", BASE, {}),
    "lower case method": lambda: ("get", BASE, {}),
    "fragment": lambda: ("GET", BASE + "#part", {}),
    "no path": lambda: ("GET", "http://example.org", {}),
    "upper case host and own port": lambda: ("GET", "HTTP://EXAMPLE.org:80/api", {}),
    "url object": lambda: ("GET", URL(BASE) / "x y", {}),
    "encoded url": lambda: ("GET", URL(BASE + "/%41%2fb?x=%41+%20", encoded=True), {}),
    "international": lambda: ("GET", "http://bücher.example/ä?ö=ü", {}),
    "ipv6": lambda: ("GET", "http://[::1]:8080/", {}),
    "params": lambda: ("GET", BASE, {"params": {"b": "2", "a": "x y&=ü"}}),
    "params and query": lambda: ("GET", BASE + "?a=1", {"params": {"a": "2"}}),
    "params as pairs": lambda: ("GET", BASE, {"params": [("a", "1"), ("a", 2), ("b", 3.5)]}),
    "params as text": lambda: ("GET", BASE, {"params": "a=1&b=%20"}),
    "params as multidict": lambda: ("GET", BASE, {"params": MultiDict([("a", "1"), ("a", "2")])}),
    "json": lambda: ("POST", BASE, {"json": {"b": [1, 2.5, None, True, "ü\u2028"], "a": {"d": 1, "c": -0.0}}}),
    "json null": lambda: ("POST", BASE, {"json": None}),
    "json text": lambda: ("POST", BASE, {"json": "text"}),
    "json as text": lambda: ("POST", BASE, {"data": '{"a":  1}', "headers": JSON}),
    "json not a number": lambda: ("POST", BASE, {"json": {"b": math.nan, "a": 1}}),
    "json payload": lambda: ("POST", BASE, {"data": payload.JsonPayload({"a": 1})}),
    "bytes": lambda: ("POST", BASE, {"data": b"\x00\xff"}),
    "bytearray": lambda: ("POST", BASE, {"data": bytearray(b"abc")}),
    "memoryview": lambda: ("POST", BASE, {"data": memoryview(b"abc")}),
    "no bytes": lambda: ("POST", BASE, {"data": b""}),
    "text": lambda: ("POST", BASE, {"data": "text ü"}),
    "dict": lambda: ("POST", BASE, {"data": {"b": "2 ü", "a": "1"}}),
    "pairs": lambda: ("POST", BASE, {"data": [("a", "2"), ("a", "1")]}),
    "form": lambda: ("POST", BASE, {"data": form(("b", "2"), ("a", "1"))}),
    "form in latin-1": lambda: ("POST", BASE, {"data": form(("a", "ü"), charset="iso-8859-1")}),
    "multipart form": lambda: ("POST", BASE, {"data": form(("a", "1"), default_to_multipart=True)}),
    "multipart form with files": lambda: (
        "POST",
        BASE,
        {"data": form(("f", io.BytesIO(b"\xff\x00"), {"filename": "f.bin"}), ("t", io.StringIO("text")), ("a", "1"))},
    ),
    "dict with a file": lambda: ("POST", BASE, {"data": {"f": io.BytesIO(b"content"), "a": "1"}}),
    "multipart": lambda: ("POST", BASE, {"data": multipart()}),
    "file in memory": lambda: ("POST", BASE, {"data": io.BytesIO(b"content")}),
    "text file in memory": lambda: ("POST", BASE, {"data": io.StringIO("text ü")}),
    "file on disk": lambda: ("POST", BASE, {"data": Path(__file__).open("rb")}),  # noqa: SIM115  # Closed by aiohttp.
    "text file on disk": lambda: ("POST", BASE, {"data": Path(__file__).open()}),  # noqa: SIM115  # Closed by aiohttp.
    "compressed": lambda: ("POST", BASE, {"data": b"content", "compress": True}),
    "compressed with gzip": lambda: ("POST", BASE, {"json": {"a": 1}, "compress": "gzip"}),
    "header": lambda: ("GET", BASE, {"headers": {"Accept": "text/html", "X-A": "1"}}),
    "headers as pairs": lambda: ("GET", BASE, {"headers": [("X-A", "1"), ("X-A", "2")]}),
    "another host": lambda: ("GET", BASE, {"headers": {"Host": "a.test"}}),
    "its own host": lambda: ("GET", BASE, {"headers": {"host": "EXAMPLE.org:80"}}),
    "conditional": lambda: ("GET", BASE, {"headers": {"If-None-Match": '"x"', "Cache-Control": "no-cache"}}),
    "content type of its own": lambda: ("POST", BASE, {"data": b"<a/>", "headers": {"content-type": "text/xml"}}),
    "content type without body": lambda: ("GET", BASE, {"headers": {"Content-Type": "application/vnd.x+json"}}),
    "userinfo": lambda: ("GET", "http://user:p%40ss@example.org/api", {}),
    "user alone": lambda: ("GET", "http://user@example.org/api", {}),
    "auth": lambda: ("GET", BASE, {"auth": basic_auth("user", "pässword")}),
    "auth in utf-8": lambda: ("GET", BASE, {"auth": basic_auth("user", "密", "utf-8")}),
    "cookies": lambda: ("GET", BASE, {"cookies": {"b": "2", "a": "1 2;,"}}),
    "cookie header": lambda: ("GET", BASE, {"headers": {"Cookie": "b=2; a=1"}}),
    "cookies over a cookie header": lambda: (
        "GET",
        BASE,
        {"headers": {"Cookie": "b=2; a=1"}, "cookies": {"a": "3", "c": "4"}},
    ),
    "api key": lambda: ("GET", BASE, {"headers": {"X-Api-Key": "k"}}),
    "proxy auth": lambda: ("GET", BASE, {"proxy": "http://proxy:1", "proxy_auth": basic_auth("u", "p")}),
    "proxy headers": lambda: (
        "GET",
        BASE,
        {"proxy": "http://proxy:1", "proxy_headers": {"Proxy-Authorization": "Basic eA==", "X": "y"}},
    ),
    "indifferent arguments": lambda: (
        "GET",
        BASE,
        {"allow_redirects": False, "timeout": aiohttp.ClientTimeout(5), "expect100": False, "read_until_eof": True},
    ),
}


@pytest.mark.filterwarnings("ignore:The '(proxy_)?auth' parameter is deprecated:DeprecationWarning")
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"include_headers": True},
        {"ignored_params": ["a", "X-A"]},
        {"match_headers": ["accept", "x-a"]},
    ],
    ids=["default", "headers", "ignored", "matched"],
)
@pytest.mark.parametrize("name", REQUESTS)
async def test_the_engine_and_the_user_come_to_the_same_key(name: str, options: dict[str, Any]) -> None:
    method, url, kwargs = REQUESTS[name]()
    try:
        await assert_both_views_agree(method, url, options, **kwargs)
    finally:
        if isinstance(kwargs.get("data"), io.IOBase):
            kwargs["data"].close()


def test_a_file_is_sent_whole_after_its_key_was_made(tmp_path: Path) -> None:
    path = tmp_path / "body"
    path.write_bytes(b"0123456789")
    with path.open("rb") as file:
        file.seek(3)
        for data in (file, {"f": file}, [("f", file)]):
            create_key("POST", BASE, data=data)
            assert file.tell() == 3
    text = io.StringIO("text")
    create_key("POST", BASE, data=text)
    assert text.read() == "text"


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("ignored", [(), ("b",)])
@pytest.mark.parametrize("method", ["GET", "HEAD", "QUERY"])
@pytest.mark.parametrize(
    "target", ["", "/", "/p;a=b?b=2&a=1&b=1", "/\u00e9?q=%2F#fragment", "/" + "x" * 2000 + "?b=2&a=1"]
)
def test_the_key_of_a_plain_request_is_that_of_any_request(
    method: str, target: str, ignored: tuple[str, ...], ordered: bool
) -> None:
    url = URL(f"https://Example.org:8443{target}")
    plain = plain_key(method, url, ignored_params=ignored, ordered=ordered)
    assert plain == create_key(method, url, ignored_params=ignored, ordered=ordered)
    assert plain != plain_key("OPTIONS", url, ignored_params=ignored, ordered=ordered)
