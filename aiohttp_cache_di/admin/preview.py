"""The head of a stored response and the beginning of its body, as plain text without secrets.

Values are redacted by their names (``token``, ``password`` …), in header fields and in bodies. A secret under an
inconspicuous name is not recognised, so previews can be turned off.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import Final, Literal

from msgspec import Struct

from aiohttp_cache_di.entries.filed import FiledResponse
from aiohttp_cache_di.keys import REDACTED, is_secret_param
from aiohttp_cache_di.keys.names import HARMLESS_FIELDS, says_who_asks
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["PREVIEW_BYTES", "HeaderLine", "Preview", "head_of", "preview_of", "shown", "without_secrets"]

PREVIEW_BYTES: Final = 16 * 1024
HEX_BYTES: Final = 1024
MAX_LINES: Final = 500
MAX_LINE_CHARS: Final = 4096

# Not every codec of Python is a charset (base64, zip), and some are slow.
_CHARSETS: Final = re.compile(
    r"utf-?8|(?:us-)?ascii|latin-?1|(?:iso-?8859|windows|cp)[-_]?\d{1,4}|utf-?16(?:-?[bl]e)?|koi8-[ru]|shift_?jis"
    r"|euc-?(?:jp|kr)|gb(?:2312|k|18030)|big5",
    re.IGNORECASE,
)
_TEXTUAL: Final = re.compile(r"text/|[^;]*(?:json|xml|javascript|x-www-form-urlencoded|yaml|graphql)", re.IGNORECASE)
_MEMBER: Final = re.compile(
    r"""(?P<name>"(?P<double>[^"\\\n]{1,64})"|'(?P<single>[^'\\\n]{1,64})')(?P<colon>\s{0,8}:\s{0,8})"""
    r"""(?P<value>"(?:[^"\\]|\\.)*(?:"|\\?\Z)|'(?:[^'\\]|\\.)*(?:'|\\?\Z)|[^\s,}\]"']+)""",
    re.DOTALL,
)
_ELEMENT: Final = re.compile(r"<(?P<name>[\w:.-]{1,64})(?P<rest>[^<>]{0,256})>(?P<value>[^<]+)")
_NAME: Final = re.compile(r"([\w.\[\]-]{1,64})=")
_VALUE: Final = re.compile(r"""(["']?)[^&\s"'<>;]+""")
_USERINFO: Final = re.compile(r"//[^/?#<>\"'\s@]{1,512}@")
_BEARER: Final = re.compile(r"\b(?P<scheme>Bearer|Basic)\s+[\w.~+/-]{8,}=*")


class HeaderLine(Struct, frozen=True):
    """A header field.

    Args:
        value: None if it is a secret.
    """

    name: str
    value: str | None


class Preview(Struct, frozen=True):
    """The beginning of a body.

    Args:
        kind: "off" if previews are turned off; "empty" if the body has no bytes.
        text: the body as text, or as a hex dump.
        of_bytes: the number of bytes shown.
        is_whole: whether the whole body is shown.
        is_redacted: whether a value was redacted.
    """

    kind: Literal["text", "hex", "empty", "off"]
    text: str = ""
    of_bytes: int = 0
    is_whole: bool = True
    is_redacted: bool = False


def shown(text: str) -> str:
    """*text* with escapes for line breaks, invisible characters and changes of the writing direction."""
    return text if text.isprintable() else "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def _shown_lines(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\u{ord(c):04x}" for c in text.replace("\r\n", "\n"))


def head_of(entry: StoredResponse) -> list[HeaderLine]:
    """The header fields of *entry*, without the values of those that may be secrets."""
    found: list[HeaderLine] = []
    for raw_name, raw_value in islice(entry.raw_headers, MAX_LINES):
        name, value = raw_name.decode("utf-8", "replace"), raw_value.decode("utf-8", "replace")
        low = name.lower()
        is_secret = low not in HARMLESS_FIELDS and (says_who_asks(low) or is_secret_param(low))
        text = without_secrets(value)[0] if len(value) <= MAX_LINE_CHARS else f"{value[:MAX_LINE_CHARS]}…"
        found.append(HeaderLine(shown(name), None if is_secret else shown(text)))
    return found


async def preview_of(entry: StoredResponse, content_type: str) -> Preview:
    """The beginning of the body of *entry*."""
    length = entry.body_bytes
    if not length:
        return Preview("empty")
    body: bytes = await entry.file.piece(0) if isinstance(entry, FiledResponse) else entry.body
    beginning = bytes(body[:PREVIEW_BYTES])
    text = _as_text(beginning, content_type, is_whole=len(beginning) == length)
    if text is None:
        beginning = beginning[:HEX_BYTES]
        return Preview("hex", _dump(beginning), len(beginning), len(beginning) == length)
    told, is_redacted = without_secrets(text)
    return Preview("text", _shown_lines(told), len(beginning), len(beginning) == length, is_redacted)


def _as_text(beginning: bytes, content_type: str, *, is_whole: bool) -> str | None:
    """*beginning* decoded; None if it is not text."""
    _, _, after = content_type.lower().partition("charset=")
    charset = after.partition(";")[0].strip(" \"'")
    if not _CHARSETS.fullmatch(charset):
        charset = "utf-8"
    if b"\0" in beginning and not charset.startswith("utf-16"):
        return None
    try:
        text = beginning.decode(charset, "strict" if is_whole else "ignore")
    except (UnicodeError, LookupError):
        if not _TEXTUAL.match(content_type):
            return None
        text = beginning.decode("utf-8", "replace")
    if not is_whole and not _TEXTUAL.match(content_type) and len(text.encode("utf-8")) < len(beginning) - 4:
        return None
    return text


def without_secrets(text: str) -> tuple[str, bool]:
    """Redact the values with names of secrets: JSON members, XML elements, parameters, and the userinfo of URLs.

    Returns:
        The redacted text, and whether it differs from *text*.
    """
    told = _MEMBER.sub(_member, text)
    told = _ELEMENT.sub(_element, told)
    told = _without_pairs(told)
    told = _USERINFO.sub(f"//{REDACTED}@", told)
    told = _BEARER.sub(lambda found: f"{found['scheme']} {REDACTED}", told)
    return told, told != text


def _member(found: re.Match[str]) -> str:
    name = found["double"] or found["single"] or ""
    return f'{found["name"]}{found["colon"]}"{REDACTED}"' if is_secret_param(name) else found[0]


def _element(found: re.Match[str]) -> str:
    return f"<{found['name']}{found['rest']}>{REDACTED}" if is_secret_param(found["name"]) else found[0]


def _without_pairs(text: str) -> str:
    """*text* with the values of secrets in ``name=value`` redacted, also within the values of other names."""
    parts: list[str] = []
    done = 0
    for found in _NAME.finditer(text):
        if found.start() < done or not is_secret_param(found[1]):
            continue
        value = _VALUE.match(text, found.end())
        if value is not None:
            parts += (text[done : found.end()], value[1], REDACTED)
            done = value.end()
    return "".join((*parts, text[done:]))


def _dump(data: bytes) -> str:
    lines: list[str] = []
    for at in range(0, len(data), 16):
        row = data[at : at + 16]
        plain = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{at:08x}  {row[:8].hex(' '):<23}  {row[8:].hex(' '):<23}  {plain}")
    return "\n".join(lines)
