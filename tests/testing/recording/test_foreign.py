"""Recordings of other tools in the door: what they answer, and what is said where they do not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import FormData

from aiohttp_cache_di import CachedSession
from aiohttp_cache_di.testing import UnrecordedRequestError, recorded
from aiohttp_cache_di.testing.recording.files import loaded
from tests.origin import Origin, answer
from tests.testing.recording.tapes import put, text_at, text_of

URL = "https://api.example.com/"


FIELDS = """
interactions:
- request: {body: {a: '1', password: x}, headers: {}, method: POST, uri: 'https://api.example.com/'}
  response: {body: {string: first}, headers: {}, status: {code: 200, message: OK}}
- request: {body: {a: '1', password: x}, headers: {}, method: POST, uri: 'https://api.example.com/'}
  response: {body: {string: second}, headers: {}, status: {code: 200, message: OK}}
version: 1
"""


def parts() -> FormData:
    made = FormData(default_to_multipart=True)
    made.add_field("a", "1")
    made.add_field("password", "y")
    return made


@pytest.mark.parametrize(
    "options",
    [
        {"json": {"a": "1", "password": "y"}},
        {"data": {"password": "y", "a": "1"}},
        {"data": b'{"a": "1", "password": "y"}'},
        {"data": parts},
    ],
)
async def test_fields_that_a_cassette_has_may_have_been_sent_in_any_form(
    path: Path, options: Any, session: CachedSession
) -> None:
    put(path, FIELDS)
    options = {name: value() if callable(value) else value for name, value in options.items()}
    async with recorded(path) as cassette:
        assert await text_of(URL, session, "POST", **options) == "first"
        assert await text_of(URL, session, "POST", json={"a": "1", "password": "z"}) == "second"
        with pytest.raises(UnrecordedRequestError, match="recorded 2 times, and asked for once more"):
            await text_of(URL, session, "POST", data={"a": "1", "password": "y"})
    assert len(cassette.misses) == 1


HAR = '{"log": {"entries": []}}'
READ_ONLY = r'this is (a VCR cassette|a HAR file), which is only read; @pytest.mark.recorded\("NAME.yaml"\)'


@pytest.mark.parametrize(("name", "text"), [("a.yaml", FIELDS), ("a.har", HAR), ("a.json", HAR)])
@pytest.mark.parametrize("mode", ["none", "once", "new_episodes"])
async def test_what_another_tool_has_not_recorded_says_how_it_may_be(
    name: str, text: str, mode: Any, tmp_path: Path, session: CachedSession
) -> None:
    path = tmp_path / name
    put(path, text)
    async with recorded(path, mode):
        with pytest.raises(UnrecordedRequestError, match=READ_ONLY) as caught:
            await text_of(f"{URL}other", session)

    assert "new_episodes" not in str(caught.value)
    assert ("--record-mode=rewrite does so in its place" in str(caught.value)) is (name == "a.yaml")
    assert text_at(path) == text


async def test_a_cassette_is_recorded_anew_in_our_form_though_nothing_has_changed(
    path: Path, origin: Origin, session: CachedSession
) -> None:
    url = origin.on("/a", answer("hello"))
    async with recorded(path, "once"):
        await text_of(url, session)
    (one,) = loaded(text_at(path)).exchanges
    headers = {name: [value] for name, value in one.answered.headers}
    answered = {"body": {"string": "hello"}, "headers": headers, "status": {"code": 200, "message": "OK"}}
    asked = {"body": None, "headers": dict(one.asked.headers), "method": "GET", "uri": url}
    put(path, json.dumps({"interactions": [{"request": asked, "response": answered}], "version": 1}))

    async with recorded(path, "rewrite"), CachedSession() as other:
        await text_of(url, other)

    assert "format: aiohttp-cache-di/1" in text_at(path)
    assert len(loaded(text_at(path)).exchanges) == 1
