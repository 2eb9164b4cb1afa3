"""What is taken out of a recording, and what is left in it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from aiohttp_cache_di.testing.recording.exchanges import Answered, Asked, Exchange
from aiohttp_cache_di.testing.recording.files import dumped
from aiohttp_cache_di.testing.recording.filters import Filters

SECRET = "s3cr3t"
FORM = (("Content-Type", "application/x-www-form-urlencoded"),)
JSON = (("Content-Type", "application/json"),)


def test_no_credential_is_written_by_default() -> None:
    asked = Asked(
        "POST",
        f"https://me:{SECRET}@a.example/p?api_key={SECRET}&next=https%3A%2F%2Fb.example%2F%3Ftoken%3D{SECRET}&q=1#{SECRET}",
        (
            ("Authorization", f"Bearer {SECRET}"),
            ("Cookie", f"sid={SECRET}"),
            ("X-Api-Key", SECRET),
            ("Referer", f"https://a.example/?access_token={SECRET}"),
            *JSON,
        ),
        json.dumps({"password": SECRET, "user": {"refresh_token": SECRET, "name": "me"}}).encode(),
    )
    answered = Answered(
        302,
        "Found",
        (
            ("Set-Cookie", f"sid={SECRET}; Path=/; HttpOnly"),
            ("Location", f"https://a.example/?code=1&token={SECRET}"),
            ("Link", f"<https://a.example/?api_key={SECRET}&page=2>; rel=next"),
            ("X-Auth-Token", SECRET),
            *JSON,
        ),
        json.dumps([{"access_token": SECRET, "expires_in": 3}], indent=2).encode(),
    )

    text = dumped([Filters().exchange(Exchange(asked, answered))])

    assert SECRET not in text
    for kept in ("q=1", "name: me", "code=1", "page=2", "expires_in: 3", "Path=/; HttpOnly", "sid=REDACTED"):
        assert kept in text


def test_what_is_named_is_not_written_and_what_is_excepted_is() -> None:
    filters = Filters(
        headers=["X-Where"], query=["place"], json=["email"], unfiltered=["nextPageToken", "x-user-id", "key"]
    )
    asked = Asked(
        "GET",
        "https://a.example/?place=here&key=1",
        (("x-where", "here"), ("X-User-Id", "7"), *JSON),
        b'{"email":"a@b.c","nextPageToken":"n"}',
    )

    shown = filters.asked(asked)

    assert shown.url == "https://a.example/?place=REDACTED&key=1"
    assert dict(shown.headers)["x-where"] == "REDACTED"
    assert dict(shown.headers)["X-User-Id"] == "7"
    assert shown.body == b'{"email":"REDACTED","nextPageToken":"n"}'


def test_forms_are_filtered_as_queries() -> None:
    asked = Asked("POST", "https://a.example/", FORM, b"grant_type=password&password=x&user=me&place=here")

    body = Filters(query=["place"]).asked(asked).body

    assert body == b"grant_type=password&password=REDACTED&user=me&place=REDACTED"


def test_what_tells_of_one_run_is_not_written() -> None:
    noise = ("User-Agent", "Accept-Encoding", "Host", "traceparent", "Content-Length", "X-Request-Id")
    asked = Asked("GET", "https://a.example/", (*((name, "1") for name in noise), ("Accept", "text/html")))

    assert Filters().asked(asked).headers == (("Accept", "text/html"),)


def test_what_frames_a_body_is_not_written_but_of_head() -> None:
    answered = Answered(200, "OK", (("Content-Length", "3"), ("Transfer-Encoding", "chunked"), ("A", "1")), b"abc")
    get = Exchange(Asked("GET", "https://a.example/"), answered)

    assert Filters().exchange(get).answered.headers == (("A", "1"),)
    head = replace(get, asked=Asked("HEAD", "https://a.example/"))
    assert Filters().exchange(head).answered.headers == (("Content-Length", "3"), ("A", "1"))


def test_a_boundary_is_the_same_each_time() -> None:
    asked = Asked(
        "POST",
        "https://a.example/",
        (("Content-Type", "multipart/form-data; boundary=f00d"),),
        b'--f00d\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--f00d--\r\n',
    )

    shown = Filters().asked(asked)

    assert shown.headers == (("Content-Type", "multipart/form-data; boundary=boundary"),)
    assert shown.body.startswith(b"--boundary\r\n")
    assert shown.body.endswith(b"\r\n--boundary--\r\n")


@pytest.mark.parametrize("name", ["WWW-Authenticate", "ETag", "Cache-Control", "Vary"])
def test_what_a_client_needs_to_go_on_is_written(name: str) -> None:
    exchange = Exchange(Asked("GET", "https://a.example/"), Answered(401, "", ((name, "value"),)))

    assert Filters().exchange(exchange).answered.headers == ((name, "value"),)


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[1, {"])
def test_what_is_said_to_be_json_and_is_none_is_written_as_it_is(body: bytes) -> None:
    asked = Asked("POST", "https://a.example/", JSON, body)

    assert Filters(json=["a"]).asked(asked).body == body


def test_what_cannot_be_laid_out_again_is_filtered_all_the_same() -> None:
    asked = Asked("POST", "https://a.example/", JSON, b'{"a" :1e2, "password" : "x"}')

    assert Filters().asked(asked).body == b'{"a":100.0,"password":"REDACTED"}'


def test_filtering_twice_is_filtering_once() -> None:
    exchange = Exchange(
        Asked("POST", "https://a.example/?token=1&b=%20", (("Authorization", "x"), *JSON), b'{"password": "x"}'),
        Answered(200, "OK", (("Set-Cookie", "a=1; Path=/"), *JSON), b'{"token":"x"}'),
    )
    once = Filters().exchange(exchange)

    assert Filters().exchange(once) == once


def test_a_url_in_json_is_written_without_its_secrets() -> None:
    body = b'{"next": "https://a.test/v1?page=2&access_token=LEAK1", "self": "https://u:LEAK2@h.test/", "n": "a://b c"}'
    exchange = Exchange(
        Asked("GET", "https://a.test/", (), b""), Answered(200, "OK", (("Content-Type", "application/json"),), body)
    )
    written = Filters().exchange(exchange).answered.body
    assert b"LEAK" not in written
    assert b"page=2" in written
    assert b"a://b c" in written


def test_a_field_of_a_form_in_parts_is_written_without_its_secret() -> None:
    part = b'--%s\r\nContent-Type: text/plain\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
    body = part % (b"x1y2", b"password", b"LEAK") + part % (b"x1y2", b"city", b"paris") + b"--x1y2--\r\n"
    asked = Asked("POST", "https://a.test/", (("Content-Type", "multipart/form-data; boundary=x1y2"),), body)
    written = Filters().asked(asked).body
    assert b"LEAK" not in written
    assert b"paris" in written
