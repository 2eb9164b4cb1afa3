"""Three real sentinels for tests, which monitor a Valkey server and its replica."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.valkey import ValkeyServer
from tests.valkey_cluster import wait_until

__all__ = ["SERVICE", "Sentinels"]

SERVICE = "cache"
SENTINELS = 3


class SentinelProcess(ValkeyServer):
    """One of the sentinels; it keeps its state in its own configuration file."""

    monitored = ""

    def _file(self) -> list[str]:
        path = self.directory / "sentinel.conf"
        if not path.exists():
            path.write_text(self.monitored)
        return [str(path)]

    def _mode(self) -> list[str]:
        return ["--sentinel"]


class Sentinels:
    """A primary with a replica, and three sentinels with a quorum of two.

    Args:
        directory: where they keep their data; the caller removes it.
        down_after_ms: after how long a primary that does not answer is considered down.
        config: further directives for the servers.
        sentinel_config: further directives for the sentinels.
    """

    def __init__(
        self,
        directory: Path,
        *,
        down_after_ms: int = 10_000,
        config: Mapping[str, str] | None = None,
        sentinel_config: Mapping[str, str] | None = None,
    ) -> None:
        common = {"repl-diskless-sync-delay": "0", "repl-ping-replica-period": "1", **(config or {})}
        self.servers = [ValkeyServer(_made(directory / f"server-{n}"), config=common) for n in range(2)]
        self.sentinels = [
            SentinelProcess(_made(directory / f"sentinel-{n}"), config=sentinel_config) for n in range(SENTINELS)
        ]
        self._down_after_ms = down_after_ms
        self._running = ExitStack()

    @property
    def hosts(self) -> list[tuple[str, int]]:
        """The addresses of the sentinels, in the form that redis-py takes."""
        return [("127.0.0.1", sentinel.port) for sentinel in self.sentinels]

    @property
    def url(self) -> str:
        """The address of the service."""
        return f"redis+sentinel://{','.join(f'{host}:{port}' for host, port in self.hosts)}/{SERVICE}"

    def primary(self) -> ValkeyServer:
        """The primary in the view of the first running sentinel."""
        sentinel = next(each for each in self.sentinels if each.process is not None)
        _, port = sentinel.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return next(server for server in self.servers if server.port == int(port))

    def replica(self) -> ValkeyServer:
        """The server that is not the primary."""
        primary = self.primary()
        return next(server for server in self.servers if server is not primary)

    def __enter__(self) -> Self:
        with ExitStack() as started:
            primary, replica = (started.enter_context(server) for server in self.servers)
            replica.command("REPLICAOF", "127.0.0.1", primary.port)
            wait_until("the replica follows", lambda: replica.command("ROLE")[3] == b"connected")
            for sentinel in self.sentinels:
                sentinel.monitored = self._monitored(primary)
                started.enter_context(sentinel)
            wait_until("sentinels know each other", lambda: all(self._knows_all(each) for each in self.sentinels))
            self._running = started.pop_all()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._running.close()

    def _monitored(self, primary: ValkeyServer) -> str:
        directives = [
            f"sentinel monitor {SERVICE} 127.0.0.1 {primary.port} 2",
            f"sentinel down-after-milliseconds {SERVICE} {self._down_after_ms}",
            f"sentinel failover-timeout {SERVICE} 6000",
        ]
        password = primary.config.get("requirepass")
        if password is not None:
            directives.append(f"sentinel auth-pass {SERVICE} {password}")
        return "\n".join(directives) + "\n"

    def _knows_all(self, sentinel: ValkeyServer) -> bool:
        with sentinel.client() as client:
            state = client.sentinel_master(SERVICE)
        return bool(state["num-other-sentinels"] == SENTINELS - 1 and state["num-slaves"] == 1)


def _made(path: Path) -> Path:
    path.mkdir()
    return path
