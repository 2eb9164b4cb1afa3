"""Features that only POSIX systems have: elsewhere their tests are skipped, but the test modules can be imported."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

__all__ = ["IS_POSIX", "IS_ROOT", "as_root", "in_forked_child", "needs_proc", "posix_only"]

IS_POSIX: Final = hasattr(os, "geteuid")
IS_ROOT: Final = IS_POSIX and os.geteuid() == 0
"""Whether the tests run as root, for whom file permissions are not enforced."""

posix_only = pytest.mark.skipif(
    not IS_POSIX,
    reason="no owners and modes of files here, nor their pipes, locks and forks",
)
as_root = pytest.mark.skipif(not IS_ROOT, reason="only root can make files of other users")


def in_forked_child(work: Callable[[], bool]) -> bool:
    """What *work* returns in a forked child of this process; an error if it does not end within some seconds."""
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(20)
        is_so = None
        try:
            is_so = work()
        finally:
            os._exit(2 if is_so is None else not is_so)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code not in (0, 1):
        raise ChildProcessError(f"the forked child ended with {code}")
    return code == 0


def needs_proc() -> None:
    """Skip the test where the system has no ``/proc``, as on macOS and Windows."""
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("there is no /proc here, which would tell")
