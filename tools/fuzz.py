"""Run fuzz tests of `tests/fuzz` under atheris, guided by coverage: ``python -m tools.fuzz [SECONDS]``.

Hypothesis turns the bytes that atheris generates into inputs, so that each test is written once. A test that needs
fixtures of pytest cannot run under atheris, and runs with Hypothesis alone. Without atheris, nothing is run here.
"""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
from typing import Any, Final

TARGETS: Final = (
    ("tests.fuzz.test_frames", "test_bytes_are_an_entry_or_are_refused"),
    ("tests.fuzz.test_headers", "test_a_value_is_read_or_means_nothing"),
    ("tests.fuzz.test_headers", "test_messages_of_any_fields_are_judged"),
    ("tests.fuzz.test_replies", "test_what_arrives_is_replies_or_not_the_protocol"),
    ("tests.fuzz.test_replies", "test_how_it_is_cut_makes_no_difference"),
)
SECONDS: Final = 30
GRACE_S: Final = 120  # for imports, and for the last input


def main() -> int:
    """Run each target for some seconds, in its own process because atheris exits the process; return 1 if one fails."""
    if importlib.util.find_spec("atheris") is None:
        sys.stdout.write("fuzz: there is no atheris here; Hypothesis alone has made the inputs\n")
        return 0
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    failed: list[str] = []
    for module, name in TARGETS:
        command = (sys.executable, "-m", "tools.fuzz", "--target", module, name, str(seconds))
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + GRACE_S, check=False)  # noqa: S603  # ours
        last = next((line for line in reversed(done.stderr.splitlines()) if line.startswith("Done")), "it failed")
        sys.stdout.write(f"fuzz: {name}: {last if done.returncode == 0 else done.stderr}\n")
        if done.returncode:
            failed.append(name)
    return int(bool(failed))


def drive(module: str, name: str, seconds: str) -> None:
    """Run one target under atheris; does not return."""
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["aiohttp_cache_di"]):
        fuzzer: Any = getattr(importlib.import_module(module), name)
    atheris.Setup([sys.argv[0], f"-max_total_time={seconds}", "-max_len=4096"], fuzzer.hypothesis.fuzz_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--target"]:
        drive(*sys.argv[2:5])
    sys.exit(main())
