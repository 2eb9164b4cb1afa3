"""Selecting among the stored responses of one URL by the request's header fields (RFC 9111 §4.1)."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from itertools import repeat
from typing import Final

from multidict import istr

from aiohttp_cache_di.rfc9111.fields import MEMOISED_CHARS, combined, is_token, single, split_list
from aiohttp_cache_di.rfc9111.messages import Headers, Request, StoredResponse

__all__ = [
    "MAX_VARY_NAMES",
    "VARIES_ON_ALL",
    "is_of_preferred_language",
    "normalised",
    "select_variant",
    "variant_key",
    "vary_digest",
    "vary_fields",
    "wanted_variant",
]

_VARY: Final = istr("Vary")

VARIES_ON_ALL = ("*",)
"""The Vary fields of a response that no request can select."""

MAX_VARY_NAMES = 64
MAX_VARY_CHARS = 4096
"""Limits of Vary: a response beyond them counts as varying on ``*``, so that selecting stays cheap."""

_ABSENT = b"\x00"  # length prefixes are ASCII digits, so no value looks like this
_WEIGHTED = frozenset({"accept", "accept-charset", "accept-encoding", "accept-language"})
# Fields that are defined as lists, so that empty members have no meaning (RFC 9110 §5.6.1.2). In other fields, "bob"
# and "bob," may be two names.
_LISTS = _WEIGHTED | {
    "accept-datetime",
    "accept-patch",
    "accept-ranges",
    "cache-control",
    "connection",
    "content-encoding",
    "content-language",
    "if-match",
    "if-none-match",
    "prefer",
    "te",
    "trailer",
    "upgrade",
    "via",
}


def vary_fields(headers: Headers) -> tuple[str, ...]:
    """The fields that a response varies on: lower case, sorted, each once; `VARIES_ON_ALL` for ``*`` on any line.

    A member that is not a field name counts as ``*``, since it cannot be compared; so does a Vary with more than
    `MAX_VARY_NAMES` names or `MAX_VARY_CHARS` characters.
    """
    value = combined(headers, _VARY)
    if value is None:
        return ()
    if len(value) > MAX_VARY_CHARS:
        return VARIES_ON_ALL
    return _vary_fields(value) if len(value) <= MEMOISED_CHARS else _vary_fields.__wrapped__(value)


@lru_cache(maxsize=1024)
def _vary_fields(value: str) -> tuple[str, ...]:
    names = split_list(value)
    if any(name == "*" or not is_token(name) for name in names):
        return VARIES_ON_ALL
    fields = tuple(sorted({name.lower() for name in names}))
    return fields if len(fields) <= MAX_VARY_NAMES else VARIES_ON_ALL


def normalised(name: str, value: str) -> str:
    """*value* of the field *name* (lower case) in a normal form that equivalent values share.

    White space around commas is ignored in all fields. Empty members, case, the order of members and a weight of 1 are
    ignored in fields whose syntax allows that.
    """
    if name not in _LISTS:
        return ",".join(split_list(value, empty=True))
    if name not in _WEIGHTED or '"' in value or len(value) > MEMOISED_CHARS:
        return ",".join(split_list(value))
    return _normalised_weights(value)


@lru_cache(maxsize=1024)
def _normalised_weights(value: str) -> str:
    weighted = [_weighted(member) for member in split_list(value)]
    weighted.sort(key=lambda item: (-item[0], item[1]))
    return ",".join(text if weight == 1 else f"{text};q={weight:g}" for weight, text in weighted)


def _weighted(member: str) -> tuple[float, str]:
    text, *parameters = [part.strip(" \t") for part in member.lower().split(";")]
    weight = 1.0
    kept: list[str] = [text]
    for parameter in parameters:
        name, _, argument = parameter.partition("=")
        if name == "q":
            weight = _qvalue(argument, otherwise=weight)
            if weight < 0:
                kept.append(parameter)
        else:
            kept.append(parameter)
    return abs(weight), ";".join(kept)


def _qvalue(argument: str, *, otherwise: float) -> float:
    """The weight (RFC 9110 §12.4.2); minus *otherwise* if *argument* is not one, to make the caller keep the text."""
    digits = argument.replace(".", "", 1)
    if digits.isdecimal() and digits.isascii() and len(argument) <= 5:
        return min(float(argument), 1.0)
    return -otherwise


def vary_digest(fields: tuple[str, ...], headers: Headers, key: bytes = b"") -> bytes:
    """A digest of the normalised values of *fields* in *headers*, so that the values themselves need not be stored.

    An absent field differs from an empty one. Without a *key*, the values can be guessed from the digest.
    """
    if not fields:
        return b""
    values = tuple(map(combined, repeat(headers), fields))
    if _WEIGHTED.issuperset(fields) and sum(map(len, filter(None, values))) <= MEMOISED_CHARS:
        return _remembered_digest(fields, values, key)
    return _digest(fields, values, key)


def _digest(fields: tuple[str, ...], values: tuple[str | None, ...], key: bytes) -> bytes:
    digest = blake2b(digest_size=16, key=key)
    for name, value in zip(fields, values, strict=True):
        field = name.encode("utf-8", "surrogatepass")
        if value is None:
            digest.update(b"%b%d:%b" % (_ABSENT, len(field), field))
            continue
        data = normalised(name, value).encode("utf-8", "surrogatepass")
        digest.update(b"%d:%d:%b%b" % (len(field), len(data), field, data))
    return digest.digest()


_remembered_digest = lru_cache(maxsize=1024)(_digest)  # for Accept fields only, whose values are not secret


def is_of_preferred_language(stored: StoredResponse, headers: Headers) -> bool:
    """Whether *stored* varies on the language alone, and is in the language that a request with *headers* prefers.

    An origin that has that language selects it (RFC 9110 §12.5.4, RFC 9111 §4.1). If a request prefers several
    languages equally, the origin may choose one, so the result is False.
    """
    if stored.vary_fields != ("accept-language",):
        return False
    language, accepted = single(stored.headers, "Content-Language"), combined(headers, "Accept-Language")
    if not language or accepted is None or '"' in accepted or len(accepted) > MEMOISED_CHARS:
        return False
    weighted = sorted((_weighted(member) for member in split_list(accepted)), reverse=True)
    if not weighted or (len(weighted) > 1 and weighted[0][0] == weighted[1][0]):
        return False
    weight, preferred = weighted[0]
    return weight > 0 and preferred == language.lower()


def variant_key(primary_key: str, fields: tuple[str, ...], digest: bytes) -> str:
    """The key of the variant of *primary_key* with these values; it differs from all primary keys."""
    name = blake2b(",".join(fields).encode() + b"\n" + digest, digest_size=16).hexdigest()
    return f"{primary_key}.{name}"


def wanted_variant(request: Request, request_key: str, fields: tuple[str, ...], key: bytes = b"") -> str:
    """The key of the variant that the response to *request* is, if it varies by *fields*.

    Args:
        request_key: the request's own key. That of HEAD differs from that of the GET whose entry may answer it.
        fields: the names of the fields by which what is stored for the URL varies; may be empty.
        key: the key of the digests; see `vary_digest`.
    """
    if not fields:
        return request_key
    return variant_key(request_key, fields, vary_digest(fields, request.selecting_headers, key))


def select_variant(request: Request, primary: StoredResponse, key: bytes = b"") -> str | None:
    """The key of the stored variant that *request* selects; None if there is none.

    Args:
        primary: the entry under the URL's own key.
        key: the key of the digests; see `vary_digest`.
    """
    fields, digest = primary.vary_fields, b""
    if not fields:
        return primary.key
    if fields != VARIES_ON_ALL:
        digest = vary_digest(fields, request.selecting_headers, key)
        if digest == primary.vary_digest:
            return primary.key
    if is_of_preferred_language(primary, request.selecting_headers):
        return primary.key
    for variant in primary.variants:
        if variant.fields == VARIES_ON_ALL:
            continue
        if variant.fields != fields:
            fields = variant.fields
            digest = vary_digest(fields, request.selecting_headers, key)
        if digest == variant.digest:
            return variant.key
    return None
