"""`make demo`, as far as a test can look at a table; and how it ends when it is interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from examples.demo.table import outcome

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parent.parent.parent
GONE_WITHIN_S = 10.0


@pytest.mark.parametrize(
    ("cache_status", "word"),
    [
        ("aiohttp-cache-di; hit; ttl=30", "hit"),
        ("aiohttp-cache-di; fwd=uri-miss; stored", "miss"),
        ("aiohttp-cache-di; fwd=uri-miss; collapsed", "shared"),
        ("aiohttp-cache-di; fwd=stale; fwd-status=304", "revalidated"),
        ("aiohttp-cache-di; fwd=stale; fwd-status=200; stored", "miss"),
    ],
)
def test_a_cache_status_in_a_word(cache_status: str, word: str) -> None:
    assert outcome(cache_status) == word


@contextmanager
def _demo(mark: str, *arguments: str) -> Generator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "examples.demo", *arguments],
        cwd=ROOT,
        env={**os.environ, "DEMO_MARK": mark},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:  # the test failed; end it as it likes to be ended
                process.terminate()


def _running(mark: str) -> list[str]:
    """Command lines of what a demo has started and is still there, whatever session it is in."""
    found: list[str] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            inherited = f"DEMO_MARK={mark}".encode() in (process / "environ").read_bytes()
            # The store writes its title over its environment, but it lives in the demo's folder.
            lives_there = (process / "cwd").readlink() == ROOT / ".demo" / "valkey"
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has ended meanwhile
            continue
        if (inherited or lives_there) and line:
            found.append(line)
    return found


def _left(mark: str) -> list[str]:
    """Which of them live on: what has been killed, or ends with its parent, may take a moment on a busy machine."""
    deadline = time.monotonic() + GONE_WITHIN_S
    while (found := _running(mark)) and time.monotonic() < deadline:
        time.sleep(0.02)  # not our children: no event
    return found


@pytest.mark.parametrize("backend", ["sqlite", "filesystem", "redis", "mongodb", "dynamodb"])
def test_the_demo_shows_misses_hits_and_validations_and_leaves_nothing_running(backend: str) -> None:
    if backend == "mongodb" and find_spec("secantus") is None:
        pytest.skip("secantusdb has no wheel for this Python")
    with _demo(mark := uuid.uuid4().hex, "--backend", backend) as demo:
        shown, complaints = demo.communicate(timeout=100)
    assert demo.returncode == 0, shown + complaints
    assert complaints == ""
    for word in ("miss", "hit", "revalidated", "FastAPI", "aiohttp.web", "the cache is still there"):
        assert word in shown
    assert ("Two workers, one cache" in shown) is (backend != "sqlite")
    assert _left(mark) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_ends_what_it_started(number: signal.Signals) -> None:
    with _demo(mark := uuid.uuid4().hex, "--backend", "redis") as demo:
        assert demo.stdout is not None
        while not demo.stdout.readline().lstrip().startswith("FastAPI"):  # both services and the store are running
            assert demo.poll() is None
        assert len(_running(mark)) >= 4  # the demo, both services, the store
        os.killpg(demo.pid, number)  # as a terminal does: everyone in the foreground gets it
        _, complaints = demo.communicate(timeout=60)
    assert demo.returncode == 130, complaints
    assert complaints == "stopped; nothing is left running\n"
    assert _left(mark) == []
