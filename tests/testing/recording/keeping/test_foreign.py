"""Recordings of other tools in the door: what they answer, and what is said where they do not."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from aiohttp import FormData

from aiohttp_cache_di import CachedSession, ConfigurationError
from aiohttp_cache_di.testing import UnrecordedRequestError, recorded
from aiohttp_cache_di.testing.recording.keeping.files import load, loaded
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


def har_with(name: str) -> str:
    """A HAR file whose two bodies are in the file *name*, as Playwright writes it."""
    posted: dict[str, Any] = {"mimeType": "application/octet-stream", "params": [], "_file": name}
    content = {"mimeType": "text/plain; charset=latin-1", "size": 2, "_file": name}
    failed = {"request": {}, "response": {"status": -1}}
    entry: dict[str, Any] = {
        "request": {"method": "POST", "url": URL, "headers": [], "postData": posted},
        "response": {"status": 200, "headers": [], "content": content},
    }
    return json.dumps({"log": {"entries": [entry, failed]}})


@pytest.mark.parametrize("suffix", [".har", ".zip"])
def test_bodies_that_playwright_has_put_beside_a_har_file_are_read(suffix: str, tmp_path: Path) -> None:
    body, path = b"\xe9\x00", tmp_path / f"a{suffix}"
    if suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("har.har", har_with("1f.bin"))
            archive.writestr("1f.bin", body)
    else:
        put(path, har_with("1f.bin"))
        (tmp_path / "1f.bin").write_bytes(body)

    (one,) = load(path).exchanges

    assert (one.asked.body, one.answered.body) == (body, body)


@pytest.mark.parametrize(
    ("name", "why"), [("1f.bin", "cannot be read"), ("../1f.bin", "outside of"), ("/etc/hosts", "outside of")]
)
def test_a_body_that_does_not_lie_beside_a_har_file_is_named(name: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "1f.bin").write_bytes(b"another's")
    folder = tmp_path / "folder"
    folder.mkdir()
    put(folder / "a.har", har_with(name))
    with pytest.raises(ConfigurationError, match=f"a.har: .*{name}.*{why}"):
        load(folder / "a.har")


@pytest.mark.parametrize(
    ("names", "why"), [(["har.har"], "the archive does not have"), ([], "0 files"), (["a.har", "b.har"], "2 files")]
)
def test_an_archive_that_lacks_a_part_says_so(names: list[str], why: str, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, har_with("1f.bin"))
    with pytest.raises(ConfigurationError, match=f"a.zip: .*{why}"):
        load(path)
    path.write_bytes(b"no archive")
    with pytest.raises(ConfigurationError, match=r"a\.zip: the archive cannot be read"):
        load(path)


def test_a_har_file_of_no_file_has_no_bodies_beside_it() -> None:
    with pytest.raises(ConfigurationError, match=r"1f\.bin.*not read from a file"):
        loaded(har_with("1f.bin"))
