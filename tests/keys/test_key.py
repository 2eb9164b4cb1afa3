from __future__ import annotations

import asyncio
import io
import itertools
import json
import os
import string
from typing import Any

import pytest
from aiohttp import FormData, encode_basic_auth, payload
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from aiohttp_cache_di.keys import DEFAULT_CREDENTIAL_HEADERS, create_key
from aiohttp_cache_di.keys.credentials import digest_of
from tests.keys.samples import BASE, FORM, JSON, basic_auth


def key_of(request: dict[str, Any]) -> str:
    return create_key(**request)


def form(*fields: tuple[Any, ...], **kwargs: Any) -> FormData:
    data = FormData(**kwargs)
    for name, value, *more in fields:
        extra: dict[str, Any] = more[0] if more else {}
        data.add_field(name, value, **extra)
    return data


def distinct_requests() -> dict[str, dict[str, Any]]:
    """Requests of which no two are the same, by a name; most are a step away from another."""
    table: dict[str, dict[str, Any]] = {}

    def add(**request: Any) -> None:
        table[repr(request)] = {"method": "GET", "url": BASE} | request

    for method in ("GET", "HEAD", "POST", "PUT", "QUERY"):
        add(method=method)
        if method != "GET":
            add(method=method, data=b"x")
    hosts = ("http://example.org", "https://example.org", "http://example.org:81", "https://example.org:80")
    for host in (*hosts, "http://example.com", "http://xn--bcher-kva.example", "http://example.org."):
        for path in ("/", "/a", "/A", "/a/", "/a//", "/a/b", "/a%2Fb", "/a%2520b", "/a%20b"):
            add(url=host + path)
    queries = ["a", "a=", "a=1", "a=1&a=2", "a=2&a=1", "a=1&b=2", "a=2&b=1", "a=12", "a=1&a=", "a=1&", "b=1", "A=1"]
    queries += ["sort+by=a&sort%20by=b", "sort%20by=b&sort+by=a", "%61=1&a=2&b=1", "a=2&%61=1&b=1"]
    queries += ["a=1%26b=2", "a%3D1", "a==1", "a=1%23", "a=%2B", "a=+", "a=1;b=2", "ab=1", "a=1&b=", "a=b", "b=a"]
    for query in queries:
        add(url=URL(f"{BASE}?{query}", encoded=True))
        add(method="POST", data=query, headers=FORM)
        add(method="POST", data=query)
        add(method="POST", data=query.encode(), headers=JSON)
    texts = ["{}", "[]", "0", '""', "null", "true", "false", "1", "1.5", '"1"', "[1]", "[1,2]", "[2,1]", "[[1,2]]"]
    texts += ['{"a":1}', '{"a":"1"}', '{"a":1.5}', '{"a":true}', '{"a":null}', '{"A":1}', '{"a":{"b":1}}']
    texts += ['{"a":1,"b":2}', '{"a":2,"b":1}', '{"a":1,"a":2}', '{"a":2,"a":1}', '{"a":2}', '{"a":[]}', '{"":1}']
    texts += ["0.1", "0.1000000000000000055511151231257827", "1e400", "-0.0", "0.0", "NaN", "Infinity", "1e-400"]
    texts += ['"\\u00e9"', '"e\\u0301"', "12345678901234567890", "12345678901234567891", "not json", '"a', "[1,]"]
    texts += ["1e99999999999999999999", "[" * 100_000, "9" * 5_000, '{"a":"\\ud800"}', '{"a":"\\ud801"}']
    for text in texts:
        add(method="POST", data=text.encode(), headers=JSON)
    for content_type in ("text/plain", "application/json", "application/problem+json", "application/octet-stream"):
        add(method="POST", data=b'{"a": 7}', headers={"Content-Type": content_type})
        add(method="POST", data=b'{"a": 7}', headers={"Content-Type": content_type, "Content-Encoding": "gzip"})
    for charset in ("utf-8", "utf-16", "latin-1"):
        add(method="POST", data=b'{"a": 8}', headers={"Content-Type": f"application/json; charset={charset}"})
    for fields in (
        [("a", "1")],
        [("a", "2")],
        [("b", "1")],
        [("a", "1"), ("b", "2")],
        [("a", "1"), ("a", "2")],
        [("a", "2"), ("a", "1")],
        [("a", "1", {"filename": "f"})],
        [("a", "1", {"filename": "g"})],
        [("a", "1", {"content_type": "text/html"})],
        [("a", "1\r\n--x--")],
    ):
        add(method="POST", data=form(*fields, default_to_multipart=True))
    for boundary, body in (
        ("x", b"--x\r\n\r\n1--x\r\n--x--\r\n"),
        ("y", b"--y\r\n\r\n1--y\r\n--y--\r\n"),
        ("x", b"--xy\r\n\r\n1\r\n--x--\r\n"),
        ("x", b"--x\r\n\r\n1\r\n--x--"),
        ("x", b"preamble\r\n--x\r\n\r\n1\r\n--x--\r\n"),
        ("x", b""),
        ("", b"----"),
    ):
        if body:
            add(method="POST", data=body, headers={"Content-Type": f"multipart/form-data; boundary={boundary}"})
    credentials = [{"Authorization": f"Bearer {who}"} for who in "ab"] + [{"Cookie": f"id={who}"} for who in "ab"]
    credentials += [{"X-Api-Key": "a"}, {"X-API-KEY": "b"}, {"Proxy-Authorization": "a"}, {"Authorization": "a"}]
    credentials += [{"Authorization": "Bearer a", "Cookie": "id=a"}, {"Cookie": "id=a; id=b"}, {"Cookie": "id=b; id=a"}]
    for cookies in ('a="x; b=y"', 'b=y"; a="x', 'a="x\\"; b=y"; c=z', 'b=y"; a="x\\"; c=z', 'a="x"; b=y', "a=x; b=y"):
        credentials += [{"Cookie": cookies}]
    for headers in credentials:
        add(headers=headers)
    add(tls="other")
    for socket in ("/run/a.sock", "/run/b.sock"):
        add(socket=socket)
    for proxy in ("http://proxy", "http://proxy:81", "https://proxy:80", "http://other", "http://u:p@proxy"):
        add(proxy=proxy)
    for host in ("a.test", "b.test", "example.org:81", "example.org:443", "example.org.evil.test"):
        add(headers={"Host": host})
    for name in ("X-Forwarded-Host", "X-Original-URL", "X-HTTP-Method-Override", "X-Forwarded-Proto", "X-Url-Scheme"):
        add(headers={name: "a"})
    for proxy_headers in ({"X-Country": "de"}, {"X-Country": "fr"}, {"Proxy-Authorization": "Basic eA=="}):
        add(proxy="http://proxy", proxy_headers=proxy_headers)
    add(decoded=False)
    return table


def test_distinct_requests_have_distinct_keys() -> None:
    table = distinct_requests()
    variations: list[dict[str, Any]] = [{}, {"include_headers": True}]
    for options in variations:
        keys: dict[str, str] = {}
        for name, request in table.items():
            key = key_of(request | options)
            assert key not in keys, f"{name} has the key of {keys[key]}"
            keys[key] = name
    assert len(table) > 200


@pytest.mark.parametrize(
    "requests",
    [
        [{"url": BASE + "?a=1&b=2"}, {"url": BASE + "?b=2&a=1"}, {"url": BASE, "params": {"b": "2", "a": "1"}}],
        [{"url": BASE + "?a=1&b=2&a=3"}, {"url": BASE + "?b=2&a=1&a=3"}],
        [{"url": "http://example.org"}, {"url": "http://example.org/"}, {"url": "HTTP://EXAMPLE.ORG:80/#f"}],
        [{"url": BASE + "?x=%41"}, {"url": BASE + "?x=A"}, {"url": URL(BASE).with_query(x="A")}],
        [{"json": {"a": 1, "b": {"c": 2, "d": 3}}}, {"json": {"b": {"d": 3, "c": 2}, "a": 1}}],
        [
            {"json": {"a": "ü"}},
            {"data": '{ "a" :"ü" }\n', "headers": JSON},
            {"data": b'{"a":"\\u00fc"}', "headers": JSON},
        ],
        [{"data": b"[1.50, 1e2]", "headers": JSON}, {"data": b"[1.5,100.0]", "headers": JSON}],
        [{"data": {"a": "1", "b": "2"}}, {"data": {"b": "2", "a": "1"}}, {"data": b"b=2&a=1", "headers": FORM}],
        [{"data": form(("a", "1"), default_to_multipart=True)}, {"data": form(("a", "1"), default_to_multipart=True)}],
        [
            {"data": b"--x\r\n\r\n1\r\n--x--\r\n", "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
            {"data": b"--y\r\n\r\n1\r\n--y--\r\n", "headers": {"Content-Type": 'Multipart/form-data;boundary="y"'}},
            {"data": b"--+\r\n\r\n1\r\n--+--\r\n", "headers": {"Content-Type": r'multipart/form-data; boundary="\+"'}},
        ],
        [{"data": b""}, {"data": None}, {}, {"data": b"", "headers": {"Content-Type": "application/octet-stream"}}],
        [{"url": "http://u:p@example.org/api"}, {"headers": {"authorization": encode_basic_auth("u", "p")}}],
        [{"headers": {"Cookie": "a=1; b=2"}}, {"headers": {"Cookie": "b=2;a=1"}}, {"cookies": {"b": "2", "a": "1"}}],
        [{"headers": {"Cookie": 'a="1 2"; b="3"'}}, {"headers": {"Cookie": 'b="3"; a="1 2"'}}],
        [{"headers": CIMultiDict({"X-Api-Key": "k"})}, {"headers": CIMultiDictProxy(CIMultiDict({"x-api-key": "k"}))}],
        [
            {"proxy": "http://u:p@proxy"},
            {"proxy": URL("HTTP://PROXY:80/"), "proxy_auth": basic_auth},
        ],
        [{"proxy_headers": {"X": "a"}}, {}],
        [{"headers": {"Host": host}} for host in ("example.org", "EXAMPLE.org", "example.org:80", " example.org ")]
        + [{}],
        [
            {"url": "http://[::1]:8080/"},
            {"url": "http://[::1]:8080/", "headers": [("host", "a"), ("Host", "[::1]:8080")]},
        ],
        [{"headers": {"Authorization": ""}}, {"headers": {}}, {"headers": None}],
        [{"headers": {"Accept": "text/html"}}, {"headers": {"Accept": "image/png"}}, {}],
        [{"tls": ""}, {"decoded": True}, {"ssl": False, "timeout": 5, "expire_after": 3, "refresh": True}],
    ],
)
def test_equal_requests_have_equal_keys(requests: list[dict[str, Any]]) -> None:
    for request in requests:
        if request.get("proxy_auth") is basic_auth:
            request["proxy_auth"] = basic_auth("u", "p")
    assert len({key_of({"method": "POST", "url": BASE} | request) for request in requests}) == 1


words = st.text(string.ascii_letters + string.digits + " &=+%;äß/?#\u2028", max_size=8)
pairs = st.lists(st.tuples(words, words), max_size=6)


def sorted_by_name(fields: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return sorted(fields, key=lambda field: field[0])


@settings(max_examples=200)
@given(first=pairs, second=pairs)
def test_queries_have_one_key_if_and_only_if_they_differ_in_the_order_of_names_alone(
    first: list[tuple[str, str]], second: list[tuple[str, str]]
) -> None:
    same = sorted_by_name(first) == sorted_by_name(second)
    assert (create_key("GET", BASE, params=first) == create_key("GET", BASE, params=second)) is same
    if first and second:
        assert (create_key("POST", BASE, data=first) == create_key("POST", BASE, data=second)) is same


@given(fields=pairs, seed=st.randoms(use_true_random=False))
def test_the_order_of_names_makes_no_difference(fields: list[tuple[str, str]], seed: Any) -> None:
    by_name = [list(group) for _, group in itertools.groupby(sorted_by_name(fields), key=lambda field: field[0])]
    seed.shuffle(by_name)
    shuffled = [field for group in by_name for field in group]
    assert create_key("GET", BASE, params=shuffled) == create_key("GET", BASE, params=fields)


values: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=3), children, max_size=3),
    max_leaves=8,
)


def spelt(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


@settings(max_examples=200)
@given(first=values, second=values)
def test_json_bodies_have_one_key_if_and_only_if_they_are_spelt_alike(first: Any, second: Any) -> None:
    if first is None or second is None:
        return
    same = spelt(first) == spelt(second)
    assert (create_key("POST", BASE, json=first) == create_key("POST", BASE, json=second)) is same


@given(value=values, indent=st.integers(0, 3))
def test_white_space_and_escapes_in_json_make_no_difference(value: Any, indent: int) -> None:
    plain = create_key("POST", BASE, data=json.dumps(value).encode(), headers=JSON)
    pretty = json.dumps(value, indent=indent, ensure_ascii=False).encode("utf-8", "surrogatepass")
    if "\\ud" not in json.dumps(value):
        assert create_key("POST", BASE, data=pretty, headers=JSON) == plain


@given(
    headers=st.dictionaries(
        st.sampled_from(["Content-Type", "Content-Encoding", "X"]),
        st.text(st.characters(exclude_characters="\r\n\0"), max_size=20)
        | st.sampled_from(["application/json", "multipart/form-data; boundary=x", FORM["Content-Type"]]),
    ),
    data=st.binary(max_size=50),
)
def test_any_body_of_any_type_has_a_key(headers: dict[str, str], data: bytes) -> None:
    key = create_key("POST", BASE, data=data, headers=headers)
    assert create_key("POST", BASE, data=data, headers=headers) == key
    assert create_key("POST", BASE, data=data + b"\0", headers=headers) != key


def test_the_order_of_names_makes_a_difference_where_it_is_asked_for() -> None:
    def key(**request: Any) -> str:
        return key_of({"method": "POST", "url": BASE, "ordered": True} | request)

    assert key(url=BASE + "?resize&crop") != key(url=BASE + "?crop&resize")
    assert key(json={"a": 1, "b": 2}) != key(json={"b": 2, "a": 1})
    assert key(data={"a": "1", "b": "2"}) != key(data={"b": "2", "a": "1"})
    assert key(json={"a": "ü", "b": 2}) == key(data='{ "a" :"\\u00fc", "b":2 }', headers=JSON)
    assert key(url=BASE + "?a=1&t=2&b=1", ignored_params=["t"]) == key(url=BASE + "?a=1&b=1")


def test_ignored_params_make_no_difference_wherever_they_are() -> None:
    def key(method: str = "POST", url: str = BASE, **kwargs: Any) -> str:
        return create_key(method, url, ignored_params=["token", "X-Trace"], include_headers=True, **kwargs)

    assert key(url=BASE + "?a=1&token=s") == key(url=BASE + "?token=&a=1&tok%65n=2") == key(url=BASE + "?a=1")
    assert key(url=BASE + "?token=s") == key()
    assert key(json={"a": 1, "token": "s"}) == key(json={"token": {"x": 1}, "a": 1}) == key(json={"a": 1})
    assert key(json={"a": {"token": 1}}) != key(json={"a": {"token": 2}})
    assert key(json=["token"]) != key(json=[])
    assert key(data={"a": "1", "token": "s"}) == key(data={"a": "1", "token": "t"})
    first, second = ({"a": "1", "token": io.BytesIO(content)} for content in (b"s", b"t"))
    assert key(data=first) == key(data=second)
    assert key(headers={"x-trace": "1"}) == key(headers={"X-Trace": "2"}) == key()
    assert key(url=BASE + "?Token=s") != key()


def test_an_ignored_credential_makes_no_difference_either() -> None:
    first, second = (
        create_key("GET", BASE, headers={"X-Api-Key": who}, ignored_params={"X-Api-Key"}) for who in ("a", "b")
    )
    assert first == second


def test_headers_count_when_they_are_included_and_not_otherwise() -> None:
    def key(**headers: str) -> str:
        return create_key("GET", BASE, headers=headers, include_headers=True)

    assert create_key("GET", BASE, headers={"accept": "a"}) == create_key("GET", BASE, headers={"accept": "b"})
    assert key(accept="a") != key(accept="b") != key()
    assert key(accept="*/*") == key()
    assert key(a="1", b="2") == key(b="2", A="1")
    assert key(a="1", b="2") != key(a="12", b="")
    assert key(host="example.org", connection="close", te="x") == key()
    assert key(**{"if-none-match": "x", "cache-control": "no-cache", "range": "bytes=0-1"}) == key()
    assert create_key("GET", BASE, headers=[("a", "1"), ("a", "2")], include_headers=True) != create_key(
        "GET", BASE, headers=[("a", "2"), ("a", "1")], include_headers=True
    )


def test_named_headers_count_alone() -> None:
    def key(**headers: str) -> str:
        return create_key("GET", BASE, headers=headers, match_headers=["Accept-Language"])

    assert key(**{"accept-language": "de"}) != key(**{"accept-language": "en"}) != key()
    assert key(accept="a") == key(accept="b")


@pytest.mark.parametrize("name", sorted({"authorization", "cookie", "proxy-authorization", "x-api-key"}))
def test_credentials_open_a_partition_of_their_own(name: str) -> None:
    assert name in DEFAULT_CREDENTIAL_HEADERS
    keys = {create_key("GET", BASE, headers={name.title(): value} if value else {}) for value in ("", "a=1", "a=2")}
    assert len(keys) == 3
    assert len({digest_of([(name, value)]) for value in ("a=1", "a=2")} | {""}) == 3


def test_credential_headers_can_be_widened_and_narrowed() -> None:
    def key(value: str, *names: str) -> str:
        return create_key("GET", BASE, headers={"X-Tenant": value}, credential_headers=list(names))

    assert key("a", "x-TENANT") != key("b", "x-TENANT")
    assert key("a") == key("b")
    assert create_key("GET", "http://a:b@example.org/api", credential_headers=()) == create_key("GET", BASE)


def test_a_partition_is_named_by_a_digest() -> None:
    assert digest_of([]) == ""
    assert "hunter2" not in digest_of([("authorization", "Bearer hunter2")])
    assert digest_of([("x-api-key", "a"), ("x-api-key", "b")]) != digest_of([("x-api-key", "a")])


def test_short_credentials_cannot_be_guessed_from_a_digest_with_a_key() -> None:
    def told(pin: int, key: bytes) -> tuple[str, str]:
        value = encode_basic_auth("alice", f"{pin:04}")
        headers = {"Authorization": value}
        return digest_of([("authorization", value)], key), create_key("GET", BASE, headers=headers, digest_key=key)

    guesses = {digest for pin in range(10_000) for digest in told(pin, b"")}
    assert guesses.isdisjoint(told(1234, b"a key"))
    assert not guesses.isdisjoint(told(1234, b""))
    assert told(1234, b"a key") == told(1234, b"a key") != told(1234, b"another key")


def test_a_key_of_digests_makes_no_difference_where_there_is_nothing_to_guess() -> None:
    assert create_key("GET", BASE, digest_key=b"a key") == create_key("GET", BASE)
    assert create_key("POST", BASE, data=b"1234", digest_key=b"a key") != create_key("POST", BASE, data=b"1234")


def test_a_key_is_forty_hexadecimal_digits() -> None:
    key = create_key("GET", BASE, headers={"Authorization": "hunter2"})
    assert len(key) == 40
    assert set(key) <= set(string.hexdigits.lower())


def test_keys_stay_the_same_from_release_to_release() -> None:
    assert create_key("GET", BASE + "?b=2&a=1") == "ce25e8ef99281b72cd5c0b44cdf5424929ac4620"
    assert (
        create_key("POST", BASE, json={"a": 1}, headers={"Authorization": "x"})
        == "f1692407146585e1291e1e46037df7a5aa05ac70"
    )


def test_a_custom_serializer_of_json_is_used() -> None:
    def key(text: str | bytes) -> str:
        return create_key("POST", BASE, json=object(), json_serialize=lambda _: text)

    assert key('{"a": 1}') == key(b'{"a":1}') == create_key("POST", BASE, json={"a": 1})


@pytest.mark.parametrize(
    ("name", "near"), [("parms", "params"), ("header", "headers"), ("expire_afer", "expire_after"), ("xyzzy", None)]
)
def test_a_misspelt_argument_is_named_with_the_nearest(name: str, near: str | None) -> None:
    wrong: Any = {name: 1}
    with pytest.raises(TypeError, match=repr(name)) as caught:
        create_key("GET", BASE, **wrong)
    assert ("did you mean" in str(caught.value)) is (near is not None)
    assert near is None or repr(near) in str(caught.value)


async def test_a_stream_has_no_key() -> None:
    async def chunks() -> Any:
        yield b"chunk"

    with pytest.raises(TypeError, match="stream"):
        create_key("POST", BASE, data=chunks())


def test_a_pipe_has_no_key_and_is_not_read() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"content")
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        data: Any
        for data in (pipe, {"f": pipe}, form(("f", pipe))):
            with pytest.raises(TypeError, match="stream"):
                create_key("POST", BASE, data=data)
        assert pipe.read() == b"content"


async def test_a_payload_that_is_read_asynchronously_has_no_key() -> None:
    class SlowPayload(payload.BytesPayload):
        async def as_bytes(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
            await asyncio.sleep(0)
            return b""

    with pytest.raises(TypeError, match="stream"):
        create_key("POST", BASE, data=SlowPayload(b"x"))


def test_a_long_url_has_a_key_and_is_not_remembered() -> None:
    long = BASE + "?" + "&".join(f"p{number}=v" for number in range(1_000))
    assert create_key("GET", long) == create_key("GET", long) != create_key("GET", long + "&p=")


def test_a_content_coding_that_is_no_text_makes_a_key_all_the_same() -> None:
    odd, plain = (
        create_key("POST", BASE, data=b"", headers={"Content-Encoding": coding}) for coding in ("\ud800", "x")
    )
    assert create_key("POST", BASE, data=b"", headers={"Content-Encoding": "\ud800"}) == odd
    assert create_key("POST", BASE, data=b"a", headers={"Content-Encoding": "\ud800"}) not in (odd, plain)


def test_a_query_without_content_is_told_apart_by_the_type_that_it_names() -> None:
    keys = {create_key("QUERY", BASE, headers={"Content-Type": kind}) for kind in ("application/sql", "text/plain")}
    assert len(keys | {create_key("QUERY", BASE)}) == 3
    assert create_key("GET", BASE, headers={"Content-Type": "text/plain"}) == create_key("GET", BASE)
