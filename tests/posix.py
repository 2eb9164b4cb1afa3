"""What only POSIX systems have: tests of it are skipped elsewhere, and their modules can be imported there."""

from __future__ import annotations

import os
from typing import Final

import pytest

__all__ = ["IS_POSIX", "IS_ROOT", "as_root", "posix_only"]

IS_POSIX: Final = hasattr(os, "geteuid")
IS_ROOT: Final = IS_POSIX and os.geteuid() == 0
"""To whom permissions mean nothing."""

posix_only = pytest.mark.skipif(
    not IS_POSIX,
    reason="no owners and modes of files here, nor their pipes, locks and forks",
)
as_root = pytest.mark.skipif(not IS_ROOT, reason="only root can make files of other users")
