"""Authenticated encryption of short texts, with the key of digests that the processes of a cache share.

Keyed BLAKE2b is a pseudo-random function (RFC 7693 §1). It generates the key stream, with a new nonce for each text,
and the MAC over nonce and ciphertext (encrypt-then-MAC); each use has its own subkey.
"""

from __future__ import annotations

import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b
from typing import Final

__all__ = ["seal", "unseal"]

_NONCE_BYTES: Final = 16
_MAC_BYTES: Final = 16
_BLOCK_BYTES: Final = blake2b.MAX_DIGEST_SIZE


def seal(text: bytes, context: str, key: bytes) -> str:
    """Encrypt *text*; the result consists of letters, digits, ``-`` and ``_``.

    Args:
        context: where the result is used, such as a URL; it can be unsealed only with the same context.
        key: at most 64 bytes.
    """
    nonce = secrets.token_bytes(_NONCE_BYTES)
    hidden = _xor(text, nonce, key)
    return urlsafe_b64encode(nonce + _mac(nonce + hidden, context, key) + hidden).decode().rstrip("=")


def unseal(sealed: str, context: str, key: bytes) -> bytes | None:
    """Decrypt what `seal` returned for *context* and *key*; None for anything else."""
    try:
        data = urlsafe_b64decode(sealed.encode() + b"=" * (-len(sealed) % 4))
    except ValueError:
        return None
    nonce, mac, hidden = data[:_NONCE_BYTES], data[_NONCE_BYTES:][:_MAC_BYTES], data[_NONCE_BYTES + _MAC_BYTES :]
    if not hmac.compare_digest(_mac(nonce + hidden, context, key), mac):
        return None
    return _xor(hidden, nonce, key)


def _subkey(use: bytes, key: bytes) -> bytes:
    return blake2b(b"sealing: " + use, key=key).digest()


def _xor(text: bytes, nonce: bytes, key: bytes) -> bytes:
    stream_key = _subkey(b"stream", key)
    blocks = range(-(-len(text) // _BLOCK_BYTES))
    stream = b"".join(blake2b(nonce + block.to_bytes(8, "big"), key=stream_key).digest() for block in blocks)
    return bytes(one ^ other for one, other in zip(text, stream, strict=False))


def _mac(data: bytes, context: str, key: bytes) -> bytes:
    place = context.encode("utf-8", "surrogatepass")
    return blake2b(
        len(place).to_bytes(4, "big") + place + data, key=_subkey(b"mac", key), digest_size=_MAC_BYTES
    ).digest()
