"""Run pytest, and run failed tests once more in a new process, as the test suite of CPython does.

Thousands of tests here start servers, stop processes and fill disks, and a busy machine may make one of them time out.
A test that finds a bug fails again. So if at most a few tests fail, they are reported, and a second run of them
decides. If more than a few fail, that is not an accident, and they are not run again.

``python -m tools.tested <name of the run> <arguments of pytest>``
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

FEW: Final = 3
FAILED: Final = 1  # pytest's exit status if tests failed; others mean that it could not run them
PYTEST: Final = (sys.executable, "-m", "pytest", "-q")
AGAIN: Final = ("--last-failed", "--last-failed-no-failures=none")


def main(name: str, options: Sequence[str]) -> int:
    """Run the tests; return the exit status of pytest, from the second run if there is one."""
    with tempfile.TemporaryDirectory() as memory:
        command = (*PYTEST, "-o", f"cache_dir={memory}", *options)
        status = subprocess.run(command, check=False).returncode  # noqa: S603  # arguments from the Makefile
        tests = failed(Path(memory)) if status == FAILED else []
        if not 0 < len(tests) <= FEW:
            return status
        _say(f"{name}: failed, and are run once more:", *tests)
        counted_too = ["--cov-append"] if "--cov" in options else []
        status = subprocess.run((*command, *AGAIN, *counted_too), check=False).returncode  # noqa: S603  # as above
    _say(f"{name}: they failed again" if status else f"{name}: they passed now; what made them fail is to be found")
    return status


def failed(memory: Path) -> list[str]:
    """The tests that failed in the run with *memory* as its cache directory."""
    try:
        return sorted(json.loads((memory / "v/cache/lastfailed").read_text()))
    except FileNotFoundError:  # the run failed for another reason than tests
        return []


def _say(*lines: str) -> None:
    print(*lines, sep="\n    ", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
