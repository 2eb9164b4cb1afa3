"""What files are called: by the digest of their key, and by nothing else that anyone can choose."""

from __future__ import annotations

import re
import secrets
from hashlib import blake2b
from typing import Final

__all__ = [
    "BODY",
    "ENTRY",
    "LEAVES",
    "LEFT_OVER",
    "body_name",
    "entry_of",
    "leaf_of",
    "name_of",
    "new_token",
    "temporary_name",
]

_DIGITS: Final = "0123456789abcdef"
LEAVES: Final = tuple(first + second for first in _DIGITS for second in _DIGITS)
"""What names begin with: a digit for each of two levels of directories."""

NAME_CHARS: Final = 40
ENTRY: Final = re.compile(r"[0-9a-f]{40}")
BODY: Final = re.compile(r"[0-9a-f]{40}\.[0-9a-f]{16}")
LEFT_OVER: Final = re.compile(r"[0-9a-f]{40}(\.[0-9a-f]{16})?\.(tmp|lease)")
"""What is of no use once it is old: a file that was never published, or a lease."""


def name_of(key: str) -> str:
    """The name of the file that holds the entry under *key*."""
    return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=NAME_CHARS // 2).hexdigest()


def leaf_of(name: str) -> str:
    """The path of the directory of the file of that *name*."""
    return f"{name[0]}/{name[1]}"


def new_token() -> bytes:
    """What tells one body of a key from all others."""
    return secrets.token_bytes(8)


def body_name(name: str, token: bytes) -> str:
    """The name of a body's file."""
    return f"{name}.{token.hex()}"


def temporary_name(name: str, kind: str = "tmp") -> str:
    """A new name for a file that belongs to the entry of that *name*, and is not published."""
    return f"{name}.{new_token().hex()}.{kind}"


def entry_of(name: str) -> str:
    """The name of the entry that a file belongs to."""
    return name[:NAME_CHARS]
