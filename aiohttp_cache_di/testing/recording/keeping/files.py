"""Read and write recordings in our own format, YAML that people can read and edit, and recognise other formats."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, NamedTuple

from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.testing.recording.bodies import as_object, listed, read_body, written_body
from aiohttp_cache_di.testing.recording.exchanges import Answered, Asked, Exchange, Fields, value_of
from aiohttp_cache_di.testing.recording.keeping.foreign import Attached, from_har, from_vcr
from aiohttp_cache_di.testing.recording.keeping.places import nothing_attached, opened
from aiohttp_cache_di.testing.recording.keeping.yaml_data import YAMLError, dumped_yaml, loaded_yaml

__all__ = ["Recording", "dumped", "load", "loaded", "may_be_written", "save"]

FORMAT: Final = "aiohttp-cache-di/1"
_HEAD: Final = "# What upstreams have answered to a test; `pytest --record-mode=rewrite` records it anew.\n"


def may_be_written(path: Path) -> bool:
    """Whether a recording can be written to *path*, by its suffix: our own format is YAML."""
    return path.suffix.lower() in (".yaml", ".yml")


class Recording(NamedTuple):
    """The content of a file.

    Args:
        form: the name of the file's format, for messages; "" for our own format, which is the only one that is written.
    """

    form: str
    exchanges: list[Exchange]


def load(path: Path) -> Recording:
    """Read the recording at *path*.

    Raises:
        FileNotFoundError: there is no such file.
        ConfigurationError: it cannot be read as our own format, a VCR cassette (version 1) or a HAR file.
    """
    try:
        with opened(path) as (text, attached):
            return loaded(text, attached)
    except FileNotFoundError:
        raise
    except (ConfigurationError, UnicodeDecodeError, OSError) as exc:
        raise ConfigurationError(f"{path}: {exc}") from exc


def loaded(text: str, attached: Attached = nothing_attached) -> Recording:
    """Parse *text*, the content of a file; *attached* reads the other files that it refers to."""
    content: Any
    try:
        content = json.loads(text) if text.lstrip()[:1] == "{" else loaded_yaml(text)
    except (ValueError, YAMLError) as exc:
        raise ConfigurationError(f"this is neither YAML nor JSON, or has tags that would run code: {exc}") from exc
    try:
        return _recording(content, attached)
    except (TypeError, LookupError, AttributeError, ValueError) as exc:
        if isinstance(exc, ConfigurationError):
            raise
        raise ConfigurationError(f"a part is missing, or has the wrong type: {exc!r}") from exc


def _recording(content: Any, attached: Attached) -> Recording:
    parts = as_object(content) or {}
    name = parts.get("format")
    if name is not None and name != FORMAT:
        raise ConfigurationError(f"format {name!r} is not known; this release reads {FORMAT!r}")
    if name is not None:
        return Recording("", [_read(one) for one in parts["exchanges"]])
    for interactions in ("interactions", "http_interactions"):  # vcrpy, and VCR for Ruby
        if interactions in parts:
            return Recording("a VCR cassette", from_vcr(parts[interactions]))
    if "log" in parts:
        return Recording("a HAR file", from_har(parts["log"]["entries"], attached))
    raise ConfigurationError("this is not a recording: it has no exchanges, no interactions and no log")


def dumped(exchanges: Iterable[Exchange]) -> str:
    """Format *exchanges* as the text of a file in our own format."""
    content = {"format": FORMAT, "exchanges": [_written(one) for one in exchanges]}
    return _HEAD + dumped_yaml(content)


def save(path: Path, exchanges: Iterable[Exchange]) -> None:
    """Write *exchanges* to *path* atomically: the file is replaced as a whole or left unchanged."""
    text = dumped(exchanges)
    path.parent.mkdir(parents=True, exist_ok=True)
    number, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)
    try:
        with os.fdopen(number, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        Path(name).chmod(0o644)  # recordings are committed to a repository, but mkstemp lets only the user read them
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def _written(exchange: Exchange) -> dict[str, Any]:
    asked, answered = exchange.asked, exchange.answered
    request: dict[str, Any] = {"method": asked.method, "url": asked.url}
    if asked.headers:
        request["headers"] = _grouped(asked.headers)
    request |= _surviving(asked.body, value_of(asked.headers, "content-type"))
    response: dict[str, Any] = {"status": answered.status}
    if answered.reason != _phrase(answered.status):
        response["reason"] = answered.reason
    if answered.headers:
        response["headers"] = _grouped(answered.headers)
    response |= _surviving(answered.body, value_of(answered.headers, "content-type"))
    if answered.is_coded:
        response["coded"] = True
    found: dict[str, Any] = {"request": request, "response": response}
    if exchange.recorded_at is not None:
        moment = datetime.fromtimestamp(int(exchange.recorded_at), UTC)
        found["recorded_at"] = moment.isoformat().replace("+00:00", "Z")
    return found


def _surviving(body: bytes, content_type: str) -> dict[str, Any]:
    """*body* as the keys of a file, in the first form that a round trip through YAML does not change."""
    for kind in (content_type, "text/plain", "application/octet-stream"):
        written = written_body(body, kind)
        if loaded_yaml(dumped_yaml(written)) == written:
            return written
    return written_body(b"\0" + body, "")  # pragma: no cover  # base64 always survives


def _read(written: Mapping[str, Any]) -> Exchange:
    request, response = written["request"], written["response"]
    asked = Asked(str(request["method"]).upper(), str(request["url"]), _fields(request), read_body(request))
    status = int(response["status"])
    reason = str(response.get("reason", _phrase(status)))
    answered = Answered(status, reason, _fields(response), read_body(response), bool(response.get("coded")))
    at = written.get("recorded_at")
    if isinstance(at, str):
        at = datetime.fromisoformat(at)
    if isinstance(at, datetime) and at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return Exchange(asked, answered, at.timestamp() if isinstance(at, datetime) else None)


def _grouped(fields: Fields) -> dict[str, Any]:
    """The fields by name, each with its value, or a list of values if the name is repeated."""
    found: dict[str, Any] = {}
    names: dict[str, str] = {}
    for name, value in fields:
        shown = names.setdefault(name.lower(), name)
        if shown not in found:
            found[shown] = value
        elif isinstance(found[shown], list):
            found[shown].append(value)
        else:
            found[shown] = [found[shown], value]
    return found


def _fields(written: Mapping[str, Any]) -> Fields:
    headers: Mapping[str, Any] = written.get("headers") or {}
    return tuple((str(name), str(value)) for name, values in headers.items() for value in listed(values))


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
