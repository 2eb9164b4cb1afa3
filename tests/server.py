"""A server process that a test can stop, kill, freeze and restart at the same address."""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from examples.demo.services import free_port

__all__ = ["RunsAlready", "ServerProcess", "free_port"]

READY_WITHIN_S = 40.0
STOPPED_WITHIN_S = 5.0
START_ATTEMPTS = 5


class ServerProcess(ABC):
    """A server on a port of its own on 127.0.0.1.

    Args:
        directory: where it keeps its data and log; the caller removes it.
    """

    name: str

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """The address."""

    @abstractmethod
    def command_line(self) -> Sequence[str]:
        """The command that makes the server listen on `port`."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether it accepts requests."""

    def environment(self) -> Mapping[str, str]:
        """Environment variables for the process, in addition to those of the tests."""
        return {}

    @property
    def pid(self) -> int:
        """The id of its process."""
        assert self.process is not None
        return self.process.pid

    @property
    def log(self) -> str:
        """What the server has written so far."""
        path = self.directory / f"{self.name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self) -> Self:
        """Start it and wait until it answers; it keeps its port from one start to the next."""
        assert self.process is None, "the server is running"
        for _ in range(START_ATTEMPTS):
            kept = self.port
            self.port = kept or free_port()
            self._spawn()
            if self._is_ready():
                return self
            self.kill()
            self.port = kept  # another process may have taken the free port
        raise RuntimeError(f"{self.name} did not start:\n{self.log}")

    def kill(self) -> None:
        """Kill it with SIGKILL, as the kernel does when memory runs out."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Shut it down with SIGTERM."""
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """Freeze it: connections stay open and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)
        # Wait until all its threads are stopped: one that still runs may answer a last call.
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Let a frozen server go on."""
        os.kill(self.pid, signal.SIGCONT)

    def restart(self, *, kill: bool = False) -> Self:
        """Stop (or kill) it and start it anew at the same address."""
        self._end(signal.SIGKILL if kill else signal.SIGTERM)
        return self.start()

    @contextmanager
    def frozen(self) -> Generator[None]:
        """Freeze it within this context, and always resume it: a loop that is being closed may wait for it."""
        self.pause()
        try:
            yield
        finally:
            self.resume()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()

    def _spawn(self) -> None:
        with (self.directory / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command_line(),
                cwd=self.directory,
                env={**os.environ, **self.environment()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        atexit.register(self.kill)

    def _is_ready(self) -> bool:
        deadline = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline:
            if self.process is None or self.process.poll() is not None:
                return False
            if self.answers():
                return True
            time.sleep(0.01)  # nothing notifies a parent of an open socket
        return False

    def _end(self, number: signal.Signals) -> None:
        process, self.process = self.process, None
        atexit.unregister(self.kill)
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(number)
            process.send_signal(signal.SIGCONT)
        try:
            process.wait(STOPPED_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class RunsAlready(ServerProcess):
    """A mixin for subclasses of `ServerProcess`: the server runs already, and is neither started nor ended.

    Args:
        url: the address of the server.
    """

    def __init__(self, directory: Path, url: str) -> None:
        super().__init__(directory)
        self._url = url

    @property
    def url(self) -> str:
        """The address."""
        return self._url

    def start(self) -> Self:
        """Do nothing: the server runs already."""
        return self

    def kill(self) -> None:
        """Do nothing: the server does not belong to the test."""
