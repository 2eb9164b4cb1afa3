"""Which certificate a TLS context presents to a server that asks who it is.

An `ssl.SSLContext` does not tell what `load_cert_chain` has given it. But a connection in memory does: a server of our
own, which has no certificate, is given the context in place of its own, as servers do when they have found out which
host they are asked for. It then presents what the context has, and a client of ours, to which any is right, sees it.
Nothing is read or sent, the context stays as it is, and nothing is proved to anyone else. It takes about 1 ms, once for
each context; making one took ten times as long.

Not seen is what neither TLS 1.3 nor 1.2 can present to a client of today, such as a certificate for DSA.
"""

from __future__ import annotations

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
_ROUNDS: Final = 4  # of messages to and fro; TLS 1.2 needs three
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
    for version in _VERSIONS:
        try:
            certificate = _presented(context, version)
        except SSLError:  # there is none, or none for this version
            continue
        except Exception:  # an implementation of TLS that does not know how
            return None
        return blake2b(certificate, digest_size=16).hexdigest() if certificate else None
    return ""


def _presented(context: SSLContext, version: TLSVersion) -> bytes | None:
    """What *context* presents as a server; SSLError if that is nothing."""
    client_side, server_side = _sides(version)
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
def _sides(version: TLSVersion) -> tuple[SSLContext, SSLContext]:
    client, server = SSLContext(PROTOCOL_TLS_CLIENT), SSLContext(PROTOCOL_TLS_SERVER)
    client.check_hostname = False
    client.verify_mode = CERT_NONE  # it is not for us to judge
    for side in (client, server):
        side.minimum_version = side.maximum_version = version
    return client, server


def _goes_on(side: SSLObject) -> bool:
    """Go on with the handshake of *side*; tell whether it is over."""
    try:
        side.do_handshake()
    except SSLWantReadError:
        return False
    return True
