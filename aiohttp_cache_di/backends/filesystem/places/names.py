"""The names of files: made from a digest of the key, so that nothing in a request or response can choose a name."""

from __future__ import annotations

import re
import secrets
from hashlib import blake2b
from typing import Final

from aiohttp_cache_di.backends.store import is_mark

__all__ = [
    "BODY",
    "ENTRY",
    "LEAVES",
    "LEFT_OVER",
    "body_name",
    "entry_of",
    "is_name_of_mark",
    "leaf_of",
    "name_of",
    "new_token",
    "temporary_name",
]

_DIGITS: Final = "0123456789abcdef"
LEAVES: Final = tuple(first + second for first in _DIGITS for second in _DIGITS)
"""The two hexadecimal digits that names begin with, one for each of two levels of directories."""

NAME_CHARS: Final = 40
_END_OF_MARKS: Final = "00000000"  # tells the files of records of purges without reading them
ENTRY: Final = re.compile(r"[0-9a-f]{40}")
BODY: Final = re.compile(r"[0-9a-f]{40}\.[0-9a-f]{16}")
LEFT_OVER: Final = re.compile(r"[0-9a-f]{40}(\.[0-9a-f]{16})?\.(tmp|lease)")
"""Temporary files and leases, which are useless once they are old."""


def name_of(key: str) -> str:
    """The name of the file for the entry under *key*."""
    digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=NAME_CHARS // 2).hexdigest()
    return digest[: -len(_END_OF_MARKS)] + _END_OF_MARKS if is_mark(key) else digest


def is_name_of_mark(name: str) -> bool:
    """Whether *name* is that of the file for the record of a purge; with a chance of one in 2^32, also of another."""
    return name.endswith(_END_OF_MARKS)


def leaf_of(name: str) -> str:
    """The path of the directory of the file *name*, relative to the cache's directory."""
    return f"{name[0]}/{name[1]}"


def new_token() -> bytes:
    """A random token that distinguishes one body of a key from all others."""
    return secrets.token_bytes(8)


def body_name(name: str, token: bytes) -> str:
    """The name of the file for a body of the entry *name*."""
    return f"{name}.{token.hex()}"


def temporary_name(name: str, kind: str = "tmp") -> str:
    """A new name for an unpublished file of the entry *name*."""
    return f"{name}.{new_token().hex()}.{kind}"


def entry_of(name: str) -> str:
    """The name of the entry that a file belongs to."""
    return name[:NAME_CHARS]
