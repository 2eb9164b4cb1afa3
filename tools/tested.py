"""Run pytest, and run failed tests once more in a new process, as the test suite of CPython does.

Thousands of tests here start servers, stop processes and fill disks, and a busy machine may make one of them time out.
A test that finds a bug fails again. So if at most a few tests fail, they are reported, and a second run of them
decides. If more than a few fail, that is not an accident, and they are not run again.

With ``--in-memory``, the files of tests are in memory, if there is room: a disk takes some 50 ms for each new database,
since SQLite waits until its parts are written. They are deleted at the end of the run.

``python -m tools.tested <name of the run> [--in-memory] <arguments of pytest>``
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

FEW: Final = 3
FAILED: Final = 1  # pytest's exit status if tests failed; others mean that it could not run them
PYTEST: Final = (sys.executable, "-m", "pytest", "-q")
IN_MEMORY: Final = "--in-memory"
MEMORY: Final = Path("/dev/shm")  # noqa: S108  # what is made there has a name that cannot be guessed
ENOUGH_BYTES: Final = 4 * 1024**3  # the suite needs less than 2; a container may have 64 MB
AGAIN: Final = ("--last-failed", "--last-failed-no-failures=none")


def main(name: str, options: Sequence[str]) -> int:
    """Run the tests; return the exit status of pytest, from the second run if there is one."""
    is_in_memory = IN_MEMORY in options and has_room(MEMORY)
    with tempfile.TemporaryDirectory(dir=MEMORY if is_in_memory else None, ignore_cleanup_errors=True) as memory:
        place = ["--basetemp", f"{memory}/tests"] if is_in_memory else []
        command = (*PYTEST, "-o", f"cache_dir={memory}/cache", *place, *(one for one in options if one != IN_MEMORY))
        status = subprocess.run(command, check=False).returncode  # noqa: S603  # arguments from the Makefile
        tests = failed(Path(memory, "cache")) if status == FAILED else []
        if not 0 < len(tests) <= FEW:
            return status
        _say(f"{name}: failed, and are run once more:", *tests)
        counted_too = ["--cov-append"] if "--cov" in options else []
        status = subprocess.run((*command, *AGAIN, *counted_too), check=False).returncode  # noqa: S603  # as above
    _say(f"{name}: they failed again" if status else f"{name}: they passed now; what made them fail is to be found")
    return status


def has_room(place: Path) -> bool:
    """Whether the files of the tests fit into *place*, and may be written there."""
    return os.access(place, os.W_OK) and shutil.disk_usage(place).free >= ENOUGH_BYTES


def failed(cache: Path) -> list[str]:
    """The tests that failed in the run with *cache* as its cache directory."""
    try:
        return sorted(json.loads((cache / "v/cache/lastfailed").read_text()))
    except FileNotFoundError:  # the run failed for another reason than tests
        return []


def _say(*lines: str) -> None:
    print(*lines, sep="\n    ", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
