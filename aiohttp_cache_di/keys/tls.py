"""The TLS options of a request as a text for its key, the same in all processes."""

from __future__ import annotations

import uuid
from hashlib import blake2b
from ssl import CERT_REQUIRED, SSLContext
from typing import Final
from weakref import WeakKeyDictionary

from aiohttp import Fingerprint

from aiohttp_cache_di._aiohttp import default_tls_context
from aiohttp_cache_di.keys.certificates import client_certificate

__all__ = ["is_verifying", "tls_token", "without_client"]

_CLIENT: Final = "client:"
_contexts: Final[WeakKeyDictionary[SSLContext, str]] = WeakKeyDictionary()
_trusted: Final[WeakKeyDictionary[SSLContext, str]] = WeakKeyDictionary()


def tls_token(
    ssl: SSLContext | bool | Fingerprint | None, server_hostname: str | None, *, contexts_apart: bool = False
) -> str:
    """The TLS options of a request as a text; "" for verification against the system's authorities.

    Args:
        contexts_apart: each context has a text of its own.
    """
    name = server_hostname or ""
    if ssl is False:
        return f"unverified:{name}"
    if isinstance(ssl, Fingerprint):
        return f"fingerprint:{ssl.fingerprint.hex()}:{name}"
    if isinstance(ssl, SSLContext):
        client = None if contexts_apart or not is_verifying(ssl) else client_certificate(ssl)
        if client is None:
            # It is unknown what the context accepts or presents, so its responses are not shared with other contexts.
            return f"context:{_contexts.setdefault(ssl, uuid.uuid4().hex)}:{name}"
        authorities = _authorities(ssl)
        demand = f"authorities:{authorities}:{name}" if authorities else f"name:{name}" if name else ""
        return f"{_CLIENT}{client}:{demand}" if client else demand
    return f"name:{name}" if name else ""


def without_client(token: str) -> str:
    """*token* without the client certificate, for requests whose user is identified in another way."""
    return token.removeprefix(_CLIENT).partition(":")[2] if token.startswith(_CLIENT) else token


def is_verifying(context: SSLContext) -> bool:
    """Whether *context* verifies certificates and host names."""
    return context.check_hostname and context.verify_mode is CERT_REQUIRED


def _authorities(context: SSLContext) -> str:
    """The digest of the authorities that *context* trusts; "" for the system's, which aiohttp trusts by default.

    A response that came through a proxy with its own authority, which one context trusts, must not answer requests of
    contexts that do not. The certificates are in memory, so no file is read; it takes 0.3 ms, once per context.
    Certificates in a directory (``capath``) are loaded on demand and cannot be seen: such a context counts as one with
    the system's authorities.
    """
    known = _trusted.get(context)
    if known is None:
        known = _digest(context)
        default = default_tls_context()
        if default is not None and known == _digest_of_default(default):
            known = ""
        _trusted[context] = known
    return known


def _digest_of_default(default: SSLContext) -> str:
    known = _trusted.get(default)
    if known is None:
        known = _trusted[default] = _digest(default)
    return known


def _digest(context: SSLContext) -> str:
    certificates = sorted(context.get_ca_certs(binary_form=True))
    if not certificates:
        return ""
    digest = blake2b(digest_size=16)
    for certificate in certificates:
        digest.update(len(certificate).to_bytes(4, "big"))
        digest.update(certificate)
    return digest.hexdigest()
