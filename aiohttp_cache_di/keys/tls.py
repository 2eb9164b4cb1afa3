"""What a request demands of TLS, as a text that is the same in each process."""

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
    """What a request demands of TLS, as a text; "" for verification against the system's authorities.

    Args:
        contexts_apart: each context is like no other.
    """
    name = server_hostname or ""
    if ssl is False:
        return f"unverified:{name}"
    if isinstance(ssl, Fingerprint):
        return f"fingerprint:{ssl.fingerprint.hex()}:{name}"
    if isinstance(ssl, SSLContext):
        client = None if contexts_apart or not is_verifying(ssl) else client_certificate(ssl)
        if client is None:
            # Nothing tells what a context lets pass, or whom it presents: what it brought is for itself alone.
            return f"context:{_contexts.setdefault(ssl, uuid.uuid4().hex)}:{name}"
        authorities = _authorities(ssl)
        demand = f"authorities:{authorities}:{name}" if authorities else f"name:{name}" if name else ""
        return f"{_CLIENT}{client}:{demand}" if client else demand
    return f"name:{name}" if name else ""


def without_client(token: str) -> str:
    """*token* without the client that it says: who asks has been said in another way."""
    return token.removeprefix(_CLIENT).partition(":")[2] if token.startswith(_CLIENT) else token


def is_verifying(context: SSLContext) -> bool:
    """Whether a connection by *context* is to the host that it is meant for, as authorities say whom it trusts."""
    return context.check_hostname and context.verify_mode is CERT_REQUIRED


def _authorities(context: SSLContext) -> str:
    """The digest of the authorities that *context* trusts; "" for the system's, which `aiohttp` trusts by default.

    Whom a request trusts is a part of its identity: what a proxy with an authority of its own has brought, which some
    requests trust, is not for those that do not, as little as what was not verified. The certificates are in memory; no
    file is read. It takes 0.3 ms, once for each context, which took a hundred times as long to make. What lies in a
    directory of certificates (``capath``) is loaded when it is needed, and cannot be seen: it passes for the system's.
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
