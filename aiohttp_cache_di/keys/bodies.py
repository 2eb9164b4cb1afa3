"""The digest of a request body, of the bytes that aiohttp would send, in a canonical form.

The engine has the bytes of a body and a user passes ``data=`` or ``json=``; both must get the same digest. So in JSON
white space makes no difference, nor does the order of names (unless *ordered*); nor does that of different fields in a
form, nor the random boundary of a multipart body. A body that has no lossless canonical form is taken byte by byte.
"""

from __future__ import annotations

import io
import json as jsonlib
import re
from collections.abc import Callable, Coroutine, Generator, Iterable
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from hashlib import blake2b
from typing import Any, Final, NoReturn, cast
from urllib.parse import unquote, unquote_plus

from aiohttp import FormData, MultipartWriter
from aiohttp.payload import AsyncIterablePayload, IOBasePayload, LookupError, Payload, TextIOPayload, get_payload
from msgspec import Struct

from aiohttp_cache_di.lazy import compiled_later

__all__ = ["OCTETS", "Body", "body_digest", "body_of", "canonical_pairs"]

OCTETS: Final = "application/octet-stream"  # aiohttp's default Content-Type for bytes
_FORM: Final = "application/x-www-form-urlencoded"
_BOUNDARY: Final = compiled_later(r';\s*boundary=("(?:[^"\\]|\\.)*"|[^;\s]*)', re.IGNORECASE)
_PART_NAME: Final = compiled_later(
    rb'^content-disposition:[^\r\n]*?;\s*name="((?:[^"\\]|\\.)*)"', re.IGNORECASE | re.MULTILINE
)


class Body(Struct, frozen=True):
    """A request body as it is sent, before the content coding that ``compress=`` applies."""

    content: bytes
    content_type: str


def body_of(
    data: Any,
    json: Any = None,
    *,
    json_serialize: Callable[[Any], str | bytes] = jsonlib.dumps,
) -> Body | None:
    """The body that aiohttp would send for ``data=`` and ``json=``; None for no body.

    Files are read, and their positions are restored.

    Raises:
        TypeError: the body is a stream, whose content is unknown before it is sent, or aiohttp cannot send it.
    """
    if data is None:
        if json is None:
            return None
        text = json_serialize(json)
        return Body(text.encode() if isinstance(text, str) else text, "application/json")
    if isinstance(data, (bytes, bytearray, memoryview)):
        return Body(bytes(cast("bytes", data)), OCTETS)
    with _positions_kept(data):
        payload = _payload(data)
        return Body(_content(payload), payload.content_type)


def _payload(data: Any) -> Payload:
    if isinstance(data, FormData):
        return data()
    try:
        return get_payload(data, disposition=None)
    except LookupError:
        return FormData(data)()


def body_digest(
    body: Body, ignored: frozenset[str] = frozenset(), content_encoding: str = "", *, ordered: bool = False
) -> bytes:
    """The digest of *body*.

    Args:
        ignored: names of top-level JSON members and form fields that make no difference.
        content_encoding: an encoded body has another digest than the same bytes without encoding.
        ordered: the order of different names makes a difference.
    """
    kind, _, parameters = body.content_type.partition(";")
    kind = kind.strip().lower()
    if content_encoding:
        return _digest(b"coded", _text(content_encoding.lower()), _text(body.content_type), body.content)
    try:
        if kind == _FORM:
            text = canonical_pairs(body.content.decode("ascii"), ignored, ordered=ordered)
            return _digest(b"form", _text(parameters), text.encode())
        if kind == "application/json" or kind.endswith("+json"):
            return _digest(b"json", _text(body.content_type), _canonical_json(body.content, ignored, ordered=ordered))
        if kind.startswith("multipart/") and (boundary := _BOUNDARY.search(body.content_type)):
            rest = body.content_type[: boundary.start()] + body.content_type[boundary.end() :]
            return _digest(b"multipart", _text(rest), *_parts(body.content, boundary[1], ignored))
    except (ValueError, ArithmeticError, RecursionError):
        # The content does not match its type, or has no lossless canonical form: its bytes count.
        return _digest(b"bytes", _text(body.content_type), body.content)
    return _digest(b"bytes", _text(body.content_type), body.content)


def canonical_pairs(query: str, ignored: frozenset[str] = frozenset(), *, ordered: bool = False) -> str:
    """A query string or a form with its names sorted, unless *ordered*; values of one name keep their order."""
    pairs = query.split("&")
    if ignored:
        pairs = [pair for pair in pairs if unquote_plus(pair.partition("=")[0]) not in ignored]
    if len(pairs) > 1 and not ordered:
        pairs.sort(key=_pair_name)
    return "&".join(pairs)


def _pair_name(pair: str) -> str:
    # Decoded: for a server "sort+by" and "sort%20by" are the same name, and the order of its values matters.
    return unquote_plus(pair.partition("=")[0])


def _text(content_type: str) -> bytes:
    kind, *parameters = (part.strip() for part in content_type.split(";"))
    return ";".join((kind.lower(), *parameters)).encode("utf-8", "surrogatepass")


def _digest(*components: bytes) -> bytes:
    state = blake2b(digest_size=20)
    for component in components:
        state.update(b"%d:" % len(component))
        state.update(component)
    return state.digest()


def _canonical_json(content: bytes, ignored: frozenset[str], *, ordered: bool) -> bytes:
    value = jsonlib.loads(
        content.decode(),
        object_pairs_hook=_distinct,
        parse_float=_exact_float,
        parse_constant=_refuse,
    )
    if ignored and isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        value = {name: member for name, member in members.items() if name not in ignored}
    return jsonlib.dumps(value, sort_keys=not ordered, separators=(",", ":")).encode()


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name occurs twice")  # which of the two counts depends on the server
    return members


def _exact_float(literal: str) -> float:
    value = float(literal)
    if repr(value) != literal and Decimal(repr(value)) != Decimal(literal):
        raise ValueError("more digits than a float holds")  # two different numbers would become the same
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _parts(content: bytes, boundary: str, ignored: frozenset[str]) -> list[bytes]:
    if boundary.startswith('"'):
        boundary = re.sub(r"\\(.)", r"\1", boundary[1:-1])
    delimiter = b"--" + boundary.encode("ascii")
    start, *parts = (b"\r\n" + content).split(b"\r\n" + delimiter)
    if start or len(parts) < 2 or parts[-1] != b"--\r\n":
        raise ValueError("no multipart body")
    if any(delimiter in part or not part.startswith(b"\r\n") for part in parts[:-1]):
        # Then the boundary is part of the meaning: with another one the body would have other parts.
        raise ValueError("the boundary occurs in the content")
    return [part for part in parts if not ignored or _part_name(part) not in ignored]


def _part_name(part: bytes) -> str | None:
    head = part.partition(b"\r\n\r\n")[0]
    name = _PART_NAME.search(head)
    return None if name is None else unquote(name[1].decode("utf-8", "surrogateescape"))


def _content(payload: Payload) -> bytes:
    """The bytes of a payload that is in memory or in a file, read without an event loop."""
    if isinstance(payload, MultipartWriter):
        delimiter = b"--" + payload.boundary.encode("ascii")
        parts = b"".join(b"%b\r\n%b%b\r\n" % (delimiter, _head(part), _content(part)) for part, _, _ in payload)
        return parts + delimiter + b"--\r\n"
    if isinstance(payload, IOBasePayload) and payload.size is None:
        raise _no_content(payload)  # a pipe: what is read here could not be sent any more
    if isinstance(payload, TextIOPayload):
        return payload.decode().encode(payload.encoding or "utf-8")
    if isinstance(payload, IOBasePayload):
        return payload.decode("latin-1").encode(
            "latin-1"
        )  # lossless, and the only way to read it without an event loop
    if isinstance(payload, AsyncIterablePayload):
        raise _no_content(payload)
    return _run_at_once(payload)


def _head(part: Payload) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in part.headers.items()).encode() + b"\r\n"


def _run_at_once(payload: Payload) -> bytes:
    coroutine: Coroutine[Any, Any, bytes] = payload.as_bytes()
    try:
        coroutine.send(None)
    except StopIteration as end:
        content: bytes = end.value
        return content
    coroutine.close()
    raise _no_content(payload)


def _no_content(payload: Payload | io.IOBase) -> TypeError:
    return TypeError(
        f"a {type(payload).__name__} is a stream: its content is unknown before it is sent, so it has no key"
    )


@contextmanager
def _positions_kept(data: Any) -> Generator[None]:
    """Restore the positions of files, so that the request still sends all of them."""
    with ExitStack() as stack:
        for file in _files(data):
            if not file.seekable():
                raise _no_content(file)
            stack.callback(file.seek, file.tell())
        yield


def _files(data: Any) -> Iterable[io.IOBase]:
    if isinstance(data, io.IOBase):
        return [data]
    fields: Any = data.values() if hasattr(data, "values") else data if type(data) in (list, tuple) else ()
    values: list[Any] = [field[-1] if type(field) is tuple and field else field for field in fields]
    return [value for value in values if isinstance(value, io.IOBase)]
