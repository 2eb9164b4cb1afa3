"""What is taken out of a recording, and what is left in it."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.testing.recording.exchanges import Answered, Asked, Exchange
from aiohttp_cache_di.testing.recording.hiding.filters import Filters
from aiohttp_cache_di.testing.recording.keeping.files import dumped

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


def test_named_values_are_not_written_and_excepted_ones_are() -> None:
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


def test_values_of_a_single_run_are_not_written() -> None:
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


XML = (("Content-Type", "text/xml"),)
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NSJ9.c2lnbmF0dXJl"
SENT = {
    "grant": (FORM, f"grant_type=authorization_code&code={SECRET}&code_verifier={SECRET}&client_id=kept"),
    "grant in JSON": (JSON, f'{{"grant_type": "authorization_code", "code": "{SECRET}", "client_id": "kept"}}'),
    "refresh": (FORM, f"grant_type=refresh_token&refresh_token={SECRET}&client_secret={SECRET}&scope=kept"),
    "device": (FORM, f"device_code={SECRET}&user_code={SECRET}&scope=kept"),
    "no type": ((), f'{{"password": "{SECRET}", "name": "kept"}}'),
    "form without a type": ((), f"password={SECRET}&name=kept"),
    "variables": (JSON, f'{{"query": "mutation {{ kept }}", "variables": {{"password": "{SECRET}"}}}}'),
    "literal": (JSON, f'{{"query": "mutation {{ login(password: \\"{SECRET}\\", name: \\"kept\\") {{ id }} }}"}}'),
    "literal in GraphQL": ((("Content-Type", "application/graphql"),), f'{{ login(password: "{SECRET}") {{ kept }} }}'),
    "JSON in JSON": (JSON, f'{{"kept": "{{\\"token\\": \\"{SECRET}\\"}}"}}'),
    "JSON in a form": (FORM, f"payload=%7B%22token%22%3A%22{SECRET}%22%2C%22a%22%3A%22kept%22%7D"),
    "list": (JSON, f'{{"tokens": ["{SECRET}"], "max_tokens": 7, "a": "kept"}}'),
    "name and value": (JSON, f'[{{"name": "api_token", "value": "{SECRET}"}}, {{"name": "kept", "value": "v"}}]'),
    "element": (XML, f"<a><Password type='x'>{SECRET}</Password><name>kept</name></a>"),
    "CDATA": (XML, f"<a><s:Token><![CDATA[{SECRET}]]></s:Token><name>kept</name></a>"),
    "attribute": (XML, f'<login user="kept" password="{SECRET}"/>'),
    "SOAP without a type": ((), f"<soap:Envelope><Secret>{SECRET}</Secret><a>kept</a></soap:Envelope>"),
    "JWT": ((("Content-Type", "text/plain"),), f"kept {JWT}"),
    "JWT in JSON": (JSON, f'{{"kept": "{JWT}"}}'),
    "parts without a type": (
        (),
        f'--b1\r\nContent-Disposition: form-data; name="password"\r\n\r\n{SECRET}\r\n'
        '--b1\r\nContent-Disposition: form-data; name="a"\r\n\r\nkept\r\n--b1--\r\n',
    ),
}


@pytest.mark.parametrize("what", SENT)
def test_no_secret_in_a_body_is_written(what: str) -> None:
    headers, body = SENT[what]
    asked = Asked("POST", "https://a.example/", headers, body.encode())
    answered = Answered(200, "OK", headers, body.encode())

    once = Filters().exchange(Exchange(asked, answered))

    for shown in (once.asked.body, once.answered.body):
        assert SECRET.encode() not in shown
        assert JWT.encode() not in shown
        assert b"REDACTED" in shown
        assert b"kept" in shown
    assert Filters().exchange(once) == once


@pytest.mark.parametrize(
    "url",
    [
        f"https://me:{SECRET}@a.example/?kept=1",
        f"https://a.example/callback?code={SECRET}-long-enough-1&kept=1",
        f"https://a.example/callback?code={SECRET}-abc&state=1&kept=1",
        f"https://a.example/graphql?variables=%7B%22password%22%3A%22{SECRET}%22%7D&kept=1",
        f"https://a.example/?id_token_hint={JWT}&kept=1",
        f"https://a.example/?q={JWT}&kept=1",
    ],
)
def test_no_secret_in_a_url_is_written(url: str) -> None:
    shown = Filters().url(url)

    assert SECRET not in shown
    assert JWT not in shown
    assert "kept=1" in shown


@pytest.mark.parametrize(
    ("field", "shown"),
    [
        (("Refresh", f"5; url=https://a.example/?token={SECRET}"), "5; url=https://a.example/?token=REDACTED"),
        (("Operation-Location", f"https://a.example/?sig={SECRET}"), "https://a.example/?sig=REDACTED"),
        (("Authentication-Info", SECRET), "REDACTED"),
        (("Location", f"https://[{SECRET}"), "REDACTED"),
        (("Surrogate-Key", "kept"), "kept"),
        (("Access-Control-Allow-Credentials", "true"), "true"),
    ],
)
def test_a_field_of_a_response_is_written_less_its_secret(field: tuple[str, str], shown: str) -> None:
    exchange = Exchange(Asked("GET", "https://a.example/"), Answered(200, "", (field,)))

    assert Filters().exchange(exchange).answered.headers == ((field[0], shown),)


@pytest.mark.parametrize("scheme", ["Bearer", "Basic", "Digest", "AWS4-HMAC-SHA256", "Token", "ApiKey"])
@pytest.mark.parametrize("name", ["Authorization", "Proxy-Authorization", "X-Api-Key", "Ocp-Apim-Subscription-Key"])
def test_a_credential_of_any_scheme_is_not_written(name: str, scheme: str) -> None:
    asked = Asked("GET", "https://a.example/", ((name, f"{scheme} {SECRET}"),))

    assert Filters().asked(asked).headers == ((name, "REDACTED"),)


def test_what_only_reads_like_a_code_or_a_token_is_written() -> None:
    body = b'{"code": "invalid_request_error", "max_tokens": 5, "state": "CA", "text": "query the key: \\"a\\""}'
    asked = Asked("POST", "https://a.example/?code=EUR&state=CA", JSON, body)

    assert Filters().asked(asked) == asked


def test_a_function_changes_what_no_name_tells() -> None:
    def hidden(text: str) -> str:
        return re.sub(r"bot\d+:\w+|<pin>\d+", "HIDDEN", text)

    filters = Filters(texts=[hidden])
    asked = Asked("POST", "https://a.example/bot1:abc/send", (("X-Via", "bot1:abc"), *XML), b"<a><pin>1</pin></a>")
    answered = Answered(200, "OK", (("X-Next", "bot1:abc"),), b'{"next": "bot1:abc"}')

    once = filters.exchange(Exchange(asked, answered))

    assert once.asked.url == "https://a.example/HIDDEN/send"
    assert (once.asked.headers[0][1], once.asked.body) == ("HIDDEN", b"<a>HIDDEN</pin></a>")
    assert (once.answered.headers[0][1], once.answered.body) == ("HIDDEN", b'{"next": "HIDDEN"}')
    assert filters.exchange(once) == once


def test_a_function_that_gives_no_text_is_told() -> None:
    def wrong(text: str) -> str:
        return None  # type: ignore[return-value]  # what is tested

    with pytest.raises(ConfigurationError, match=r"wrong.*returned None; a filter takes text and returns text"):
        Filters(texts=[wrong]).asked(Asked("GET", "https://a.example/"))
