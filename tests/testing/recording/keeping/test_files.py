"""Recordings as files: our own form, and the forms of others."""

from __future__ import annotations

import base64
import gzip
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.testing.recording.exchanges import Answered, Asked, Exchange
from aiohttp_cache_di.testing.recording.keeping.files import dumped, load, loaded, save

ONE = Exchange(
    Asked("POST", "https://api.example.com/a?b=1", (("Content-Type", "application/json"),), b'{"yes":"no"}'),
    Answered(
        201, "Created", (("Content-Type", "text/html"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")), b"<p>\n</p>\n"
    ),
    1_800_000_000.0,
)


def test_a_file_is_made_to_be_read() -> None:
    assert (
        dumped([ONE])
        == """\
# What upstreams have answered to a test; `pytest --record-mode=rewrite` records it anew.
format: aiohttp-cache-di/1
exchanges:
- request:
    method: POST
    url: https://api.example.com/a?b=1
    headers:
      Content-Type: application/json
    json:
      'yes': 'no'
  response:
    status: 201
    headers:
      Content-Type: text/html
      Set-Cookie:
      - a=1
      - b=2
    text: |
      <p>
      </p>
  recorded_at: '2027-01-15T08:00:00Z'
"""
    )


def test_a_file_comes_back_as_it_was_written(tmp_path: Path) -> None:
    odd = Exchange(Asked("GET", "https://a.example/"), Answered(299, "", (), b"\x00", is_coded=True))
    path = tmp_path / "deep" / "er" / "a.yaml"

    save(path, [ONE, odd])

    assert load(path).exchanges == [ONE, odd]
    assert os.listdir(path.parent) == ["a.yaml"]
    assert os.name != "posix" or stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.yaml"
    save(path, [ONE])
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        save(path, [])

    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.yaml"]


def test_a_date_may_be_written_by_hand_without_quotes() -> None:
    (exchange,) = loaded(dumped([ONE]).replace("'2027-01-15T08:00:00Z'", "2027-01-15 08:00:00")).exchanges

    assert exchange.recorded_at == ONE.recorded_at


VCR = """\
interactions:
- request:
    body: '{"a": 1}'
    headers:
      Accept: ['*/*']
      Content-Type: [application/json]
    method: POST
    uri: https://api.example.com/a
  response:
    body: {string: !!binary aGVsbG8=}
    headers:
      Content-Type: [text/plain]
      Set-Cookie: [a=1, b=2]
      date: ['Sun, 29 Nov 2026 12:00:00 GMT']
    status: {code: 200, message: OK}
- request: {body: null, headers: {}, method: GET, uri: https://api.example.com/b}
  response:
    body: {string: plain}
    headers: {}
    status: {code: 404, message: Not Found}
version: 1
"""


def test_a_vcr_cassette_is_read() -> None:
    first, second = loaded(VCR).exchanges

    assert first.asked == Asked(
        "POST",
        "https://api.example.com/a",
        (("Accept", "*/*"), ("Content-Type", "application/json")),
        b'{"a": 1}',
    )
    assert first.answered.body == b"hello"
    assert first.answered.headers[1:3] == (("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"))
    assert second == Exchange(Asked("GET", "https://api.example.com/b"), Answered(404, "Not Found", (), b"plain"), None)


def test_a_vcr_cassette_in_json_with_a_coded_body_is_read() -> None:
    coded = base64.b64encode(gzip.compress(b"hello")).decode()
    response = {
        "status": {"code": 200, "message": "OK"},
        "headers": {"Content-Encoding": ["gzip"]},
        "body": {"base64_string": coded},
    }
    request: dict[str, Any] = {"method": "get", "uri": "https://a.example/", "body": None, "headers": {}}
    (exchange,) = loaded(
        json.dumps({"version": 1, "interactions": [{"request": request, "response": response}]})
    ).exchanges

    assert (exchange.asked.method, exchange.answered.body) == ("GET", b"hello")


def test_a_har_file_is_read() -> None:
    entry: dict[str, Any] = {
        "startedDateTime": "2026-11-29T12:00:00.000Z",
        "request": {
            "method": "POST",
            "url": "https://a.example/?a=1",
            "headers": [{"name": ":authority", "value": "a.example"}, {"name": "accept", "value": "*/*"}],
            "postData": {"mimeType": "text/plain", "text": "hi"},
        },
        "response": {
            "status": 200,
            "statusText": "",
            "headers": [{"name": "set-cookie", "value": "a=1\nb=2"}, {"name": "content-encoding", "value": "gzip"}],
            "content": {"text": "aGVsbG8=", "encoding": "base64"},
        },
    }
    blocked: dict[str, Any] = {**entry, "response": {"status": 0, "headers": []}}
    (exchange,) = loaded(json.dumps({"log": {"version": "1.2", "entries": [entry, blocked]}})).exchanges

    assert exchange.asked == Asked(
        "POST", "https://a.example/?a=1", (("accept", "*/*"), ("Content-Type", "text/plain")), b"hi"
    )
    assert exchange.answered == Answered(
        200, "", (("set-cookie", "a=1"), ("set-cookie", "b=2"), ("content-encoding", "gzip")), b"hello"
    )
    assert exchange.recorded_at == 1795953600.0


def test_what_a_har_file_does_not_say_is_made_up_for() -> None:
    def entry(posted: dict[str, Any], content: dict[str, Any]) -> dict[str, Any]:
        return {
            "request": {"method": "POST", "url": "https://a.example/", "headers": [], "postData": posted},
            "response": {"status": 200, "headers": [], "content": content},
        }

    form = {"mimeType": "application/x-www-form-urlencoded", "params": [{"name": "a b", "value": "ä"}, {"name": "c"}]}
    parts = {
        "mimeType": "multipart/form-data",
        "text": "",
        "params": [{"name": "f", "fileName": "a.txt", "value": "x"}],
    }
    coded = {"mimeType": "x-unknown", "text": "AAE=", "encoding": "base64"}
    latin = {"mimeType": "text/plain; charset=iso-8859-1", "text": "é"}
    json_of_it = {"mimeType": "application/json", "text": "{}"}
    entries = [entry(form, latin), entry(parts, json_of_it), entry(coded, {})]

    first, second, third = loaded(json.dumps({"log": {"entries": entries}})).exchanges

    assert first.asked.body == b"a+b=%C3%A4&c="
    assert first.answered.body == b"\xe9"
    assert b'name="f"; filename="a.txt"\r\n\r\nx\r\n' in second.asked.body
    assert second.answered.headers == (("Content-Type", "application/json"),)
    assert (third.asked.headers, third.asked.body) == ((), b"\x00\x01")


OLD_VCR = """\
interactions:
- request:
    body: !!python/tuple [!!python/tuple [a, !!python/unicode '1']]
    headers: {Accept: [['*/*']]}
    method: POST
    uri: !!python/unicode 'https://a.example/'
  response:
    body: {string: !!python/unicode 'hello'}
    headers: {}
    status: {code: 200, message: OK}
    url: !!python/object/new:yarl.URL
      state: !!python/tuple
      - !!python/object/new:urllib.parse.SplitResult [https, a.example, /, '', '']
version: 1
"""
RUBY = """\
http_interactions:
- request:
    method: post
    uri: https://a.example/
    body: {encoding: UTF-8, string: a=1}
    headers: {Accept: ['*/*']}
  response:
    status: {code: 200, message: OK}
    headers: {Content-Type: [text/plain]}
    body: {encoding: UTF-8, string: hello}
  recorded_at: Sun, 29 Nov 2026 12:00:00 GMT
recorded_with: VCR 6.2.0
"""


@pytest.mark.parametrize(("text", "body"), [(OLD_VCR, b'[["a","1"]]'), (RUBY, b"a=1")])
def test_a_cassette_of_an_early_release_or_of_ruby_is_read(text: str, body: bytes) -> None:
    (exchange,) = loaded(text).exchanges

    assert exchange.asked == Asked("POST", "https://a.example/", (("Accept", "*/*"),), body)
    assert exchange.answered.body == b"hello"


SENT = """\
interactions:
- request: {body: BODY, headers: {}, method: POST, uri: https://a.example/}
  response: {body: {string: ''}, headers: {}, status: {code: 200, message: OK}}
version: 1
"""


@pytest.mark.parametrize(
    ("written", "body"),
    [
        ("'{\"a\":1}'", b'{"a":1}'),
        ("{a: 1}", b'{"a":1}'),
        ("{string: x}", b'{"string":"x"}'),
        ("!!binary AAE=", b"\x00\x01"),
        ("{f: !!binary eHl6}", b'{"f":"xyz"}'),
        ("[!!binary AAE=, !!binary eHl6]", b"\x00\x01xyz"),
        ("!!python/object/new:_io.BytesIO {state: !!python/tuple [!!binary eHl6, 0, null]}", b"xyz"),
        ("!!python/object/apply:builtins.iter {args: !!python/tuple [[!!binary eHl6]]}", b"xyz"),
        ("{}", b"{}"),
        ("null", b""),
    ],
)
def test_whatever_a_cassette_has_for_a_body_is_read(written: str, body: bytes) -> None:
    assert loaded(SENT.replace("BODY", written)).exchanges[0].asked.body == body


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- a", "this is not a recording"),
        ("{", "neither YAML nor JSON"),
        ("a: !!python/object/apply:os.system [ls]", "tags that would run code"),
        ("format: aiohttp-cache-di/2\nexchanges: []", "aiohttp-cache-di/2"),
        ("format: aiohttp-cache-di/1\nexchanges: [1]", "a part is missing"),
        ("format: aiohttp-cache-di/1\nexchanges:\n- request: {method: GET}", "a part is missing"),
        ("interactions:\n- request: {}\n  response: {}", "a part is missing"),
        ('{"log": {"entries": [{}]}}', "a part is missing"),
    ],
)
def test_what_is_no_recording_is_said_to_be_none(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)

    with pytest.raises(ConfigurationError, match=words) as caught:
        load(path)
    assert str(path) in str(caught.value)
