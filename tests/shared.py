"""The servers that a whole test run shares: what no longer answers is named in a failed test's report, and restarted.

Otherwise all later tests that use it would fail too, each after a timeout, without a word about the cause.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Final

from tests.server import ServerProcess

__all__ = ["revive", "shared"]

PATIENCE_S: Final = 10.0
POLL_S: Final = 0.1
LOGGED_CHARS: Final = 2000

_running: Final[dict[str, Sequence[ServerProcess]]] = {}


@contextmanager
def shared(name: str, processes: Sequence[ServerProcess]) -> Generator[None]:
    """Have `revive` look after those of *processes* that the tests have started, within this context."""
    _running[name] = [process for process in processes if process.process is not None]
    try:
        yield
    finally:
        del _running[name]


def revive(*, within_s: float = PATIENCE_S) -> str:
    """Restart each shared process that does not answer within *within_s* seconds.

    It blocks; it is called between tests.

    Returns:
        What happened, with the end of the log of each such process; empty if all answer.
    """
    silent = [
        (name, process)
        for name, processes in _running.items()
        for process in processes
        if not _answers(process, within_s)
    ]
    return "\n".join(_restarted(name, process) for name, process in silent)


def _answers(process: ServerProcess, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while not (does := process.answers()) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    return does


def _restarted(name: str, process: ServerProcess) -> str:
    status = None if process.process is None else process.process.poll()
    ended = "" if status is None else f" and has ended with status {status}"
    said = f"{name}: {process.name} at {process.url} does not answer{ended}"
    log = process.log[-LOGGED_CHARS:]
    try:
        process.restart(kill=True)
    except RuntimeError as exc:
        return f"{said}, and cannot be restarted: {exc}"
    return f"{said}; it is restarted. Its log ended with:\n{log}"
