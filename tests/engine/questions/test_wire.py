"""The body of a request, as it enters the key."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientRequest, ClientSession, FormData, MultipartWriter
from yarl import URL

from aiohttp_cache_di.engine.questions.wire import MAX_KEYED_BODY_BYTES, request_body


@pytest.fixture
async def session() -> Any:
    async with ClientSession() as session:
        yield session


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (None, b""),
        (b"", b""),
        (b"bytes", b"bytes"),
        (bytearray(b"array"), b"array"),
        ("text", b"text"),
        (io.BytesIO(b"stream"), b"stream"),
        (io.StringIO("text stream"), b"text stream"),
        (io.BytesIO(bytes(MAX_KEYED_BODY_BYTES + 1)), None),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_what_can_be_read_twice_is_read(session: ClientSession, data: Any, expected: bytes | None) -> None:
    request = ClientRequest("POST", URL("http://example.org/"), loop=session._loop, session=session, data=data)
    assert await request_body(request) == expected


async def test_a_file_is_read_from_where_it_stands(session: ClientSession, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    with path.open("rb") as file:
        file.seek(5)
        request = ClientRequest("POST", URL("http://example.org/"), loop=session._loop, session=session, data=file)
        assert await request_body(request) == b"56789"
        assert await request_body(request) == b"56789"
        await request._body.close()  # type: ignore[union-attr]  # it has one


async def test_what_cannot_be_read_twice_is_left_alone(session: ClientSession) -> None:
    async def generate() -> Any:
        yield b"data"

    form = FormData()
    form.add_field("generated", generate(), content_type="text/plain")
    for data in (generate(), form):
        request = ClientRequest("POST", URL("http://example.org/"), loop=session._loop, session=session, data=data)
        assert await request_body(request) is None


async def test_a_multipart_body_is_read_part_by_part(session: ClientSession) -> None:
    with MultipartWriter("mixed", boundary="b") as writer:
        writer.append("one")
        writer.append(b"two")
    request = ClientRequest("POST", URL("http://example.org/"), loop=session._loop, session=session, data=writer)
    body = await request_body(request)
    assert body is not None
    assert b"one" in body
    assert b"two" in body
