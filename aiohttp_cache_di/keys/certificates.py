"""Find the client certificate of a TLS context.

`ssl.SSLContext` has no way to read what `load_cert_chain` loaded. A handshake in memory reveals it: a server object of
ours gets the context in place of its own (as a server does for SNI), so that it presents the context's certificate to a
client object of ours, which accepts any. Nothing is sent, and the context is not changed. It takes a few milliseconds,
once per context. A context that logs its secrets (``keylog_filename``) or reports its messages is not tried.

If the usual handshakes see no certificate, others with all ciphers and with each of the curves below are tried. DSA
certificates are not found: current TLS versions do not use them by default.
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
"""The curves that OpenSSL does not offer by default."""
_ROUNDS: Final = 4  # of messages back and forth; TLS 1.2 needs three
_NONE: Final = frozenset({"UNSUPPORTED_PROTOCOL", "NO_SHARED_CIPHER", "NO_SUITABLE_SIGNATURE_ALGORITHM"})
_known: Final[WeakKeyDictionary[SSLContext, str | None]] = WeakKeyDictionary()


def client_certificate(context: SSLContext) -> str | None:
    """A digest of the client certificate of *context*, "" if it has none; None if that cannot be found out."""
    found = _known.get(context, ...)
    if found is ...:
        found = _known[context] = _digest(context)
    return found


def _digest(context: SSLContext) -> str | None:
    if type(context).load_cert_chain is not SSLContext.load_cert_chain:  # a subclass may keep the certificate elsewhere
        return None
    if any(getattr(context, name, None) is not None for name in ("keylog_filename", "_msg_callback")):
        return None  # our handshake would be logged, to a file in the event loop
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
    """The certificate that *context* presents as a server; SSLError if it has none."""
    client_side, server_side = _sides(version, curve)
    to_server, to_client = MemoryBIO(), MemoryBIO()
    client = client_side.wrap_bio(to_client, to_server)
    server = server_side.wrap_bio(to_server, to_client, server_side=True)
    server.context = context
    for _ in range(_ROUNDS):
        is_over = [_shakes_hands(client), _shakes_hands(server)]
        if all(is_over):
            break
    return client.getpeercert(binary_form=True)


@cache
def _sides(version: TLSVersion, curve: str) -> tuple[SSLContext, SSLContext]:
    client, server = SSLContext(PROTOCOL_TLS_CLIENT), SSLContext(PROTOCOL_TLS_SERVER)
    client.check_hostname = False
    client.verify_mode = CERT_NONE  # any certificate will do
    for side in (client, server):
        side.minimum_version = side.maximum_version = version
        if curve:
            side.set_ciphers("ALL:@SECLEVEL=0")
            with suppress(ValueError, SSLError):  # a curve that this OpenSSL does not know
                side.set_ecdh_curve(curve)
    return client, server


def _shakes_hands(side: SSLObject) -> bool:
    """Continue the handshake of *side*; return whether it is complete."""
    try:
        side.do_handshake()
    except SSLWantReadError:
        return False
    return True
