"""Runs pytest, and what failed once more in a process of its own, as CPython's own suite does.

Tests here start servers, stop processes and fill disks by the thousand. What a busy machine does to one of them is no
news of the code; what is wrong fails again. So a few that fail are told, and a second run of them decides. More than a
few are no accident.

``python -m tools.tested <name of the run> <what pytest takes>``
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
FAILED: Final = 1  # pytest's status for tests that failed; others say that it could not do its work
PYTEST: Final = (sys.executable, "-m", "pytest", "-q")
AGAIN: Final = ("--last-failed", "--last-failed-no-failures=none")


def main(name: str, options: Sequence[str]) -> int:
    """Pytest's status, of the second run where there is one."""
    with tempfile.TemporaryDirectory() as memory:
        command = (*PYTEST, "-o", f"cache_dir={memory}", *options)
        status = subprocess.run(command, check=False).returncode  # noqa: S603  # what make asks for
        tests = failed(Path(memory)) if status == FAILED else []
        if not 0 < len(tests) <= FEW:
            return status
        _say(f"{name}: failed, and are run once more:", *tests)
        counted_too = ["--cov-append"] if "--cov" in options else []
        status = subprocess.run((*command, *AGAIN, *counted_too), check=False).returncode  # noqa: S603  # as above
    _say(f"{name}: they failed again" if status else f"{name}: they passed now; what made them fail is to be found")
    return status


def failed(memory: Path) -> list[str]:
    """The tests that the run with this cache directory has failed."""
    try:
        return sorted(json.loads((memory / "v/cache/lastfailed").read_text()))
    except FileNotFoundError:  # it failed by other things than tests
        return []


def _say(*lines: str) -> None:
    print(*lines, sep="\n    ", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
