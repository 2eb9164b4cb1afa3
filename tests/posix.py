"""Features that only POSIX systems have: elsewhere their tests are skipped, but the test modules can be imported."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pytest

__all__ = ["IS_POSIX", "IS_ROOT", "as_root", "needs_proc", "posix_only"]

IS_POSIX: Final = hasattr(os, "geteuid")
IS_ROOT: Final = IS_POSIX and os.geteuid() == 0
"""Whether the tests run as root, for whom file permissions are not enforced."""

posix_only = pytest.mark.skipif(
    not IS_POSIX,
    reason="no owners and modes of files here, nor their pipes, locks and forks",
)
as_root = pytest.mark.skipif(not IS_ROOT, reason="only root can make files of other users")


def needs_proc() -> None:
    """Skip the test where the system has no ``/proc``, as on macOS and Windows."""
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("there is no /proc here, which would tell")
