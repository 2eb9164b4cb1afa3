"""Texts that are stored so that only who has a key can read them.

What has a key of digests in common can read what was sealed with it. BLAKE2b with a key is a pseudo-random function
(RFC 7693 §1): by it a stream is made that hides the text, with a nonce that is new each time, and a MAC over the rest
(encrypt, then authenticate). The two have subkeys of their own.
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
    """*text* in a form that *key* opens: letters, digits, ``-`` and ``_``.

    Args:
        context: where it stands; moved to another place it cannot be opened.
        key: up to 64 bytes.
    """
    nonce = secrets.token_bytes(_NONCE_BYTES)
    hidden = _xor(text, nonce, key)
    return urlsafe_b64encode(nonce + _mac(nonce + hidden, context, key) + hidden).decode().rstrip("=")


def unseal(sealed: str, context: str, key: bytes) -> bytes | None:
    """What was sealed for *context* with *key*; None for anything else."""
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
