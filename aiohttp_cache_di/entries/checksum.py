"""The checksum of stored bytes, CRC-32, by the fastest implementation that is installed.

zlib-ng (the extra ``speedups``) uses instructions of the processor, and takes a quarter of the time that zlib takes.
Both compute the same values, so processes with either can share a store.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Final, TypeAlias

__all__ = ["Checksum", "checksum_function", "sum_in_pieces"]

Checksum: TypeAlias = Callable[[bytes | memoryview, int], int]
"""Returns the CRC-32 of the data, begun with that of the data before it (0 if there is none)."""

_UNLOCKED_BYTES: Final = 5 * 1024  # for more than this, both implementations release the GIL
_MANY_BYTES: Final = 64 * 1024  # their checksum takes long enough to release the GIL for


@cache
def checksum_function() -> Checksum:
    """The fastest CRC-32 that is installed; looked for when it is first needed, not at import."""
    try:
        crc32: Checksum = import_module("zlib_ng.zlib_ng").crc32  # which lacks complete types
    except ImportError:
        return zlib.crc32
    return crc32


def sum_in_pieces(checksum: Checksum, data: bytes, before: int) -> int:
    """As *checksum*, but in pieces for which it keeps the GIL, if *data* is of medium size.

    Getting the GIL back from a busy thread may take longer than the checksum.
    """
    if not _UNLOCKED_BYTES < len(data) <= _MANY_BYTES:
        return checksum(data, before)
    view = memoryview(data)
    for start in range(0, len(data), _UNLOCKED_BYTES):
        before = checksum(view[start : start + _UNLOCKED_BYTES], before)
    return before
