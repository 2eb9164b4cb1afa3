"""Deriving, from the user's secret, the keys that sign entries and the key for digests of secret values.

One secret has several uses, and several caches may share a secret. Each use has its own subkey (BLAKE2b with the salted
secret as its key), so that a signature or digest for one use is not valid for another.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import cache
from hashlib import blake2b
from typing import Final, TypeAlias

from aiohttp_cache_di.errors import ConfigurationError

__all__ = ["DEFAULT_SALT", "MIN_SECRET_CHARS", "DigestKey", "SecretKeys", "digest_key_of", "subkeys"]

logger: logging.Logger = logging.getLogger(__name__)

SecretKeys: TypeAlias = Iterable[str | bytes] | str | bytes | None
"""One secret, or several for rotation: the first signs, all verify."""

DEFAULT_SALT: Final = b"aiohttp-client-cache"
MIN_SECRET_CHARS: Final = 16  # 96 bits, if they are random base64 (RFC 4086 §8.2.2 asks for 96 to resist for long)
_BLANK: Final = b" \t\n\r\f\v\0"


class DigestKey(bytes):
    """The key of digests of credentials and of the headers in Vary; b"" for none. Its repr does not show it."""

    def __repr__(self) -> str:
        """Show only whether there is a key."""
        return "DigestKey(...)" if self else "DigestKey()"

    __str__ = __repr__


def subkeys(secret_key: SecretKeys, salt: str | bytes, *names: str) -> tuple[bytes, ...]:
    """A subkey of 64 bytes per secret; an empty tuple for None.

    Args:
        names: what the subkeys are for: a use, and maybe a cache and a collection in it.

    Raises:
        ConfigurationError: a secret is empty or blank, or there is none in the iterable.
    """
    if secret_key is None:
        return ()
    if not isinstance(secret_key, str | bytes | Iterable):
        kind = type(secret_key).__name__
        raise ConfigurationError(f"secret_key is of the type {kind}; give text or bytes, several of them, or None")
    secrets = [secret_key] if isinstance(secret_key, str | bytes) else list(secret_key)
    if not secrets or not all(secret and _as_bytes(secret).strip(_BLANK) for secret in secrets):
        # An empty secret, or one of spaces or zeros, would only seem to protect.
        raise ConfigurationError("secret_key is empty or blank; give a secret, several, or None to store unsigned")
    if any(len(secret) < MIN_SECRET_CHARS for secret in secrets):
        _warn_of_short()
    salt_key = blake2b(_as_bytes(salt)).digest()
    roots = tuple(blake2b(_as_bytes(secret), key=salt_key).digest() for secret in secrets)
    if not names:
        return roots
    context = b"".join(len(name).to_bytes(4, "big") + name for name in map(_as_bytes, names))
    return tuple(blake2b(context, key=root).digest() for root in roots)


def digest_key_of(secret_key: SecretKeys, salt: str | bytes = DEFAULT_SALT) -> DigestKey:
    """The key of digests: a subkey of the first secret, the same for all caches with that secret.

    A digest cannot be compared under several keys. So after a rotation, responses to requests with credentials, and
    those that vary, are fetched again.

    Raises:
        ConfigurationError: as `subkeys`.
    """
    found = subkeys(secret_key, salt, "digests")
    return DigestKey(found[0] if found else b"")


@cache
def _warn_of_short() -> None:
    """Warn once per process; settings do not accept such a key, but older programs may pass one."""
    logger.warning("A secret_key of less than %d characters can be guessed", MIN_SECRET_CHARS)


def _as_bytes(value: str | bytes) -> bytes:
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else bytes(value)
