"""Which certificate a TLS context presents to a server that asks who it is.

An `ssl.SSLContext` does not tell what `load_cert_chain` has given it. But a connection in memory does: a server of our
own, which has no certificate, is given the context in place of its own, as servers do when they have found out which
host they are asked for. It then presents what the context has, and a client of ours, to which any is right, sees it.
Nothing is sent, the context stays as it is, and nothing is proved to anyone else. It takes some milliseconds, once for
each context. A context that writes its secrets into a file (``keylog_filename``), or tells of its messages, is not
tried: what it presents is not seen.

A client that takes all ciphers, and each of the curves in turn, is tried where the usual ones see nothing. A
certificate for DSA is not seen, as no TLS of today presents it by default.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from hashlib import blake2b
from ssl import (
    CERT_NONE,
    PROTOCOL_TLS_CLIENT,
    PROTOCOL_TLS_SERVER,
    MemoryBIO,
    SSLContext,
    SSLError,
    SSLObject,
    SSLWantReadError,
    TLSVersion,
)
from typing import Final
from weakref import WeakKeyDictionary

__all__ = ["client_certificate"]

_VERSIONS: Final = (TLSVersion.TLSv1_3, TLSVersion.TLSv1_2)
_CURVES: Final = (
    *("secp256k1", "brainpoolP256r1", "brainpoolP384r1", "brainpoolP512r1"),
    *("prime192v1", "secp224r1", "secp224k1", "secp192k1"),
    *("brainpoolP160r1", "brainpoolP192r1", "brainpoolP224r1", "brainpoolP320r1"),
)
"""Those that OpenSSL does not offer by itself."""
_ROUNDS: Final = 4  # of messages to and fro; TLS 1.2 needs three
_NONE: Final = frozenset({"UNSUPPORTED_PROTOCOL", "NO_SHARED_CIPHER", "NO_SUITABLE_SIGNATURE_ALGORITHM"})
_known: Final[WeakKeyDictionary[SSLContext, str | None]] = WeakKeyDictionary()


def client_certificate(context: SSLContext) -> str | None:
    """A digest of the certificate that *context* presents, "" if it has none; None where that cannot be seen."""
    found = _known.get(context, ...)
    if found is ...:
        found = _known[context] = _digest(context)
    return found


def _digest(context: SSLContext) -> str | None:
    if type(context).load_cert_chain is not SSLContext.load_cert_chain:  # which may have put it elsewhere
        return None
    if any(getattr(context, name, None) is not None for name in ("keylog_filename", "_msg_callback")):
        return None  # they would be told of our handshake, the file in the event loop
    for version, curve in (
        *((version, "") for version in _VERSIONS),
        *((TLSVersion.TLSv1_2, name) for name in _CURVES),
    ):
        try:
            certificate = _presented(context, version, curve)
        except SSLError as error:
            if error.reason not in _NONE:
                return None
            continue  # there is none, or none for this version and curve
        except Exception:  # an implementation of TLS that does not know how
            return None
        return blake2b(certificate, digest_size=16).hexdigest() if certificate else None
    return ""


def _presented(context: SSLContext, version: TLSVersion, curve: str) -> bytes | None:
    """What *context* presents as a server; SSLError if that is nothing."""
    client_side, server_side = _sides(version, curve)
    to_server, to_client = MemoryBIO(), MemoryBIO()
    client = client_side.wrap_bio(to_client, to_server)
    server = server_side.wrap_bio(to_server, to_client, server_side=True)
    server.context = context
    for _ in range(_ROUNDS):
        is_over = [_goes_on(client), _goes_on(server)]
        if all(is_over):
            break
    return client.getpeercert(binary_form=True)


@cache
def _sides(version: TLSVersion, curve: str) -> tuple[SSLContext, SSLContext]:
    client, server = SSLContext(PROTOCOL_TLS_CLIENT), SSLContext(PROTOCOL_TLS_SERVER)
    client.check_hostname = False
    client.verify_mode = CERT_NONE  # it is not for us to judge
    for side in (client, server):
        side.minimum_version = side.maximum_version = version
        if curve:
            side.set_ciphers("ALL:@SECLEVEL=0")
            with suppress(ValueError, SSLError):  # a curve that this OpenSSL does not know
                side.set_ecdh_curve(curve)
    return client, server


def _goes_on(side: SSLObject) -> bool:
    """Go on with the handshake of *side*; tell whether it is over."""
    try:
        side.do_handshake()
    except SSLWantReadError:
        return False
    return True
