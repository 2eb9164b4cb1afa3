"""What a record may weigh, which bounds what is read of a store that others may write to; and what a disk may hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

__all__ = ["DEFAULT_MAX_BYTES", "VALUE_BYTES", "record_bytes"]

DEFAULT_MAX_BYTES: Final = 1024 * 1024 * 1024  # of SQLite files, and of files
VALUE_BYTES: Final = 64 * 1024 * 1024  # of a body that a user writes, whatever responses may have
BESIDE_BODY_BYTES: Final = 4 * 1024 * 1024  # of a record: headers, names of variants, a signature
SERIALIZED_GROWTH: Final = 4  # what a serializer of the user's may make of a body


def record_bytes(
    serializer: Any = None, body_bytes: Callable[[], int] | None = None, *, by_users: bool = True
) -> Callable[[], int]:
    """What tells the size beyond which no record is written, and none is read.

    Args:
        serializer: of the user's, or None.
        body_bytes: tells how large the body of a response may be that is stored; None where it is not known.
        by_users: what users write by themselves may be larger.
    """
    growth = 1 if serializer is None else SERIALIZED_GROWTH

    def largest() -> int:
        if body_bytes is None:
            return VALUE_BYTES * growth + BESIDE_BODY_BYTES
        return (max(body_bytes(), VALUE_BYTES) if by_users else body_bytes()) * growth + BESIDE_BODY_BYTES

    return largest
