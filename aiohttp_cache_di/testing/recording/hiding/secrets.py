"""Redact secrets in multipart forms, XML and GraphQL, and JSON Web Tokens in any text."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from aiohttp_cache_di.keys import REDACTED

__all__ = ["in_parts", "in_text", "in_xml", "name_of_value"]

# A field of a multipart form that is not a file.
_FIELD: Final = (
    rb'(?P<head>--%s\r\n(?:[^\r\n]+\r\n)*?content-disposition: form-data; name="(?P<name>[^"\r\n]*)"\r\n'
    rb"(?:[^\r\n]+\r\n)*\r\n)(?P<value>.*?)(?=\r\n--%s)"
)
_ELEMENT: Final = re.compile(
    r"<(?P<name>[\w:.-]{1,64})(?P<rest>(?:\s[^<>]{0,512})?)>(?P<value><!\[CDATA\[.*?\]\]>|[^<]+)(?=</)", re.DOTALL
)
_ATTRIBUTE: Final = re.compile(r"""(?<=\s)(?P<name>[\w:.-]{1,64})=(?P<quote>["'])(?P<value>[^<"']+)(?P=quote)""")
_GRAPHQL: Final = re.compile(r"\s*(?:query|mutation|subscription|fragment)\b[^{]*\{|\s*\{\s*\w")
_LITERAL: Final = re.compile(
    r'\b(?P<name>[A-Za-z_]\w{0,63})(?P<colon>\s*:\s*)(?:"""(?:[^"]|"(?!""))*"""|"(?:[^"\\\n]|\\.)+")'
)
# A JSON Web Token (RFC 7519): its header is a JSON object, which begins with "eyJ" in base64.
_JWT: Final = re.compile(r"\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*")


def in_parts(body: bytes, boundary: str, judge: Callable[[str, str], str]) -> bytes:
    """*body*, a multipart form with *boundary*, each value replaced by the result of *judge* for its name and value."""

    def judged(part: re.Match[bytes]) -> bytes:
        name = part["name"].decode("utf-8", "surrogateescape")
        value = judge(name, part["value"].decode("utf-8", "surrogateescape"))
        return part["head"] + value.encode("utf-8", "surrogateescape")

    between = re.escape(boundary.encode())
    return re.sub(_FIELD % (between, between), judged, body, flags=re.IGNORECASE | re.DOTALL)


def in_xml(text: str, is_secret: Callable[[str], bool]) -> str:
    """*text*, in which the contents of elements and attributes with secret names are redacted."""

    def element(found: re.Match[str]) -> str:
        is_told = is_secret(_local(found["name"])) and not found["value"].isspace()
        return f"<{found['name']}{found['rest']}>{REDACTED}" if is_told else found[0]

    def attribute(found: re.Match[str]) -> str:
        return f'{found["name"]}="{REDACTED}"' if is_secret(_local(found["name"])) else found[0]

    return _ATTRIBUTE.sub(attribute, _ELEMENT.sub(element, text))


def in_text(text: str, is_secret: Callable[[str], bool]) -> str:
    """*text*, in which JSON Web Tokens are redacted, and in GraphQL also string literals with secret names."""

    def literal(found: re.Match[str]) -> str:
        return f'{found["name"]}{found["colon"]}"{REDACTED}"' if is_secret(found["name"]) else found[0]

    if '"' in text and _GRAPHQL.match(text):
        text = _LITERAL.sub(literal, text)
    return _JWT.sub(REDACTED, text) if "eyJ" in text else text


def name_of_value(fields: Mapping[str, Any]) -> str:
    """The name in an object such as ``{"name": …, "value": …}``; "" if *fields* are not such an object."""
    name = fields.get("name", fields.get("key"))
    return name if "value" in fields and isinstance(name, str) else ""


def _local(name: str) -> str:
    return name.rpartition(":")[2]
